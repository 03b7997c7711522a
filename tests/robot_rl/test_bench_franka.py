"""`bench franka` on a machine that others share: what it tells, not how punctual the machine is."""

from __future__ import annotations

import pytest

from robot_rl.bench.franka import run
from robot_rl.config_robot import BenchFrankaConfig
from robot_rl.options import may_change

KEYS = {
    *("franka_success_rate", "franka_aborts", "franka_limit_violations", "franka_span_m", "franka_mean_speed_m_s"),
    *("franka_cycle_p50_us", "franka_cycle_p99_us"),
}


@pytest.mark.slow
@pytest.mark.alone
def test_the_arm_moves_within_the_robots_limits() -> None:
    pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")
    figures = run(BenchFrankaConfig(seconds=5.0))
    assert figures.keys() >= KEYS
    assert figures["franka_limit_violations"] == 0, "no limit of the robot is ever exceeded, however late the machine"
    assert figures["franka_span_m"] > 0.05 and figures["franka_success_rate"] > 0.5
    assert 0.0 < figures["franka_cycle_p50_us"] <= figures["franka_cycle_p99_us"]
    if figures["franka_aborts"]:
        assert "communication_constraints_violation" in figures["franka_aborted_by"], "the machine was late"


def test_its_settings_are_those_of_one_run() -> None:
    assert not may_change(BenchFrankaConfig())
