"""`robot-rl bench ros` as it is typed, short: its last line, and what holds however busy the machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("pylibfranka", reason="install the extra [franka]")

from robot_rl.config_robot import BenchFrankaConfig
from robot_rl.options import may_change
from tests.system.command_line import finish, start

TIMES = {
    *("topic_path_p50_ms", "topic_path_p99_ms", "shm_path_p50_ms", "shm_path_p99_ms", "camera_p50_ms", "camera_p99_ms"),
    *("franka_cycle_p50_us", "franka_cycle_p99_us"),
}
COUNTS = {"topic_path_lost", "camera_lost", "franka_aborts", "franka_limit_violations"}


@pytest.mark.slow
@pytest.mark.alone
def test_it_ends_with_one_object_of_all_figures(tmp_path: Path) -> None:
    for _ in range(3):  # a robot on time brakes for a machine that stalls, perhaps before it moved at all
        done = finish(start("bench ros commands=30 seconds=5 realtime=false --json", tmp_path))
        if "communication_constraints_violation" not in done.out + done.error:
            break
    figures = done.figures
    assert figures.keys() >= TIMES | COUNTS | {"franka_success_rate", "franka_span_m", "franka_mean_speed_m_s"}
    assert all(figures[name] > 0.0 for name in TIMES) and all(figures[name] >= 0 for name in COUNTS)
    assert done.status == (0 if figures["ok"] else 1), done.error
    assert figures["franka_limit_violations"] == 0, "no limit of the robot is ever exceeded, however late the machine"
    assert figures["franka_success_rate"] > 0.5
    held = figures["franka_held_ticks"] / figures["franka_ticks"]
    assert figures["franka_span_m"] > 0.05 or held > 0.3, "only late ticks may have held it"
    if figures["franka_aborts"]:
        assert "communication_constraints_violation" in figures["franka_aborted_by"], "the machine was late"


def test_the_settings_of_the_drivers_bench_are_those_of_one_run() -> None:
    assert not may_change(BenchFrankaConfig())
