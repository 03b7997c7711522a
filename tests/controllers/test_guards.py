"""One small test for each guard in the tick, in few ticks: what `make mutants` deletes, one of these notices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controllers.arbiter import recover, risk_now
from controllers.chain import ChainConfig
from safety import so3
from safety.ledger import LedgerConfig
from safety.reasons import Reason
from safety.reference_limiter import ReferenceLimiterConfig, clip_scalar, towards
from safety.watch import WatchConfig
from tests.controllers.chain_rig import ARM, WIDE, Rig

AGE_NS, STOP_NS, LATCH_NS = 250_000_000, 1_000_000_000, 5_000_000_000
NO_LIMITS = replace(WIDE, watch=WatchConfig(enabled=False))


def sent(config: ChainConfig = WIDE, offset_m: Any = (0.0, 0.0, 0.0), **fields: Any) -> Rig:
    """A rig that has accepted a command and run a tick."""
    rig = Rig(config)
    rig.aim(offset_m)
    rig.send(**fields)
    rig.tick()
    return rig


def wait(rig: Rig, duration_ns: int) -> Any:
    """One tick so much later."""
    rig.state["stamp_ns"] += duration_ns - 1_000_000
    return rig.tick()


def test_scalars_are_clipped_and_moved_by_steps() -> None:
    assert (clip_scalar(3.0, 2.0), clip_scalar(-3.0, 2.0), clip_scalar(1.5, 2.0)) == (2.0, -2.0, 1.5)
    assert (towards(0.0, 3.0, 2.0), towards(0.0, -3.0, 2.0), towards(0.0, 1.0, 2.0)) == (2.0, -2.0, 1.0)


def test_the_leash_is_written_back_and_takes_the_speed_of_the_axis() -> None:
    rig = sent()
    chain, position = rig.memory, rig.terms.position_base_m
    chain["reference_position"] = position + np.array([0.05, 0.0, -0.03])
    chain["reference_velocity"] = [0.2, 0.1, -0.2]
    rig.tick()
    lead = chain["reference_position"] - position
    np.testing.assert_allclose(lead[[0, 2]], [0.02, -0.02], atol=1e-12)
    assert chain["reference_velocity"][0] == chain["reference_velocity"][2] == 0.0 != chain["reference_velocity"][1]


def test_the_leash_of_the_rotation_is_written_back() -> None:
    rig = sent()
    start = so3.from_matrix(rig.terms.rotation_base)
    rig.memory["reference_quaternion"] = so3.multiply(so3.exp((0.5, 0.0, 0.0)), start)
    rig.tick()
    turn = so3.error(tuple(rig.memory["reference_quaternion"]), start)
    np.testing.assert_allclose(turn[0], 0.1, atol=1e-3)


@pytest.mark.parametrize(
    ("age_ns", "reason"),
    [(AGE_NS - 2_000_000, None), (AGE_NS + 2_000_000, Reason.STALE), (STOP_NS - 2_000_000, Reason.STALE)],
)
def test_a_command_is_frozen_at_its_age_limit(age_ns: int, reason: Reason | None) -> None:
    rig = sent(offset_m=(0.1, 0.0, 0.0))
    report = wait(rig, age_ns)
    assert report["reason"] == reason if reason else report["reason"] < Reason.UNSEEDED
    frozen = np.array_equal(rig.memory["goal_position"], rig.memory["proposed_position"])
    assert frozen == (reason is None)


def test_a_frozen_command_is_held_after_a_second_and_latched_after_five() -> None:
    rig = sent(offset_m=(0.1, 0.0, 0.0), feedforward_wrench_base=[5.0] * 3 + [0.0] * 3)
    report = wait(rig, STOP_NS + 2_000_000)
    assert report["reason"] == Reason.HOLD and report["latched"] == 0
    np.testing.assert_array_equal(report["executed_position_base_m"], report["position_base_m"])
    assert not rig.memory["goal_wrench"].any()
    report = wait(rig, LATCH_NS - STOP_NS)
    assert report["reason"] == report["latched"] == Reason.LATCHED
    rig.send()
    assert rig.tick()["refused"] == 1, "no command ends a latch"


def renewed(rig: Rig, ahead_ns: int = 0) -> bool:
    """Whether the followed command, stamped afresh, starts its age again."""
    rig.command["stamp_ns"] = rig.state["stamp_ns"] + 1_000_000 + ahead_ns
    before = int(rig.memory["goal_stamp_ns"])
    rig.tick()
    return int(rig.memory["goal_stamp_ns"]) > before


def test_a_renewal_is_for_a_fresh_command_that_is_followed() -> None:
    assert renewed(sent())
    assert not renewed(sent(), ahead_ns=10_000_000), "stamped in the future"
    late = sent(duration_s=5.0)
    late.state["stamp_ns"] += AGE_NS
    assert not renewed(late), "frozen, though meant to last longer"
    spent = sent(duration_s=0.1)
    spent.state["stamp_ns"] += 110_000_000
    assert not renewed(spent), "longer than it was meant to last"
    lasting = sent(duration_s=0.2)
    lasting.state["stamp_ns"] += 110_000_000
    assert renewed(lasting)
    for field in ("held", "latched"):
        rig = sent()
        rig.memory[field] = 1 if field == "held" else int(Reason.LATCHED)
        rig.memory["goal_reason"] = int(Reason.SENSOR_STUCK)
        assert not renewed(rig)


def test_goals_lie_in_box_cone_and_gripper_range() -> None:
    box = ReferenceLimiterConfig(box_min_base_m=(-2.0, -0.01, -2.0), box_max_base_m=(2.0, 0.01, 2.0))
    rig = Rig(ChainConfig(limiter=box), gripper_range_m=(0.0, 0.08))
    rig.aim((0.0, 0.1, 0.0), (0.9, 0.0, 0.0))
    rig.send(gripper_m=0.5)
    report = rig.tick()
    assert rig.memory["goal_position"][1] == 0.01 and report["executed_gripper_m"] == 0.08
    assert rig.memory["goal_reason"] == Reason.CONE
    z = so3.rotate(tuple(rig.memory["goal_quaternion"]), (0.0, 0.0, 1.0))
    assert np.arccos(-z[2]) == pytest.approx(0.5, abs=1e-6)


def test_half_a_turn_and_unusable_numbers_are_refused() -> None:
    turned = Rig()
    turned.aim((0.0, 0.0, 0.0), (0.0, 0.0, np.pi - 0.05))
    turned.send()
    turned.tick()
    assert turned.chain.refusals == {"too_far": 1}
    damped = sent(damping_ratio=2.1)
    assert damped.chain.refusals == {"damping_range": 1}


@pytest.mark.parametrize("field", ["q_rad", "qd_rad_s", "wrench_tool"])
def test_a_reading_that_is_no_number_lets_go_and_latches(field: str) -> None:
    rig = sent()
    rig.state[field][0, 2] = np.nan
    rig.state["stamp_ns"] += 1_000_000
    rig.chain.tick(rig.state, rig.terms, rig.command, rig.report)
    assert rig.report["latched"][0] == Reason.STATE_INVALID and np.isfinite(rig.report["tau_executed_nm"]).all()


@pytest.mark.parametrize("reading_nm", [np.nan, np.inf, -np.inf])
def test_an_applied_torque_that_is_no_number_counts_as_the_commanded_one(reading_nm: float) -> None:
    rig = sent()
    rig.tick(30)
    commanded = rig.memory["tau_previous"].copy()
    assert commanded.any()
    rig.state["tau_applied_nm"] = reading_nm
    rig.chain.reseed(rig.state, rig.terms)
    np.testing.assert_array_equal(rig.memory["tau_previous"], commanded)
    rig.tick(2)
    assert np.isfinite(rig.memory["ledger"]["tank_j"])


def test_an_absurd_applied_torque_is_neither_commanded_after_a_seed_nor_believed_by_the_books() -> None:
    rig = sent()
    rig.tick(30)
    rig.state["tau_applied_nm"] = -1e5
    rig.state["q_rad"] += 1e-4
    before_j = float(rig.memory["ledger"]["tank_j"])
    assert abs(float(rig.tick()["tank_energy_j"]) - before_j) < 0.5
    rig.state["tau_applied_nm"] = 1e9
    rig.chain.reseed(rig.state, rig.terms)
    assert (np.abs(rig.tick()["tau_executed_nm"]) <= 0.8 * np.array(ARM.max_torque_nm) + 1e-9).all()


def test_near_a_joint_limit_the_chain_holds() -> None:
    rig = sent(NO_LIMITS, offset_m=(0.05, 0.0, 0.0))
    rig.stand(3, ARM.upper_rad[3] - 0.01)
    assert rig.tick()["reason"] == Reason.JOINT_LIMIT
    rig.stand(3, ARM.upper_rad[3] - 0.03)
    rig.measure()
    rig.aim()
    rig.send()
    assert rig.tick()["reason"] != Reason.JOINT_LIMIT


def test_a_hold_reaches_its_stiffness_in_its_ramp_and_no_sooner() -> None:
    rig = sent(stiffness=[1000.0] * 3 + [60.0] * 3)
    rig.tick(25)
    wait(rig, STOP_NS + 2_000_000)
    before = rig.memory["stiffness"].copy()
    rig.tick()
    step = np.abs(rig.memory["stiffness"] - before)
    limiter = rig.chain.config.limiter
    expected = np.abs(np.array(limiter.hold_stiffness) - before) / (limiter.hold_ramp_s * 1e3)
    assert (step <= 1.2 * expected + 1e-9).all() and step.any()


def poor(offset_m: Any, **fields: Any) -> Rig:
    """A rig with 0.01 J to spend, whose reference is to move."""
    return sent(replace(WIDE, ledger=LedgerConfig(tank_start_j=0.06)), offset_m, **fields)


def test_an_empty_tank_raises_the_damping() -> None:
    rig = sent()
    rig.memory["ledger"]["tank_j"] = 0.04
    report = rig.tick(5)
    assert report["reason"] == Reason.TANK_EMPTY and report["executed_damping_ratio"] > 0.9


def test_an_empty_tank_stops_what_costs() -> None:
    rig = poor((0.3, 0.0, 0.0), stiffness=[1000.0] * 3 + [60.0] * 3)
    reports = [rig.tick().copy() for _ in range(120)]
    assert min(report["reference_share"] for report in reports) < 1.0
    assert min(report["tank_energy_j"] for report in reports) >= 0.05 - 1e-9
    assert reports[-1]["reason"] in (Reason.TANK_EMPTY, Reason.ENERGY_SHARE)
    assert np.abs(rig.memory["reference_velocity"]).max() < 0.01, "a reference that is stopped has no speed"


def test_stiffening_a_loaded_spring_is_paid_for() -> None:
    rig = poor((0.01, 0.0, 0.0), stiffness=[50.0] * 3 + [5.0] * 3)
    rig.memory["reference_position"] = rig.terms.position_base_m + np.array([0.01, 0.0, 0.0])
    rig.tick()
    rig.send(stiffness=[1000.0] * 3 + [60.0] * 3)
    reports = [rig.tick().copy() for _ in range(30)]
    assert min(report["stiffness_share"] for report in reports) < 1.0
    assert min(report["tank_energy_j"] for report in reports) >= 0.05 - 1e-9


def test_a_learned_recovery_is_cut_to_its_reach_its_stiffness_and_the_box() -> None:
    box = ReferenceLimiterConfig(box_min_base_m=(-2.0, -0.005, -2.0), box_max_base_m=(2.0, 0.005, 2.0))
    rig = sent(ChainConfig(limiter=box))
    chain, config, position = rig.memory, rig.chain.config_record[0], rig.terms.position_base_m
    chain["risk"]["has_recovery"] = chain["risk"]["fresh"] = 1
    chain["risk"]["recovery_offset_base_m"] = [0.3, 0.3, 0.0]
    chain["risk"]["recovery_stiffness"] = 1e4
    recover(position, config, chain)
    assert chain["goal_position"][0] - position[0] == pytest.approx(0.02 / np.sqrt(2.0))
    assert chain["goal_position"][1] == 0.005
    np.testing.assert_array_equal(chain["goal_stiffness"], config["reflex"]["max_recovery_stiffness"])


def test_an_answer_of_the_critic_that_is_no_number_is_certain_risk() -> None:
    rig = sent()
    rig.memory["risk"]["fresh"] = 1
    for value, risk in ((np.nan, 1.0), (np.inf, 1.0), (0.4, 0.4)):
        rig.memory["risk"]["value"] = value
        assert risk_now(rig.chain.config_record[0], rig.memory) == risk
