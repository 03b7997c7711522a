"""Grids of runs: what they measure, how they go on, and what they publish."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from robot_rl.config import ExperimentConfig, FinetuneConfig
from robot_rl.metrics import MetricsLog
from robot_rl.runs import RunFolder, environment
from robot_rl.workflows.common import resolve_agent_options, resolve_reflex_penalty
from robot_rl.workflows.experiment import finished, provenance, publish, run, run_cell, write_ablation
from robot_rl.workflows.grid_tables import markdown, summarise
from robot_rl.workflows.grids import GRIDS, Cell, Grid

TINY = Grid(
    "tiny",
    "Does it run?",
    0.5,
    (Cell("one", {"agent": "rlpd"}), Cell("two", {"agent": "residual"})),
    {
        "variant": "default",
        "steps": 60,
        "warmup": 40,
        "eval_every": 40,
        "eval_episodes": 1,
        "final_episodes": 2,
        "agent_config": {"hidden": [16, 16], "batch_size": 16},
    },
    demonstrations=3,
)


def evaluation(step: int, rate: float, name: str = "") -> dict[str, Any]:
    episodes = [{"success": True}] * 10
    times = {"wall_s": 0.02 * step, "robot_s": 120.0, "reset_s": 60.0, "mean_length": 20.0}
    return {"kind": "eval", "step": step, "name": name, "success_rate": rate, "low": rate - 0.1, "high": rate + 0.1,
            "episodes": episodes, **times}  # fmt: skip


def episode(success: bool, share: dict[str, float], length: int = 10) -> dict[str, Any]:
    return {"kind": "episode", "step": 1, "success": success, "source_share": share, "length": length}


RECORDS = [
    evaluation(0, 0.6, "base"),
    episode(False, {"base": 1.0}),
    evaluation(500, 0.4),
    episode(True, {"base": 0.5, "policy": 0.5}, length=30),
    evaluation(1000, 0.9),
    evaluation(1500, 0.95),
    evaluation(1500, 1.0, "final"),
    evaluation(1500, 0.1, "evaluate"),
]


def row(cell: str, seed: int, **changes: Any) -> dict[str, Any]:
    return {"cell": cell, "seed": seed, **summarise(RECORDS, 0.9), **changes}


def test_a_run_is_condensed_to_its_figures() -> None:
    figures = summarise(RECORDS, 0.9)
    assert figures["curve"] == [(500, 0.4), (1000, 0.9), (1500, 0.95)]
    assert (figures["steps_to_target"], figures["train_s_to_target"], figures["final_success_rate"]) == (
        1000,
        20.0,
        1.0,
    )
    assert figures["base_success_rate"] == 0.6
    assert (figures["gain_points"], figures["worst_dip_points"]) == pytest.approx((40.0, 20.0))
    never = summarise(RECORDS, 0.99)
    assert (never["steps_to_target"], never["train_s_to_target"]) == (None, None)
    assert figures["source_share"] == {"base": 0.625, "policy": 0.375}  # by steps: 10 and 30
    assert (figures["robot_min"], figures["reset_min"], figures["training_success_rate"]) == (2.0, 1.0, 0.5)


def test_a_run_without_evaluations_on_the_way() -> None:
    figures = summarise([episode(True, {"policy": 1.0}), evaluation(60, 0.5, "final")], 0.9)
    assert (figures["curve"], figures["worst_dip_points"], figures["steps_to_target"]) == ([], None, None)
    assert figures["gain_points"] is None
    assert "base_success_rate" not in figures
    assert summarise([evaluation(60, 0.5, "final")], 0.9)["training_success_rate"] is None


def test_a_base_that_was_measured_elsewhere_is_what_gain_and_dip_are_from() -> None:
    figures = summarise(RECORDS[1:], 0.9, base_rate=0.7)
    assert (figures["gain_points"], figures["worst_dip_points"]) == pytest.approx((30.0, 30.0))


MADE = {"commits": ["aaa", "bbb"], "machine": {"system": "Linux x86_64", "cpu": "EPYC", "cores": 2}}


def test_the_table_has_one_line_a_run() -> None:
    former = {"cell": "one", "seed": 1, "final_success_rate": 0.5, "low": 0.4, "high": 0.6, "steps_to_target": None}
    former |= {"worst": 0.2, "curve": [], "train_s": 30.0, "robot_min": 2.0, "reset_min": 1.0, "commit": "ccc"}
    text = markdown(TINY, [row("one", 0, **MADE), former])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[2] == (
        "| one | 0 | 60% | 100% (90%-110%) | 50% | +40 | 20 | 1,000 | 20 | 30 | 2.0 + 1.0 | base 62%, policy 38% |"
    )
    assert table[3] == "| one | 1 | - | 50% (40%-60%) | - | - | - | not reached | - | 30 | 2.0 + 1.0 | - |"
    assert table[0].count("|") == table[1].count("|") == table[2].count("|") == table[3].count("|")
    assert "Commit `aaa` then `bbb` (Linux x86_64, EPYC, 2 cores): 1 run." in text
    assert "Commit `ccc` (machine not recorded): 1 run." in text


def test_a_row_is_of_the_commit_and_machine_of_its_run(tmp_path: Path) -> None:
    assert provenance(tmp_path) == {"commits": [], "machine": None}
    made = [
        {"system": "Linux-6.1-of-mine-x86_64-with-glibc2.36", "cpu": "EPYC", "cores": 2, "commit": commit}
        for commit in ("aaa", "bbb", "aaa")
    ]
    (tmp_path / "versions.json").write_text(json.dumps({"environments": made}))
    assert provenance(tmp_path) == MADE
    system = environment()["system"]
    assert system.split() == [platform.system(), platform.machine()]
    assert platform.release() not in system


@pytest.mark.slow
def test_two_processes_publish_into_one_table(tmp_path: Path) -> None:
    code = "import json, sys; from pathlib import Path; from tests.robot_rl.test_experiment import TINY, publish, row\n"
    code += "for seed in range(8): publish(TINY, [row(sys.argv[1], seed)], Path(sys.argv[2]))"
    writers = [subprocess.Popen([sys.executable, "-c", code, cell, str(tmp_path)]) for cell in ("one", "two")]
    assert [writer.wait() for writer in writers] == [0, 0]
    stored = json.loads((tmp_path / "tiny.json").read_text())["rows"]
    assert [(entry["cell"], entry["seed"]) for entry in stored] == [(c, s) for c in ("one", "two") for s in range(8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tiny.md", "tiny.svg"]


def test_results_are_sorted_and_equal_when_written_again(tmp_path: Path) -> None:
    rows = [row("two", 0), row("one", 1), row("one", 0)]
    publish(TINY, rows, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["tiny.json", "tiny.md", "tiny.svg"]
    stored = json.loads(before["tiny.json"])["rows"]
    assert [(entry["cell"], entry["seed"]) for entry in stored] == [("one", 0), ("one", 1), ("two", 0)]
    publish(TINY, rows[::-1], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_each_run_is_told_of_the_other_cells_of_its_seed(tmp_path: Path) -> None:
    (tmp_path / "one-0").mkdir()
    write_ablation([row("one", 0), row("two", 0), row("two", 1)], 0, tmp_path)
    told = json.loads((tmp_path / "one-0/ablation.json").read_text())
    assert [entry["name"] for entry in told["rows"]] == ["one", "two"]
    assert not (tmp_path / "two-0").exists()


@pytest.mark.parametrize("grid", GRIDS.values(), ids=lambda grid: grid.name)
def test_every_cell_names_settings_that_exist(grid: Grid) -> None:
    names = [cell.name for cell in grid.cells]
    assert len(set(names)) == len(names)
    for cell in grid.cells:
        settings = {**grid.common, **cell.settings}
        base = settings.pop("base", "trained")
        assert base in ("trained", "untrained")
        FinetuneConfig(out="runs/x", task="peg_insertion", **settings)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown experiment 'insertoin': valid ones: bresa, insertion, layers"):
        run(ExperimentConfig(name="insertoin", results=str(tmp_path)))
    with pytest.raises(UserError, match="experiment smoke has the cells rlpd, got 'sac'"):
        run(ExperimentConfig(name="smoke", cells=["sac"], results=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cell_runs_and_is_taken_up_again(tmp_path: Path) -> None:
    rows = [{"cell": "one", "seed": 0, **run_cell(TINY, TINY.cells[0], 0, tmp_path)}]
    assert rows[0]["final_episodes"] == 2
    versions = tmp_path / "one-0/versions.json"
    versions.write_text(versions.read_text().replace('"commit": ', '"commit": "of-another-day", "was": '))
    rows[0]["commits"] = ["of-another-day"]
    weights = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert run_cell(TINY, TINY.cells[0], 0, tmp_path) == {k: v for k, v in rows[0].items() if k not in ("cell", "seed")}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == weights
    publish(TINY, rows, tmp_path)
    assert "| one | 0 |" in (tmp_path / "tiny.md").read_text()


def test_a_finished_cell_of_other_settings_is_refused_and_new_settings_count_as_their_defaults(tmp_path: Path) -> None:
    config = FinetuneConfig(out=str(tmp_path / "run"), task="gym", env_id="Pendulum-v1", steps=5, final_episodes=1)
    options = resolve_agent_options("gym", "default", config.agent, {})
    resolved = replace(config, agent_config=options, reflex_penalty=resolve_reflex_penalty("gym", "default", None))
    with RunFolder.open(config.out, resolved) as folder, MetricsLog(folder.path, tensorboard=False) as log:
        assert not finished(config)
        log.write({**evaluation(5, 1.0, "final"), "episodes": [{}]})
    assert finished(config)
    stored = json.loads((folder.path / "config.json").read_text())
    del stored["history"]
    (folder.path / "config.json").write_text(json.dumps(stored))
    assert finished(config)
    with pytest.raises(UserError, match=r"holds a run with other settings: history \(there 0, asked 2\)"):
        finished(replace(config, history=2))
