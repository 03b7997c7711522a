"""Every fault that needs ROS three times: controller, supervisor, policy and operator are programs, joined by DDS."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from robot_rl.bench.faults.ros_faults import ROS_FAULTS
from robot_rl.bench.faults.runner import run
from robot_rl.config_bench import BenchFaultsConfig


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", [fault.name for fault in ROS_FAULTS])
def test_a_fault_over_topics_is_met_in_time(name: str, tmp_path: Path) -> None:
    (fault,) = [fault for fault in ROS_FAULTS if fault.name == name]
    if why := fault.missing():
        pytest.skip(why)
    out = tmp_path / "faults.jsonl"
    figures = run(BenchFaultsConfig(repeats=3, faults=[name], out=str(out), realtime=False))
    assert figures["ok"], out.read_text()
    assert figures["repeats"] == 3 and f"| {name} |" in figures["table"]


def test_where_ros_is_missing_its_faults_are_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("robot_rl.bench.faults.ros_stage.find_spec", lambda name: None)
    figures = run(BenchFaultsConfig(repeats=1, faults=["R1", "F5"], out=str(tmp_path / "faults.jsonl"), realtime=False))
    assert figures["left_out"] == ["F5", "R1"] and figures["repeats"] == 0
    assert "R1 is left out: rclpy is not there" in capsys.readouterr().out
