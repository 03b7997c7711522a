"""Every fault that needs ROS three times: controller, supervisor, policy and operator are programs, joined by DDS."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from robot_rl.bench.faults.ros_faults import ROS_FAULTS
from robot_rl.bench.faults.runner import run
from robot_rl.config_bench import BenchFaultsConfig


def kinds() -> list[list[str]]:
    """Names of the faults that share a stage, those of one kind together."""
    found: dict[int, list[str]] = {}
    for fault in ROS_FAULTS:
        found.setdefault(id(fault.stage), []).append(fault.name)
    return list(found.values())


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("names", kinds(), ids="-".join)
def test_a_fault_over_topics_is_met_in_time(names: list[str], tmp_path: Path) -> None:
    faults = [fault for fault in ROS_FAULTS if fault.name in names]
    if why := faults[0].missing():
        pytest.skip(why)
    out = tmp_path / "faults.jsonl"
    figures = run(BenchFaultsConfig(repeats=3, faults=names, out=str(out), realtime=False))
    assert figures["ok"], out.read_text()
    assert figures["repeats"] == 3 * len(names) and all(f"| {name} |" in figures["table"] for name in names)


def test_where_ros_is_missing_its_faults_are_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("robot_rl.bench.faults.ros_stage.find_spec", lambda name: None)
    figures = run(BenchFaultsConfig(repeats=1, faults=["R1", "F5"], out=str(tmp_path / "faults.jsonl"), realtime=False))
    assert figures["left_out"] == ["F5", "R1"] and figures["repeats"] == 0
    assert "R1 is left out: rclpy is not there" in capsys.readouterr().out
