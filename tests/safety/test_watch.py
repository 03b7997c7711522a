"""Limits on the measured state: what trips, after how many samples, and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.reasons import Reason
from safety.watch import WATCH, WatchConfig, rearm, watch_state
from tests.controllers.chain_rig import WIDE, Rig

BOX_MIN, BOX_MAX = np.array([0.2, -0.4, 0.0]), np.array([0.8, 0.4, 0.6])
INSIDE = np.array([0.5, 0.0, 0.3])
RATED_RAD_S = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
TRIPS = {
    Reason.FORCE_TRIP: 60.0,
    Reason.MOMENT_TRIP: 10.0,
    Reason.SPEED_TRIP: 0.5,
    Reason.TURN_TRIP: 4.0,
    Reason.POWER_TRIP: 10.0,
    Reason.JOINT_SPEED_TRIP: 0.9 * 2.62,
}
"""The default limits, written out: a default that is changed must be changed here as well, by somebody who means it."""
STATE = np.dtype([("qd_rad_s", "f8", 7), ("tau_applied_nm", "f8", 7), ("wrench_tool", "f8", 6)], align=True)


class Bench:
    """The watch by itself, with one measured value at a time."""

    def __init__(self, **changes: Any) -> None:
        self.config = WatchConfig(**changes).to_record(RATED_RAD_S, 1e-3)[()]
        self.watch = np.zeros(1, WATCH)[0]
        self._ticks = 0

    def sample(self, kind: Reason | None = None, value: float = 0, position: Any = INSIDE, still: bool = False) -> int:
        """Returns the trip of a tick in which the quantity of this kind has this value, all others almost nothing."""
        state, twist = np.zeros(1, STATE)[0], np.zeros(6)
        self._ticks += not still
        state["wrench_tool"][1] = 1e-6 * (self._ticks % 7)  # a sensor always has noise
        if kind == Reason.FORCE_TRIP:
            state["wrench_tool"][0] = value
        elif kind == Reason.MOMENT_TRIP:
            state["wrench_tool"][4] = value
        elif kind == Reason.SPEED_TRIP:
            twist[2] = value
        elif kind == Reason.TURN_TRIP:
            twist[5] = value
        elif kind == Reason.POWER_TRIP:
            state["qd_rad_s"][3], state["tau_applied_nm"][3] = 1.0, value
        elif kind == Reason.JOINT_SPEED_TRIP:
            state["qd_rad_s"][1] = value
        tau = state["tau_applied_nm"]
        return int(watch_state(state, tau, np.asarray(position), twist, BOX_MIN, BOX_MAX, self.config, self.watch))


every_limit = pytest.mark.parametrize("kind", list(TRIPS), ids=lambda kind: kind.name.lower())


@every_limit
def test_the_limit_is_where_it_is_said_to_be(kind: Reason) -> None:
    below, above = Bench(), Bench()
    assert {below.sample(kind, 0.999 * TRIPS[kind]) for _ in range(20)} == {0}
    assert [above.sample(kind, 1.001 * TRIPS[kind]) for _ in range(3)] == [0, 0, kind]


@every_limit
def test_one_sample_beyond_the_limit_by_half_trips_at_once(kind: Reason) -> None:
    assert Bench().sample(kind, 1.501 * TRIPS[kind]) == kind
    assert Bench().sample(kind, 1.499 * TRIPS[kind]) == 0


@every_limit
@pytest.mark.parametrize(
    ("beyond", "trips"),
    [("1", 0), ("11", 0), ("10101", 1), ("11001", 1), ("100101", 0), ("1100001", 0), ("0110100", 1), ("10010010", 0)],
)
def test_three_of_the_last_five_trip_and_fewer_do_not(kind: Reason, beyond: str, trips: int) -> None:
    bench = Bench()
    seen = [bench.sample(kind, 1.2 * TRIPS[kind] * int(bit)) for bit in beyond]
    assert sum(code == kind for code in seen) == trips
    assert all(code == 0 for code, bit in zip(seen, beyond, strict=True) if bit == "0"), "a good sample never trips"


@given(st.lists(st.booleans(), max_size=60))
def test_the_filter_is_three_of_five_for_any_stream(beyond: list[bool]) -> None:
    bench = Bench()
    for tick, bit in enumerate(beyond):
        expected = bit and sum(beyond[max(tick - 4, 0) : tick + 1]) >= 3
        assert bench.sample(Reason.FORCE_TRIP, 70.0 * bit) == (Reason.FORCE_TRIP if expected else 0)


def test_force_and_speed_count_by_their_length_and_power_by_its_sign() -> None:
    bench = Bench()
    state, twist = np.zeros(1, STATE)[0], np.zeros(6)
    state["wrench_tool"][:3] = 60.0 / np.sqrt(3.0) * 1.51  # no axis alone is beyond 60 N
    assert (
        watch_state(state, state["tau_applied_nm"], INSIDE, twist, BOX_MIN, BOX_MAX, bench.config, bench.watch)
        == Reason.FORCE_TRIP
    )
    braking = Bench()
    assert {braking.sample(Reason.POWER_TRIP, -1000.0) for _ in range(10)} == {0}, "what the arm gives back is harmless"


@pytest.mark.parametrize("joint", range(7))
def test_every_joint_has_its_own_speed_limit(joint: int) -> None:
    bench = Bench()
    for share, expected in ((0.899 * 1.49, 0), (0.901 * 1.5, Reason.JOINT_SPEED_TRIP)):
        state = np.zeros(1, STATE)[0]
        state["qd_rad_s"][joint] = -share * RATED_RAD_S[joint]
        assert (
            watch_state(
                state, state["tau_applied_nm"], INSIDE, np.zeros(6), BOX_MIN, BOX_MAX, bench.config, bench.watch
            )
            == expected
        )


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_leaving_the_workspace_by_more_than_the_margin_trips_once_it_was_inside(axis: int, side: int) -> None:
    face = (BOX_MIN, BOX_MAX)[side > 0][axis]
    near, far = INSIDE.copy(), INSIDE.copy()
    near[axis], far[axis] = face + side * 0.049, face + side * 0.051
    outside_from_the_start = Bench()
    assert {outside_from_the_start.sample(position=far) for _ in range(5)} == {0}, "it may drive in"
    assert outside_from_the_start.sample(position=near) == 0, "the margin is not inside yet"
    assert outside_from_the_start.sample(position=far) == 0
    for bench in (outside_from_the_start, Bench()):
        assert bench.sample() == 0
        assert bench.sample(position=near) == 0
        assert bench.sample(position=far) == Reason.WORKSPACE_TRIP


def test_a_seed_lets_the_arm_drive_in_again_and_forgets_samples() -> None:
    bench = Bench()
    bench.sample()
    for _ in range(2):
        bench.sample(Reason.FORCE_TRIP, 70.0)
    rearm(bench.watch)
    assert bench.sample(Reason.FORCE_TRIP, 70.0) == 0, "the two before the seed no longer count"
    rearm(bench.watch)
    assert bench.sample(position=[5.0, 0.0, 0.0]) == 0


def test_a_wrench_that_stands_still_for_50_ms_is_a_stuck_sensor_and_any_change_ends_that() -> None:
    bench = Bench()
    bench.sample()
    assert [bench.sample(still=True) for _ in range(49)] == [0] * 49
    assert [bench.sample(still=True) for _ in range(3)] == [Reason.SENSOR_STUCK] * 3
    assert bench.sample() == 0
    assert bench.sample(still=True) == 0


def test_a_trip_is_reported_before_a_stuck_sensor() -> None:
    bench = Bench()
    for _ in range(60):
        bench.sample(still=True)
    assert bench.sample(Reason.SPEED_TRIP, 5.0, still=True) == Reason.SPEED_TRIP


def test_switched_off_nothing_trips() -> None:
    bench = Bench(enabled=False)
    assert {bench.sample(kind, 100.0 * limit, position=[9.0, 9.0, 9.0]) for kind, limit in TRIPS.items()} == {0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_force_n": 0.0}, "max_force_n must be a finite number > 0"),
        ({"max_power_w": float("nan")}, "max_power_w must be a finite number > 0"),
        ({"max_moment_nm": float("inf")}, "max_moment_nm must be a finite number > 0"),
        ({"joint_speed_share": 1.1}, "joint_speed_share must be in"),
        ({"workspace_margin_m": -0.1}, "workspace_margin_m must be a finite number >= 0"),
        ({"stale_ms": 60}, "expected 0 < stale_ms < stuck_ms"),
    ],
)
def test_limits_that_make_no_sense_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WatchConfig(**changes)  # type: ignore[arg-type]


# In the tick


def in_motion() -> Rig:
    rig = Rig(WIDE)
    rig.send()
    rig.tick(2)
    return rig


def provoke(rig: Rig, kind: Reason) -> None:
    """Gives the chain a reading that trips at once."""
    if kind == Reason.FORCE_TRIP:
        rig.state["wrench_tool"][0, 0] = 100.0
    elif kind == Reason.MOMENT_TRIP:
        rig.state["wrench_tool"][0, 4] = 20.0
    elif kind == Reason.SPEED_TRIP:
        rig.state["qd_rad_s"][0, 1] = 2.0
    elif kind == Reason.TURN_TRIP:
        rig.state["qd_rad_s"][0, 6] = 6.1
    elif kind == Reason.POWER_TRIP:
        rig.state["qd_rad_s"][0, 4], rig.state["tau_applied_nm"][0, 4] = 3.0, 18.0
    elif kind == Reason.JOINT_SPEED_TRIP:
        rig.state["qd_rad_s"][0, 5] = -5.7
    elif kind == Reason.WORKSPACE_TRIP:
        rig.chain.config_record["limiter"]["box_max_base_m"][0, 2] = 0.1


@pytest.mark.parametrize("kind", [*TRIPS, Reason.WORKSPACE_TRIP], ids=lambda kind: kind.name.lower())
def test_every_trip_holds_in_the_same_tick_and_latches_until_a_seed(kind: Reason) -> None:
    rig = in_motion()
    provoke(rig, kind)
    report = rig.tick()
    assert report["latched"] in TRIPS or report["latched"] == Reason.WORKSPACE_TRIP
    assert report["reason"] == report["latched"] == rig.memory["latched"] >= Reason.LATCHED
    if kind in (Reason.FORCE_TRIP, Reason.MOMENT_TRIP, Reason.POWER_TRIP, Reason.WORKSPACE_TRIP):
        assert report["latched"] == kind, "fast joints trip several limits at once, of which the last counts"
    np.testing.assert_array_equal(report["executed_position_base_m"], report["position_base_m"])
    rig.state["wrench_tool"] = rig.state["qd_rad_s"] = rig.state["tau_applied_nm"] = 0.0
    rig.aim((0.02, 0.0, 0.0))
    rig.send()
    report = rig.tick(50)
    assert report["refused"] == 1 and report["latched"] != 0, "no command ends a latch"
    np.testing.assert_array_equal(report["executed_position_base_m"], rig.memory["goal_position"])
    rig.chain.config_record["limiter"]["box_max_base_m"] = 2.0
    rig.chain.reseed(rig.state, rig.terms)
    rig.send()
    assert rig.tick()["latched"] == 0


def test_a_trip_during_a_hold_lets_go_of_what_pushed_the_arm_away() -> None:
    rig = in_motion()
    rig.state["stamp_ns"] += 1_100_000_000
    assert rig.tick()["reason"] == Reason.HOLD
    rig.stand(3, rig.state["q_rad"][0, 3] + 0.01)  # pushed by hand: the spring of the hold is bent
    report = rig.tick()
    assert abs(report["executed_position_base_m"] - report["position_base_m"]).max() > 1e-3
    provoke(rig, Reason.FORCE_TRIP)
    report = rig.tick()
    assert report["latched"] == Reason.FORCE_TRIP
    np.testing.assert_array_equal(report["executed_position_base_m"], report["position_base_m"])


def test_a_stuck_sensor_holds_until_it_reads_again_and_another_command_comes() -> None:
    rig = in_motion()
    rig.aim((0.02, 0.0, 0.0))
    rig.send()
    for _ in range(60):
        rig.state["wrench_tool"][0, 5] = -1e-9  # which the rig's noise takes to the same number at every tick
        report = rig.tick()
    assert report["reason"] == Reason.SENSOR_STUCK and report["latched"] == 0
    np.testing.assert_array_equal(report["executed_position_base_m"], report["position_base_m"])
    report = rig.tick(5)
    assert report["reason"] == Reason.SENSOR_STUCK, "it reads again, but the goal was dropped"
    rig.send()
    assert rig.tick()["reason"] < Reason.UNSEEDED
