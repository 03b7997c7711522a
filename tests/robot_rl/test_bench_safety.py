"""The figures of the safety layers on a small scale; `robot-rl bench safety` measures them on a large one."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.chain import ChainConfig
from robot_rl.bench.safety import measure_all_layers, measure_gate
from robot_rl.bench.transparency import measure_transparency, torques
from robot_rl.bench.walls import measure_walls
from safety.ledger import LedgerConfig
from safety.watch import WatchConfig


@pytest.mark.slow
def test_no_policy_presses_harder_than_stiffness_times_leash() -> None:
    """At rest the simulated arm's dry friction holds nothing; on the way there no more than it can."""
    figures = measure_walls(10)
    assert figures["wall_presses"] == figures["wall_dry_presses"] == 10
    assert figures["wall_rests"] >= 6 and figures["wall_dry_rests"] >= 6
    assert figures["wall_over_allowance"] == figures["wall_dry_over_allowance"] == 0
    assert figures["wall_force_excess_n"] <= 0.1 and figures["wall_moment_excess_nm"] <= 0.02, "the law alone"
    assert figures["wall_dry_force_excess_n"] <= 2.0 and figures["wall_dry_moment_excess_nm"] <= 0.3
    assert figures["wall_dry_beyond_friction_n"] <= 0.2 and figures["wall_dry_beyond_friction_nm"] <= 0.1
    assert figures["wall_force_excess_n"] > -1.0, "some axis presses with all that the leash lets it"
    assert figures["wall_dry_creeping_excess_nm"] > 0.1, "friction does hold a share while the rod creeps"


def test_a_full_tank_changes_no_torque() -> None:
    figures = measure_transparency(2)
    assert figures["transparency_error_nm"] <= 1e-12
    rich, poor = (
        torques(
            ChainConfig(watch=WatchConfig(enabled=False), ledger=LedgerConfig(tank_start_j=tank_j)),
            np.random.default_rng([0, 0]),
        )
        for tank_j in (4.0, 0.06)
    )
    assert np.abs(rich - poor).max() > 1.0, "a tank that is nearly empty does change torques"


def test_the_energy_gate_leaves_ordinary_operation_alone() -> None:
    figures = measure_gate(["peg_insertion"], 1, 0)
    assert figures["gate_ticks"] > 1000
    assert figures["gate_active_share"] < 1e-3 and figures["latched_ticks"] == 0


def test_steps_are_counted_with_a_critic_in_the_tick() -> None:
    figures = measure_all_layers("maze", 0.5, 0)
    assert figures["all_layers_steps_per_s"] > 0.0 and figures["all_layers_task"] == "maze"
