"""Stamps of a camera's clock become monotonic time: within what transfer and drift allow, and never out of order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.cameras.stamps import DRIFT, ClockMap

PERIOD_NS = 33_333_333
LATENCIES_MS = st.lists(st.floats(1.0, 60.0), min_size=2, max_size=120)
OFFSETS_NS = st.integers(0, 10**18)
DRIFTS = st.floats(-DRIFT, DRIFT)


def exposures(latencies_ms: list[float], offset_ns: int, drift: float) -> list[tuple[int, int, int]]:
    """(hardware stamp, true exposure, arrival) of each frame; frames never overtake each other."""
    result, arrival_ns = [], -(10**19)
    for index, latency_ms in enumerate(latencies_ms):
        hardware_ns = 5_000_000_000 + index * PERIOD_NS
        true_ns = hardware_ns + offset_ns + round(drift * index * PERIOD_NS)
        arrival_ns = max(arrival_ns, true_ns + round(latency_ms * 1e6))
        result.append((hardware_ns, true_ns, arrival_ns))
    return result


@given(LATENCIES_MS, OFFSETS_NS, DRIFTS)
def test_a_stamp_lies_between_exposure_and_arrival_as_close_as_the_quickest_frame(
    latencies_ms: list[float], offset_ns: int, drift: float
) -> None:
    clock = ClockMap(PERIOD_NS * 1e-9)
    frames, before_ns = exposures(latencies_ms, offset_ns, drift), 0
    for number, (hardware_ns, true_ns, arrival_ns) in enumerate(frames):
        stamp_ns = clock.stamp(number, hardware_ns, arrival_ns)
        seen = frames[: number + 1]
        least_ns = min(arrival - true for _, true, arrival in seen)
        bound_ns = min(arrival - true + 2.0 * DRIFT * (hardware_ns - hardware) for hardware, true, arrival in seen)
        assert stamp_ns >= true_ns + least_ns - 2
        # never after the arrival, and no later than the bound, unless only so the order of stamps can be kept
        assert stamp_ns <= max(arrival_ns, before_ns + 1)
        assert stamp_ns <= max(true_ns + bound_ns + 2, before_ns + 1)
        before_ns = stamp_ns
    assert clock.jumps == 0


@given(LATENCIES_MS, OFFSETS_NS)
def test_stamps_go_on_and_a_known_delay_is_taken_off(latencies_ms: list[float], offset_ns: int) -> None:
    plain, told = ClockMap(PERIOD_NS * 1e-9), ClockMap(PERIOD_NS * 1e-9, delay_s=0.004)
    before_ns = None
    for number, (hardware_ns, _, arrival_ns) in enumerate(exposures(latencies_ms, offset_ns, 0.0)):
        stamp_ns = plain.stamp(number, hardware_ns, arrival_ns)
        assert told.stamp(number, hardware_ns, arrival_ns) <= stamp_ns
        assert before_ns is None or stamp_ns > before_ns
        before_ns = stamp_ns


def test_a_frame_that_came_too_soon_misleads_only_for_the_length_of_the_window() -> None:
    clock = ClockMap(PERIOD_NS * 1e-9, window_s=1.0)
    offset_ns, errors_ms = 10**15, []
    for number in range(80):
        hardware_ns = number * PERIOD_NS
        early_ns = 15_000_000 if number == 20 else 0
        stamp_ns = clock.stamp(number, hardware_ns, hardware_ns + offset_ns + 20_000_000 - early_ns)
        errors_ms.append((stamp_ns - hardware_ns - offset_ns) * 1e-6)
    assert max(errors_ms[:20]) == pytest.approx(20.0, abs=0.01)
    assert errors_ms[21] == pytest.approx(5.0, abs=0.01)
    assert errors_ms[-1] == pytest.approx(20.0, abs=0.01)


def test_lost_frames_are_no_jump_but_a_clock_that_is_set_is() -> None:
    clock = ClockMap(PERIOD_NS * 1e-9)
    number = hardware_ns = 0
    arrival_ns = 10**12
    for lost in [0] * 10 + [30] + [0] * 10:
        number, hardware_ns = number + 1 + lost, hardware_ns + (1 + lost) * PERIOD_NS
        arrival_ns += (1 + lost) * PERIOD_NS
        clock.stamp(number, hardware_ns, arrival_ns)
    assert clock.jumps == 0
    for step_ns in (3_600_000_000_000, -7_200_000_000_000):  # an hour on, two back: as when a wall clock is set
        hardware_ns += step_ns
        for _ in range(5):
            number, hardware_ns, arrival_ns = number + 1, hardware_ns + PERIOD_NS, arrival_ns + PERIOD_NS
            assert arrival_ns - PERIOD_NS < clock.stamp(number, hardware_ns, arrival_ns) <= arrival_ns
    assert clock.jumps == 2
    assert clock.alarms == ("stamps jumped 2 times: its clock was set, or frames were stamped anew",)


@pytest.mark.parametrize(("share", "off"), [(0.7, True), (0.85, False), (1.0, False), (1.15, False), (1.3, True)])
def test_a_period_that_differs_by_more_than_a_fifth_is_told(share: float, off: bool) -> None:
    clock = ClockMap(PERIOD_NS * 1e-9)
    assert clock.period_s == pytest.approx(1 / 30) and not clock.period_is_off
    for number in range(1, 40):
        hardware_ns = round(2 * number * share * PERIOD_NS)  # every other frame is lost: no matter
        clock.stamp(2 * number, hardware_ns, 10**12 + hardware_ns)
    assert clock.period_s == pytest.approx(share / 30, rel=1e-6)
    assert clock.period_is_off is off
    assert [alarm.startswith("a frame every") for alarm in clock.alarms] == [True] * off


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="expected period_s and window_s above 0"):
        ClockMap(0.0)
