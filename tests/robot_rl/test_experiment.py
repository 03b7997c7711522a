"""Grids of runs: what they measure, how they go on, and what they publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from robot_rl.config import ExperimentConfig, FinetuneConfig
from robot_rl.workflows.experiment import markdown, publish, run, run_cell, summarise, write_ablation
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
    times = {"wall_s": 30.0, "robot_s": 120.0, "reset_s": 60.0, "mean_length": 20.0}
    return {"kind": "eval", "step": step, "name": name, "success_rate": rate, "low": rate - 0.1, "high": rate + 0.1,
            "episodes": episodes, **times}  # fmt: skip


def episode(success: bool, share: dict[str, float]) -> dict[str, Any]:
    return {"kind": "episode", "step": 1, "success": success, "source_share": share}


RECORDS = [
    evaluation(0, 0.6, "base"),
    episode(False, {"base": 1.0}),
    evaluation(500, 0.4),
    episode(True, {"base": 0.5, "policy": 0.5}),
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
    assert (figures["steps_to_target"], figures["worst"], figures["final_success_rate"]) == (1000, 0.4, 1.0)
    assert summarise(RECORDS, 0.99)["steps_to_target"] is None
    assert figures["source_share"] == {"base": 0.75, "policy": 0.25}
    assert (figures["robot_min"], figures["reset_min"], figures["training_success_rate"]) == (2.0, 1.0, 0.5)


def test_a_run_without_evaluations_on_the_way() -> None:
    figures = summarise([episode(True, {"policy": 1.0}), evaluation(60, 0.5, "final")], 0.9)
    assert (figures["curve"], figures["worst"], figures["steps_to_target"]) == ([], None, None)


def test_the_table_has_one_line_a_run() -> None:
    rows = [row("one", 0), row("two", 1, base_success_rate=0.6, steps_to_target=None, worst=None)]
    table = [line for line in markdown(TINY, rows).splitlines() if line.startswith("|")]
    assert table[2] == "| one | 0 | - | 100% (90%-110%) | 1,000 | 40% | 30 | 2.0 + 1.0 |"
    assert table[3] == "| two | 1 | 60% | 100% (90%-110%) | not reached | - | 30 | 2.0 + 1.0 |"


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
    with pytest.raises(UserError, match="unknown experiment 'insertoin': valid ones: insertion"):
        run(ExperimentConfig(name="insertoin", results=str(tmp_path)))
    with pytest.raises(UserError, match="experiment smoke has the cells rlpd, got 'sac'"):
        run(ExperimentConfig(name="smoke", cells=["sac"], results=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cell_runs_and_is_taken_up_again(tmp_path: Path) -> None:
    rows = [{"cell": "one", "seed": 0, **run_cell(TINY, TINY.cells[0], 0, tmp_path)}]
    assert rows[0]["final_episodes"] == 2
    weights = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert run_cell(TINY, TINY.cells[0], 0, tmp_path) == {k: v for k, v in rows[0].items() if k not in ("cell", "seed")}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == weights
    publish(TINY, rows, tmp_path)
    assert "| one | 0 |" in (tmp_path / "tiny.md").read_text()
