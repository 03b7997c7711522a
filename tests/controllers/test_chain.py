"""The tick for arbitrary states and commands: properties of law and limits that no input may break."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from controllers.chain import ChainConfig
from controllers.intake import NEAR_PI_RAD
from safety.ledger import LedgerConfig
from safety.reasons import Reason
from tests.controllers.chain_rig import ARM, STEP_NM, WIDE, Rig

seeds = st.integers(0, 2**32 - 1)


def test_p1_at_rest_on_target_there_is_only_posture_torque() -> None:
    rig = Rig()
    rig.send()
    report = rig.tick(3)
    np.testing.assert_allclose(report["tau_proposed_nm"] - rig.terms.coriolis_nm, 0.0, atol=1e-9)
    assert report["reason"] in (Reason.NONE, Reason.STIFFNESS_SLEW)


@given(seeds)
@settings(max_examples=15)
def test_p2_torque_rate_and_bound_hold_for_any_commands(seed: int) -> None:
    rig, rng = Rig(), np.random.default_rng(seed)
    bound = np.array(ARM.max_torque_nm) * 0.8
    previous = np.zeros(7)
    for _ in range(40):
        rig.aim(rng.uniform(-1.0, 1.0, 3), rng.uniform(-3.0, 3.0, 3))
        rig.send(stiffness=rng.uniform(0.0, [1000.0] * 3 + [60.0] * 3), feedforward_wrench_base=rng.uniform(-2, 2, 6))
        rig.carry(np.clip(rig.state["q_rad"][0] + rng.normal(size=7) * 0.2, ARM.lower_rad, ARM.upper_rad))
        rig.state["qd_rad_s"] = rng.normal(size=7)
        for _ in range(3):
            executed = rig.tick()["tau_executed_nm"]
            assert (np.abs(executed - previous) <= STEP_NM + 1e-9).all()
            assert (np.abs(executed) <= bound).all()
            previous = executed.copy()


@given(seeds)
@settings(max_examples=15)
def test_p3_the_spring_never_exceeds_stiffness_times_leash(seed: int) -> None:
    rig, rng = Rig(), np.random.default_rng(seed)
    leash = np.array(WIDE.limiter.leash)
    for _ in range(40):
        rig.aim(rng.uniform(-0.4, 0.4, 3), rng.uniform(-1.5, 1.5, 3))
        rig.send()
        rig.carry(rig.state["q_rad"][0] + rng.normal(size=7) * 0.02)  # pushed about
        report = rig.tick(int(rng.integers(1, 20)))
        assert (np.abs(rig.memory["work"]["error"]) <= leash + 1e-12).all()
        lead = rig.memory["reference_position"] - report["position_base_m"]
        assert (np.abs(lead) <= leash[:3] + 1e-12).all(), "written back: no hidden target runs away"


AT_ONCE = ChainConfig(
    limiter=replace(
        WIDE.limiter,
        cone_angle_rad=np.pi,
        max_angular_speed_rad_s=1e6,
        max_angular_acceleration_rad_s2=1e9,
        leash=(0.02,) * 3 + (4.0,) * 3,
    ),
    ledger=LedgerConfig(mode="off"),
)
"""Neither slew nor leash nor energy between a target's rotation and the law, which could hide a jump."""


@given(seeds)
@settings(max_examples=15)
def test_p4_the_wished_torque_is_linear_in_the_turn_up_to_half_a_turn_either_way(seed: int) -> None:
    """tau_k - tau_{k-1} = J_rot^T K_rot (angle_k - angle_{k-1}) axis, whichever sign of the quaternion comes."""
    rig, rng = Rig(AT_ONCE), np.random.default_rng(seed)
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    rig.send()
    rig.tick(20)  # the stiffness has arrived
    angles, taus = np.linspace(-NEAR_PI_RAD + 1e-3, NEAR_PI_RAD - 1e-3, 121), []
    for angle in angles:
        rig.aim(turn_rad=axis * angle)
        rig.command["quaternion_base_xyzw"] *= rng.choice([-1.0, 1.0])
        rig.send()
        taus.append(rig.tick()["tau_proposed_nm"].copy())
    step = rig.terms.jacobian[3:].T @ (30.0 * axis) * (angles[1] - angles[0])
    np.testing.assert_allclose(np.diff(taus, axis=0), np.tile(step, (len(angles) - 1, 1)), atol=1e-6)
    assert rig.chain.refusals == {}


