"""Every fault three times, injected into real processes; `robot-rl bench faults` repeats them a hundred times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import UserError
from robot_rl.bench.faults.catalogue import FAULTS
from robot_rl.bench.faults.ros_faults import ROS_FAULTS
from robot_rl.bench.faults.runner import run
from robot_rl.config_bench import BenchFaultsConfig

HERE = [fault.name for fault in FAULTS if not fault.realtime and fault not in ROS_FAULTS]
"""Those over ROS topics have a test of their own."""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", HERE)
def test_a_fault_is_met_in_time_and_nothing_moves_after_a_hold(name: str, tmp_path: Path) -> None:
    out = tmp_path / "faults.jsonl"
    config = BenchFaultsConfig(repeats=3, faults=[name], out=str(out), realtime=False)
    figures = run(config)
    assert figures["ok"], out.read_text()
    assert figures["repeats"] == 3 and f"| {name} |" in figures["table"]
    assert run(config)["repeats"] == 3 and len(out.read_text().splitlines()) == 3, "what is there is not run again"


def test_a_missed_deadline_is_told(tmp_path: Path) -> None:
    line = {"fault": "F1", "repeat": 0, "measured": 300.0, "missed": True, "motion_m": 0.002, "failures": ["x"]}
    (tmp_path / "faults.jsonl").write_text(json.dumps(line) + '\n{"fault": "F1", "rep')
    figures = run(BenchFaultsConfig(repeats=1, faults=["F1"], out=str(tmp_path / "faults.jsonl")))
    assert not figures["ok"]
    assert (figures["missed_deadlines"], figures["motions_after_hold"], figures["other_failures"]) == (1, 1, 1)
    with pytest.raises(UserError, match=r"unknown faults \['F99'\]; known are \['F1', "):
        run(BenchFaultsConfig(faults=["F99"]))
