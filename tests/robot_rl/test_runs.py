"""Run folders are resumed, guarded and truthful; metrics survive a crash while writing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.config import FinetuneConfig, PretrainConfig
from robot_rl.metrics import METRICS_FILE, MetricsLog, PlainProgress, json_line, plain, progress, read_metrics, scalars
from robot_rl.runs import RunFolder


def config(folder: Path, **changes: object) -> FinetuneConfig:
    return FinetuneConfig(**{"out": str(folder), "task": "t", **changes})  # type: ignore[arg-type]


def begun(folder: Path, config: FinetuneConfig) -> None:
    """A run that was stopped after its first record."""
    with RunFolder.open(folder, config), MetricsLog(folder, tensorboard=False) as log:
        log.write({"kind": "episode", "step": 1})


def test_a_new_folder_tells_its_configuration_and_versions(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with RunFolder.open(folder, config(folder, agent_config={"utd": 4})) as run:
        assert not run.resumed
        stored = json.loads((run.path / "config.json").read_text())
        assert (stored["kind"], stored["task"], stored["agent_config"]) == ("FinetuneConfig", "t", {"utd": 4})
        assert "fresh" not in stored
        versions = json.loads((run.path / "versions.json").read_text())["environments"]
        assert len(versions) == 1
        assert {"python", "packages", "cpu", "cores", "kernels_hash", "commit"} <= versions[0].keys()
        assert "numpy" in versions[0]["packages"]


def test_the_same_run_is_resumed_and_may_grow(tmp_path: Path) -> None:
    begun(tmp_path, config(tmp_path, steps=100))
    with RunFolder.open(tmp_path, config(tmp_path, steps=200, eval_episodes=5)) as run:
        assert run.resumed
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 200
    assert len(json.loads((tmp_path / "versions.json").read_text())["environments"]) == 1


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    begun(tmp_path, config(tmp_path))
    with pytest.raises(
        UserError, match=r"other settings: seed \(there 0, asked 3\), agent_config \(there {}, asked {'utd': 4}\)"
    ):
        RunFolder.open(tmp_path, config(tmp_path, seed=3, agent_config={"utd": 4}))
    with pytest.raises(UserError, match="holds a run of FinetuneConfig, not of PretrainConfig; choose another out"):
        RunFolder.open(tmp_path, PretrainConfig(out=str(tmp_path), data="d", task="t"))


def test_a_start_that_recorded_nothing_binds_nobody(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, config(tmp_path, agent="rlp")).close()
    MetricsLog(tmp_path).close()
    with RunFolder.open(tmp_path, config(tmp_path, agent="rlpd")) as run:
        assert not run.resumed
    assert json.loads((tmp_path / "config.json").read_text())["agent"] == "rlpd"


def test_fresh_wants_an_empty_folder(tmp_path: Path) -> None:
    RunFolder.open(tmp_path / "run", config(tmp_path), fresh=True).close()
    with pytest.raises(UserError, match=r"fresh=true needs an absent or empty out, but .* holds config\.json"):
        RunFolder.open(tmp_path / "run", config(tmp_path), fresh=True)


def test_what_is_no_run_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds thesis\.txt but no config\.json, so it is no run folder"):
        RunFolder.open(tmp_path, config(tmp_path))
    with pytest.raises(UserError, match="expected a folder for the run at .*found a file"):
        RunFolder.open(tmp_path / "thesis.txt", config(tmp_path))
    with pytest.raises(UserError, match=r"expected a run folder with config\.json at .*found none"):
        RunFolder.attach(tmp_path)


def test_a_folder_that_was_killed_at_birth_is_new(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1234\n")
    (tmp_path / ".config.json.1234.0.tmp").write_text("{")
    with RunFolder.open(tmp_path, config(tmp_path), fresh=True) as run:
        assert not run.resumed


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    code = (
        "import sys, os; from robot_rl.config import FinetuneConfig; from robot_rl.runs import RunFolder;"
        f"RunFolder.open({str(tmp_path)!r}, FinetuneConfig(out={str(tmp_path)!r}, task='t'));"
        "print('open', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(UserError, match=f"in use by process {owner.pid}"):
            RunFolder.open(tmp_path, config(tmp_path))
        with pytest.raises(UserError, match=f"in use by process {owner.pid}"):
            RunFolder.attach(tmp_path)
    finally:
        owner.kill()
        owner.communicate()
    with RunFolder.open(tmp_path, config(tmp_path)) as run:
        assert run.path == tmp_path


def test_metrics_are_read_as_written(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.write({"kind": "episode", "step": 3, "success": True, "return": math.nan, "source_share": {"base": 0.5}})
        log.write({"kind": "update", "step": np.int64(4), "loss": np.float32(0.5)})
    assert read_metrics(tmp_path) == [
        {"kind": "episode", "step": 3, "success": True, "return": None, "source_share": {"base": 0.5}},
        {"kind": "update", "step": 4, "loss": 0.5},
    ]
    assert list((tmp_path / "tensorboard").glob("events.*"))


@given(cut=st.integers(0, 200))
def test_a_torn_last_line_costs_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    with MetricsLog(folder, tensorboard=False) as log:
        for step in range(5):
            log.write({"kind": "episode", "step": step, "end": "ä"})
    path = folder / METRICS_FILE
    content = path.read_bytes()[: -cut or None]
    path.write_bytes(content)
    whole = content.count(b"\n")
    assert [record["step"] for record in read_metrics(folder)] == list(range(whole))
    with MetricsLog(folder, tensorboard=False) as log:
        log.write({"kind": "episode", "step": 99})
    assert [record["step"] for record in read_metrics(folder)] == [*range(whole), 99]


def test_truncating_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.write({"kind": "pretrain", "step": 3000})
        for step in (1, 5, 5, 9):
            log.write({"kind": "episode", "step": step})
        log.truncate_to(5)
        log.write({"kind": "episode", "step": 6})
    assert [record["step"] for record in read_metrics(tmp_path)] == [3000, 1, 5, 5, 6]


def test_a_broken_line_inside_is_named(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2 is no JSON"):
        read_metrics(tmp_path)
    assert read_metrics(tmp_path / "nowhere") == []


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path) as log:
        for step in range(5):
            log.write({"kind": "episode", "step": step, "return": 0.5 * step})
        log.truncate_to(2)
        log.write({"kind": "episode", "step": 3, "return": 9.0})
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("episode/return")
    assert [(event.step, event.value) for event in read] == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 9.0)]


@pytest.mark.parametrize("limit", [0, 20, 700])
def test_a_full_disk_under_tensorboard_is_one_error_of_ours(tmp_path: Path, limit: int) -> None:
    code = (
        "import resource; from pathlib import Path; from robot_rl.metrics import MetricsLog;"
        "from robot_rl.cli.main import guarded;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "write = lambda log: [log.write({'kind': 'e', 'step': n, **dict.fromkeys('abcdefgh', n)}) for n in range(100)];"
        f"print(guarded(lambda started: write(MetricsLog(Path({str(tmp_path)!r})))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "disk full while writing" in done.stderr


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path: Path) -> None:
    code = (
        "import resource; from pathlib import Path; from robot_rl.metrics import MetricsLog;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        f"log = MetricsLog(Path({str(tmp_path)!r}), tensorboard=False);"
        "[log.write({'kind': 'episode', 'step': step, 'end': 'x' * 90}) for step in range(100)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: disk full while writing" in done.stderr
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == list(range(len(records)))
    assert 0 < len(records) < 10
    assert (tmp_path / METRICS_FILE).read_bytes().endswith(b"}\n")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_every_record_becomes_strict_json(value: object) -> None:
    line = json_line({"value": value})
    assert "\n" not in line
    assert json.loads(line) == {"value": plain(value)}


def test_scalars_are_the_finite_numbers() -> None:
    record = {
        "kind": "episode",
        "step": 3,
        "success": True,
        "return": math.inf,
        "end": "x",
        "source_share": {"base": 0.5},
    }
    assert dict(scalars(record)) == {"episode/success": 1.0, "episode/source_share/base": 0.5}


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainProgress(10, "train", "step", initial=4, every_s=0.0) as bar:
        bar.set_postfix_str("episode 2")
        bar.update(3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train: 7/10 steps, ")
    assert lines[0].endswith("/s, episode 2")
    with progress(5, "train") as quiet:
        quiet.update(5)
    assert quiet.n == 5
    assert len(capsys.readouterr().err.splitlines()) == 1
