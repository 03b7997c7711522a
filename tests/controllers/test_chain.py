"""The tick for arbitrary states and commands: properties of card A and card B that no input may break."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description import fr3, square_peg_tool
from controllers.types import COMMAND, REPORT, STATE
from safety.reasons import Reason
from safety.reference_limiter import ReferenceLimiterConfig

ARM = fr3()
MODEL = ArmModel(ARM, square_peg_tool())
STEP_NM = 0.5
seeds = st.integers(0, 2**32 - 1)
WIDE = ChainConfig(limiter=ReferenceLimiterConfig(box_min_base_m=(-2.0,) * 3, box_max_base_m=(2.0,) * 3))


class Rig:
    """A chain whose arm stands wherever the test puts it."""

    def __init__(self, config: ChainConfig = WIDE) -> None:
        self.chain = Chain(config, ARM)
        self.state, self.command, self.report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
        self.terms = ModelTerms()
        self.state["q_rad"] = ARM.home_rad
        self.command["sequence"] = -1
        self.measure()
        self.chain.reseed(self.state, self.terms)
        self.command["damping_ratio"], self.command["duration_s"], self.command["gripper_m"] = 0.9, 0.1, np.nan
        self.command["stiffness"] = [400.0] * 3 + [30.0] * 3
        self.aim()

    def measure(self) -> None:
        MODEL.terms(self.state["q_rad"][0], self.state["qd_rad_s"][0], self.terms)

    def aim(self, offset_m: Any = (0.0, 0.0, 0.0), turn_rad: Any = (0.0, 0.0, 0.0)) -> None:
        self.command["position_base_m"] = self.terms.position_base_m + np.asarray(offset_m)
        rotation = Rotation.from_rotvec(turn_rad) * Rotation.from_matrix(self.terms.rotation_base)
        self.command["quaternion_base_xyzw"] = rotation.as_quat()

    def send(self, **fields: Any) -> None:
        self.command["sequence"] += 1
        self.command["stamp_ns"] = self.state["stamp_ns"]
        for name, value in fields.items():
            self.command[name] = value

    def tick(self, count: int = 1) -> Any:
        for _ in range(count):
            self.state["stamp_ns"] += 1_000_000
            self.measure()
            self.chain.tick(self.state, self.terms, self.command, self.report)
        return self.report[0]

    @property
    def memory(self) -> Any:
        return self.chain.record[0]


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
        rig.state["q_rad"] = np.clip(rig.state["q_rad"][0] + rng.normal(size=7) * 0.2, ARM.lower_rad, ARM.upper_rad)
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
        rig.state["q_rad"] = rig.state["q_rad"][0] + rng.normal(size=7) * 0.02  # pushed about
        report = rig.tick(int(rng.integers(1, 20)))
        assert (np.abs(rig.memory["work"]["error"]) <= leash + 1e-12).all()
        lead = rig.memory["reference_position"] - report["position_base_m"]
        assert (np.abs(lead) <= leash[:3] + 1e-12).all(), "written back: no hidden target runs away"


def test_p4_sweeping_the_target_through_half_a_turn_is_continuous() -> None:
    config = ChainConfig(limiter=ReferenceLimiterConfig(cone_angle_rad=3.14))
    rig, previous = Rig(config), np.zeros(7)
    for angle in np.linspace(0.0, 2.0 * np.pi, 400):
        rig.aim(turn_rad=(0.0, 0.0, angle))
        rig.send()
        executed = rig.tick()["tau_executed_nm"].copy()
        assert np.abs(executed - previous).max() <= STEP_NM + 1e-9
        assert np.abs(rig.memory["work"]["error"][3:]).max() <= 0.1 + 1e-12
        previous = executed
    assert rig.chain.refusals.keys() <= {"too_far"}, "near pi the shortest way is not defined: refused, not guessed"


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


@given(seeds)
@settings(max_examples=25)
def test_a_refused_command_is_counted_and_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean, spoiled = Rig(), Rig()
    for rig in (clean, spoiled):
        rig.aim((0.01, 0.0, 0.0))
        rig.send()
        rig.tick(5)
    field = rng.choice(["position_base_m", "quaternion_base_xyzw", "stiffness", "feedforward_wrench_base"])
    value = spoiled.command[field][0].copy()
    value[rng.integers(len(value))] = rng.choice([np.nan, np.inf, -np.inf, 1e9, -1e9])
    spoiled.send(**{field: value})
    for _ in range(5):
        want, got = clean.tick(), spoiled.tick()
        assert got["tau_executed_nm"].tolist() == want["tau_executed_nm"].tolist()
        assert got["refused"] == 1, "the same record is counted once"
        assert got["reason"] >= Reason.REFUSED


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("not_finite", {"damping_ratio": np.nan}),
    ("not_finite", {"gripper_m": np.inf}),
    ("not_unit", {"quaternion_base_xyzw": [0.0, 0.0, 0.0, 1.01]}),
    ("not_unit", {"quaternion_base_xyzw": [0.0, 0.0, 0.0, 5e-324]}),
    ("stiffness_range", {"stiffness": [1001.0] + [10.0] * 5}),
    ("stiffness_range", {"stiffness": [-1.0] + [10.0] * 5}),
    ("damping_range", {"damping_ratio": 0.01}),
    ("wrench_range", {"feedforward_wrench_base": [21.0] + [0.0] * 5}),
    ("duration", {"duration_s": 0.0}),
    ("duration", {"duration_s": 11.0}),
    ("too_far", {"position_base_m": [3.0, 0.0, 0.0]}),
    ("sequence", {"sequence": 3}),
    ("old", {"stamp_ns": -300_000_000}),
    ("old", {"stamp_ns": -(2**62)}),
    ("from_future", {"stamp_ns": 10_000_000}),
    ("from_future", {"stamp_ns": 2**63 - 1}),
]


@pytest.mark.parametrize(("kind", "fields"), REFUSED)
def test_each_check_of_the_intake_bites(kind: str, fields: dict[str, Any]) -> None:
    rig = Rig()
    rig.send(sequence=5)
    rig.tick()
    rig.send(**fields)
    rig.tick()
    assert rig.chain.refusals == {kind: 1}


def test_denormal_numbers_are_numbers() -> None:
    rig = Rig()
    rig.send(feedforward_wrench_base=np.full(6, 5e-324))
    rig.tick()
    assert rig.chain.refusals == {}


def test_commands_age_from_fresh_to_frozen_to_held_to_latched_and_a_reseed_ends_it() -> None:
    rig = Rig()
    rig.aim((0.2, 0.0, 0.0))
    rig.send()
    reasons: dict[int, int] = {}
    for tick in range(1, 5200):
        report = rig.tick()
        reasons.setdefault(int(report["reason"]), tick)
    limiter = WIDE.limiter
    assert reasons[Reason.STALE] == pytest.approx(limiter.age_limit_s * 1000, abs=2)
    assert reasons[Reason.HOLD] == pytest.approx(limiter.stop_s * 1000, abs=2)
    assert reasons[Reason.LATCHED] == pytest.approx(limiter.latch_s * 1000, abs=2)
    np.testing.assert_allclose(report["executed_stiffness"], limiter.hold_stiffness)
    np.testing.assert_allclose(rig.memory["work"]["error"], 0.0, atol=1e-12)
    rig.send()
    rig.tick()
    assert rig.chain.refusals == {"latched": 1}
    rig.chain.reseed(rig.state, rig.terms)
    rig.send()
    assert rig.tick()["reason"] < Reason.REFUSED


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
    assert report["executed_position_base_m"][1] == 0.35
    assert report["proposed_position_base_m"][1] == pytest.approx(0.4, abs=1e-3)
    assert report["reason"] == Reason.BOX
    rig.aim((0.0, 0.0, 0.0), (0.8, 0.0, 0.0))
    rig.send()
    report = rig.tick()
    assert report["reason"] == Reason.CONE
    z = Rotation.from_quat(report["executed_quaternion_base_xyzw"]).apply([0.0, 0.0, 1.0])
    assert np.arccos(-z[2]) <= 0.5 + 1e-9


@pytest.mark.parametrize("field", ["q_rad", "qd_rad_s", "wrench_tool"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_no_number_lets_go_at_the_rate_limit_and_latches(field: str, value: float) -> None:
    rig = Rig()
    rig.aim((0.2, 0.2, 0.2))
    rig.send()
    before = rig.tick(240)["tau_executed_nm"].copy()
    assert np.abs(before).max() > 2.0
    good = rig.state[field][0].copy()
    rig.state[field][0][3] = value
    previous = before
    for _ in range(80):
        report = rig.tick()
        executed = report["tau_executed_nm"]
        assert (np.abs(executed - previous) <= STEP_NM + 1e-12).all()
        assert (np.abs(executed) <= np.abs(previous) + 1e-12).all()
        previous = executed.copy()
    assert previous.tolist() == [0.0] * 7
    assert report["reason"] == Reason.STATE_INVALID
    rig.state[field] = good
    report = rig.tick(5)
    assert report["reason"] == Reason.STATE_INVALID, "latched although the state is good again"
    assert np.isfinite(report["tau_executed_nm"]).all()
    np.testing.assert_allclose(rig.memory["work"]["error"], 0.0, atol=1e-9)
    rig.send()
    rig.tick()
    assert rig.chain.refusals == {"latched": 1}


def test_an_applied_torque_that_is_no_number_does_not_disarm_the_rate_limit() -> None:
    rig = Rig()
    rig.state["tau_applied_nm"] = np.nan
    rig.chain.reseed(rig.state, rig.terms)
    rig.aim((0.2, 0.0, 0.0))
    rig.send()
    assert np.abs(rig.tick()["tau_executed_nm"]).max() <= STEP_NM


def test_near_a_joint_limit_torque_only_points_away_and_the_chain_holds() -> None:
    rig = Rig()
    rig.state["q_rad"][0][3] = ARM.upper_rad[3] - 0.01
    rig.measure()
    rig.aim((0.0, 0.0, 0.3))
    rig.send()
    report = rig.tick(50)
    assert report["tau_proposed_nm"][3] < 0.0
    assert report["reason"] == Reason.JOINT_LIMIT
    np.testing.assert_allclose(report["executed_position_base_m"], rig.terms.position_base_m, atol=1e-9)
    rig.state["q_rad"][0][3] = ARM.upper_rad[3] - 0.1
    assert rig.tick()["reason"] == Reason.JOINT_LIMIT, "the hold stays until another command comes"
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