def test_p4_near_half_a_turn_the_shortest_way_is_not_defined_and_a_target_there_is_refused() -> None:
    rig, previous = Rig(AT_ONCE), np.zeros(7)
    for angle in np.linspace(0.0, 2.0 * np.pi, 400):
        rig.aim(turn_rad=(0.0, 0.0, angle))
        rig.send()
        executed = rig.tick()["tau_executed_nm"].copy()
        assert np.abs(executed - previous).max() <= STEP_NM + 1e-9
        previous = executed
    assert rig.chain.refusals == {"too_far": 12}


def test_p4_a_tool_that_points_down_has_no_seam() -> None:
    """Where a measured rotation lies at pi from the base, the error must not jump (pitfall N1)."""
    rig = Rig()
    down = Rotation.from_matrix(rig.terms.rotation_base).magnitude()
    assert down > np.pi - 0.3
    for angle in np.linspace(-0.05, 0.05, 60):
        rig.aim(turn_rad=(0.0, angle, angle))
        rig.send()
        rig.tick()
        assert np.linalg.norm(rig.memory["work"]["error"][3:]) <= 0.08


def test_frozen_means_that_the_reference_comes_to_rest() -> None:
    rig = Rig()
    rig.aim((0.4, 0.0, 0.0))
    rig.send()
    rig.tick(300)
    there = rig.memory["reference_position"].copy()
    rig.tick(400)
    assert np.abs(rig.memory["reference_position"] - there).max() < 0.02
    assert np.abs(rig.memory["reference_velocity"]).max() == 0.0


def test_pressing_along_one_axis_leaves_the_others_their_speed() -> None:
    rig = Rig()
    rig.aim((0.012, 0.0, -0.2))
    for _ in range(30):  # the arm does not move: z is on the leash soon, x is not
        rig.send()
        rig.tick(100)
    lead = rig.memory["reference_position"] - rig.terms.position_base_m
    np.testing.assert_allclose(lead, [0.012, 0.0, -0.02], atol=2e-4)


def test_box_and_cone_move_the_goal_and_say_so() -> None:
    rig = Rig(ChainConfig())
    rig.aim((0.0, 0.4, 0.0))
    rig.send()
    report = rig.tick()
    assert rig.memory["goal_position"][1] == 0.35
    assert report["proposed_position_base_m"][1] == pytest.approx(0.4, abs=1e-3)
    assert report["reason"] == Reason.BOX
    rig.aim((0.0, 0.0, 0.0), (0.8, 0.0, 0.0))
    rig.send()
    report = rig.tick()
    assert report["reason"] == Reason.CONE
    z = Rotation.from_quat(rig.memory["goal_quaternion"]).apply([0.0, 0.0, 1.0])
    assert np.arccos(-z[2]) <= 0.5 + 1e-9


def test_near_a_joint_limit_torque_only_points_away_and_the_chain_holds() -> None:
    rig = Rig()
    rig.stand(3, ARM.upper_rad[3] - 0.01)
    rig.measure()
    rig.aim((0.0, 0.0, 0.3))
    rig.send()
    report = rig.tick(50)
    assert report["tau_proposed_nm"][3] < 0.0
    assert report["reason"] == Reason.JOINT_LIMIT
    np.testing.assert_allclose(report["executed_position_base_m"], rig.terms.position_base_m, atol=1e-9)
    rig.stand(3, ARM.upper_rad[3] - 0.1)
    assert rig.tick()["reason"] == Reason.JOINT_LIMIT, "the hold stays until another command comes"
    held = rig.memory["goal_position"].copy()
    for _ in range(8):
        rig.command["stamp_ns"] = rig.state["stamp_ns"]  # a renewal
        assert rig.tick(50)["reason"] == Reason.JOINT_LIMIT
    np.testing.assert_array_equal(rig.memory["goal_position"], held)
    rig.aim()
    rig.send()
    assert rig.tick(20)["reason"] < Reason.REFUSED


def test_feed_forward_comes_at_its_slew_rate() -> None:
    rig = Rig()
    rig.send(feedforward_wrench_base=[10.0, 0, 0, 0, 0, 0])
    rig.tick(50)
    assert rig.memory["wrench"][0] == pytest.approx(5.0, abs=0.11)


def test_a_configuration_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="rate_hz must be a finite number > 0, got 0"):
        ChainConfig(rate_hz=0.0)
