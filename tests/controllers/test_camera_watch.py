"""What a FrameWatch sees: age, rate, losses, and a picture that stands still."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.cameras.watch import FrameState, FrameWatch
from tests.controllers.camera_tools import PERIOD_NS, frame, picture

START_NS = 10**12


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_frames_seen_and_lost_add_up_to_the_numbers(gaps: list[int]) -> None:
    watch, number = FrameWatch(), 100
    for gap in gaps:
        number += 1 + gap
        assert watch.see(frame(number, START_NS + number * PERIOD_NS))
    figures = watch.figures
    assert (figures.frames, figures.repeated) == (len(gaps), 0)
    assert figures.lost == sum(gaps[1:])  # what was lost before the first is nobody's loss
    assert figures.frames + figures.lost == number - 100 - gaps[0]


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_frozen_are_ten_equal_pictures_in_a_row_and_a_repeated_one_gives_no_beat(repeats: list[bool]) -> None:
    watch, in_a_row, seed = FrameWatch(), 0, 0
    for number, repeated in enumerate(repeats):
        repeated = repeated and number > 0
        seed += not repeated
        in_a_row = in_a_row + 1 if repeated else 1
        alive = watch.see(frame(number, START_NS + number * PERIOD_NS, picture(seed)))
        assert alive is not repeated
        assert watch.frozen is (in_a_row >= 10)
        state = watch.state(START_NS + number * PERIOD_NS)
        assert state == (FrameState.FROZEN if in_a_row >= 10 else FrameState.FRESH)


def test_a_camera_whose_stamps_stand_still_gives_no_beat_though_its_pictures_differ() -> None:
    watch = FrameWatch()
    alive = [watch.see(frame(number, START_NS)) for number in range(12)]
    assert alive == [True] + [False] * 11
    assert watch.frozen and watch.state(START_NS) == FrameState.FROZEN


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0.0, FrameState.FRESH), (0.1, FrameState.FRESH), (0.101, FrameState.LATE), (0.299, FrameState.LATE),
     (0.301, FrameState.STALE)],
)  # fmt: skip
def test_the_age_decides(age_s: float, state: FrameState) -> None:
    watch = FrameWatch()
    assert watch.state(START_NS) == FrameState.NONE and math.isinf(watch.age_s(START_NS))
    watch.see(frame(1, START_NS))
    assert watch.state(START_NS + round(age_s * 1e9)) == state


def test_one_changed_row_in_four_is_enough_to_differ_and_sensor_noise_always_is() -> None:
    watch, rng = FrameWatch(), np.random.default_rng(0)
    scene = np.full((480, 640, 3), 100, np.uint8)
    for number in range(30):
        noise = rng.integers(0, 2, scene.shape, dtype=np.uint8)
        assert watch.see(frame(number, START_NS + number * PERIOD_NS, scene + noise))
    assert watch.figures.repeated == 0


def test_rate_and_jitter_come_from_stamps() -> None:
    watch = FrameWatch()
    assert math.isnan(watch.figures.rate_hz)
    for number in range(40):
        late_ns = 1_000_000 * (-1) ** number
        watch.see(frame(number, START_NS + number * PERIOD_NS + late_ns))
    assert watch.figures.rate_hz == pytest.approx(30.0, rel=0.01)
    assert watch.figures.jitter_s == pytest.approx(0.002, rel=0.01)
    assert watch.figures.latency_s == pytest.approx(0.005)


def test_a_new_start_is_no_loss() -> None:
    watch = FrameWatch()
    watch.see(frame(500, START_NS, picture(1)))
    watch.begin_anew()
    assert watch.see(frame(1, START_NS + PERIOD_NS, picture(1)))
    assert watch.figures.lost == 0 and watch.age_s(START_NS + PERIOD_NS) == 0.0


def test_limits_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 < soft_s <= hard_s"):
        FrameWatch(0.3, 0.1)
