"""What the tick turns down: unusable commands, commands that age, states that are no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.reasons import Reason
from tests.controllers.chain_rig import STEP_NM, WIDE, Rig

seeds = st.integers(0, 2**32 - 1)


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
    ("sequence", {"sequence": 2**62}),
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


def test_a_renewal_refreshes_the_stamp_of_what_is_followed_and_nothing_else() -> None:
    rig = Rig()
    rig.aim((0.2, 0.0, 0.0))
    rig.send(duration_s=1.0)
    rig.tick(200)
    goal = rig.memory["goal_position"].copy()
    rig.command["stamp_ns"] = rig.state["stamp_ns"]
    report = rig.tick()
    assert report["command_age_s"] == pytest.approx(0.001) and report["sequence"] == 0 and report["refused"] == 0
    np.testing.assert_array_equal(rig.memory["goal_position"], goal)
    rig.command["stamp_ns"] = rig.state["stamp_ns"] + 1_000_000_000
    assert rig.tick()["command_age_s"] == pytest.approx(0.002), "no stamp from the future"


@pytest.mark.parametrize("name", ["position_base_m", "stiffness", "feedforward_wrench_base", "damping_ratio"])
def test_another_command_under_the_followed_number_is_refused_and_renews_nothing(name: str) -> None:
    rig = Rig()
    rig.aim((0.2, 0.0, 0.0))
    rig.send(duration_s=1.0)
    rig.tick(100)
    goal = rig.memory["goal_position"].copy()
    rig.command[name][0] = np.nan
    for repeat in range(1, 4):
        rig.command["stamp_ns"] = rig.state["stamp_ns"]
        report = rig.tick(20)
        assert report["refused"] == repeat and rig.chain.refusals == {"sequence": repeat}
        assert report["reason"] == Reason.REFUSED and report["command_age_s"] > 0.1
    np.testing.assert_array_equal(rig.memory["goal_position"], goal)


def test_no_renewal_outlives_the_declared_duration() -> None:
    rig = Rig()
    rig.aim((0.2, 0.0, 0.0))
    rig.send(duration_s=0.3)
    for _ in range(100):
        rig.command["stamp_ns"] = rig.state["stamp_ns"]
        report = rig.tick(10)
    assert report["reason"] == Reason.STALE
    assert report["command_age_s"] > 0.6


def test_a_damaged_number_does_not_shut_out_the_good_ones() -> None:
    rig = Rig()
    rig.send()
    rig.tick()
    rig.command["sequence"], rig.command["stamp_ns"] = 2**62, rig.state["stamp_ns"]
    assert rig.tick()["refused"] == 1
    rig.command["sequence"] = 0
    rig.aim((0.01, 0.0, 0.0))
    rig.send()
    report = rig.tick()
    assert (report["sequence"], report["refused"]) == (1, 1)


@pytest.mark.parametrize(("wait", "reason"), [(300, Reason.STALE), (1200, Reason.HOLD), (5200, Reason.LATCHED)])
def test_a_renewal_revives_no_goal_that_was_frozen_held_or_latched(wait: int, reason: Reason) -> None:
    rig = Rig()
    rig.aim((0.2, 0.0, 0.0))
    rig.send()
    rig.tick(wait)
    stands = rig.memory["reference_position"].copy()
    rig.command["stamp_ns"] = rig.state["stamp_ns"]
    report = rig.tick(5)
    assert report["reason"] == reason and report["refused"] == 0
    assert np.abs(rig.memory["reference_position"] - stands).max() < 0.002


def test_a_refused_command_that_is_renewed_counts_once_and_does_not_renew_the_one_before() -> None:
    rig = Rig()
    rig.send()
    rig.tick()
    rig.send(damping_ratio=np.nan)
    for _ in range(4):
        rig.command["stamp_ns"] = rig.state["stamp_ns"]
        report = rig.tick(50)
    assert rig.chain.refusals == {"not_finite": 1}
    assert report["command_age_s"] == pytest.approx(0.201) and report["reason"] == Reason.REFUSED


@pytest.mark.parametrize("stiffness", [[1000.0] * 3 + [60.0] * 3, [0.0] * 6])
def test_a_hold_takes_the_stiffness_to_its_own_in_a_straight_line_over_the_ramp(stiffness: list[float]) -> None:
    rig, limiter = Rig(), WIDE.limiter
    rig.aim((0.05, 0.0, 0.0))
    rig.send(stiffness=stiffness)
    while rig.tick()["reason"] != Reason.HOLD:
        pass
    np.testing.assert_allclose(rig.memory["reference_position"], rig.terms.position_base_m, atol=1e-12)
    want, ramp_ticks = np.array(limiter.hold_stiffness), round(limiter.hold_ramp_s * 1000)
    for tick in range(1, ramp_ticks):
        share = tick / ramp_ticks
        np.testing.assert_allclose(rig.memory["stiffness"], (1 - share) * np.array(stiffness) + share * want, atol=1e-6)
        rig.tick()
    rig.tick()
    np.testing.assert_allclose(rig.memory["stiffness"], want, atol=1e-6)
