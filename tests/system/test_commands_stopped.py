"""Ctrl-C and kill -9 in each phase: what was recorded stays, and the same command goes on and finishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.command_line import (
    COLLECT,
    PRETRAIN,
    QUICKSTART,
    RLPD,
    begun,
    content,
    interrupt,
    kill,
    records,
    typed,
)
from tests.system.conftest import Practice

pytestmark = pytest.mark.slow
LATER = "type the same command to go on"


def recorded(run: Path, kind: str, count: int = 1) -> Callable[[], bool]:
    """Whether a run's metrics hold so many records of a kind."""
    return lambda: len(records(run, kind)) >= count


def owned(folder: Path, former: str = "") -> Callable[[], bool]:
    """Whether a process has taken the lock of a folder since it held `former`."""
    lock = folder / ".lock"
    return lambda: lock.is_file() and lock.read_text() not in ("", former)


def test_collect_keeps_whole_episodes(practice: Practice, tmp_path: Path) -> None:
    second = tmp_path / "demos.zarr/episodes/000001"
    done = interrupt(begun(COLLECT, tmp_path, second.is_dir))
    before = content(tmp_path / "demos.zarr/episodes")
    assert done.status == 130
    assert done.complaint == f"stopped; what was recorded is kept in demos.zarr: {LATER}"
    assert typed("data verify demos.zarr --json", tmp_path).figures["ok"] is True
    typed(COLLECT, tmp_path)
    assert typed("data verify demos.zarr --json", tmp_path).figures["episodes"] == 8
    after, whole = (content(folder / "demos.zarr/episodes") for folder in (tmp_path, practice.folder))
    assert after.keys() == whole.keys()
    assert {name: after[name] for name in before} == before
    assert {name: whole[name] for name in before} == before


def test_pretrain_begins_anew_and_comes_to_the_same_policy(practice: Practice, tmp_path: Path) -> None:
    practice.copy(tmp_path)
    line = PRETRAIN.replace("runs/base", "runs/again")
    done = interrupt(begun(line, tmp_path, recorded(tmp_path / "runs/again", "pretrain")))
    assert done.status == 130
    assert done.complaint == f"stopped; what was recorded is kept in runs/again: {LATER}"
    assert typed(line, tmp_path).out.startswith("runs/again: the imitated policy succeeds in ")
    policies = [(tmp_path / "runs" / run / "policy.safetensors").read_bytes() for run in ("base", "again")]
    assert policies[0] == policies[1]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_finetune_saves_and_goes_on(practice: Practice, tmp_path: Path, mode: str) -> None:
    practice.copy(tmp_path)
    run = tmp_path / "runs/stopped"
    line = RLPD.replace("out=runs/x", f"out=runs/stopped mode={mode}").replace("eval_every=60", "eval_every=0")
    line = line.replace("steps=120", "steps=400")
    done = interrupt(begun(line, tmp_path, recorded(run, "update")))
    assert done.status == 130
    assert done.complaint == f"stopped; what was recorded is kept in runs/stopped: {LATER}"
    before = records(run, "episode")
    assert list((run / "checkpoints").glob("step_*.safetensors"))
    assert typed(line + " --json", tmp_path).figures["step"] == 400
    assert records(run, "episode")[: len(before)] == before


def test_evaluate_leaves_the_run_as_it_was(practice: Practice, tmp_path: Path) -> None:
    practice.copy(tmp_path)
    run = tmp_path / "runs/x"
    before = content(run)
    process = begun("evaluate run=runs/x episodes=500", tmp_path, owned(run, (run / ".lock").read_text()))
    said = typed(RLPD, tmp_path, status=2).complaint
    assert said.startswith(f"runs/x is in use by process {process.pid}")
    done = interrupt(process)
    assert done.status == 130
    assert done.complaint == "stopped; nothing that was recorded is lost"
    assert content(run) == before
    typed("evaluate run=runs/x episodes=1", tmp_path)


def evaluations(run: Path) -> list[tuple[str, int, float]]:
    return [(record["name"], record["step"], record["success_rate"]) for record in records(run, "eval")]


def test_quickstart_stopped_and_killed_ends_as_if_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "runs/q"
    kill(begun(QUICKSTART, tmp_path, recorded(run, "pretrain")))
    done = interrupt(begun(QUICKSTART, tmp_path, recorded(run, "episode")))
    assert done.status == 130
    assert typed(QUICKSTART, tmp_path).out.splitlines()[-1] == "report:  runs/q/report.html"
    typed(QUICKSTART.replace("runs/q", "runs/whole"), tmp_path)
    for name in ("demos.zarr/episodes", "checkpoints", "replay"):
        left, whole = (content(tmp_path / "runs" / which / name) for which in ("q", "whole"))
        assert {key: left[key] for key in whole if key != "clock.json"} == (
            {key: value for key, value in whole.items() if key != "clock.json"}
        )
    assert evaluations(run) == evaluations(tmp_path / "runs/whole")


def test_a_quick_start_without_a_folder_says_where_it_goes_on(tmp_path: Path) -> None:
    line = QUICKSTART.replace(" out=runs/q", "")
    process = begun(line, tmp_path, lambda: bool(list(tmp_path.glob("runs/*-quickstart/demos.zarr/episodes/000000"))))
    (run,) = (path.relative_to(tmp_path) for path in tmp_path.glob("runs/*-quickstart"))
    said = typed(f"{line} out={run}", tmp_path, status=2).complaint
    assert said.startswith(f"{run} is in use by process {process.pid}")
    done = interrupt(process)
    assert done.status == 130
    assert done.out.splitlines()[0] == f"run folder: {run} (out={run} goes on there after an interruption)"
    kept = f"stopped; what was recorded is kept in {run}: type the same command with out={run} to go on"
    assert done.complaint == kept
    before = content(tmp_path / run / "demos.zarr/episodes")
    assert typed(f"{line} out={run}", tmp_path).out.splitlines()[-1] == f"report:  {run}/report.html"
    after = content(tmp_path / run / "demos.zarr/episodes")
    assert {name: after[name] for name in before} == before
