"""Cone, slew and the configuration's own checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safety.reference_limiter import ReferenceLimiterConfig, approach, clip_to_cone

seeds = st.integers(0, 2**32 - 1)


def tilt_rad(q: Any, axis: np.ndarray) -> float:
    return math.acos(np.clip(Rotation.from_quat(q).apply([0.0, 0.0, 1.0]) @ axis, -1.0, 1.0))


@given(seeds, st.floats(0.05, 1.5))
def test_the_cone_holds_and_leaves_what_is_inside(seed: int, limit_rad: float) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    goal = Rotation.random(random_state=seed)
    before = tilt_rad(goal.as_quat(), axis)
    clipped, bit = clip_to_cone(tuple(goal.as_quat()), tuple(axis), limit_rad)
    assert tilt_rad(clipped, axis) <= limit_rad + 1e-9
    assert bit == (before > limit_rad)
    turned_rad = (Rotation.from_quat(clipped) * goal.inv()).magnitude()
    assert turned_rad == pytest.approx(max(0.0, before - limit_rad), abs=1e-6), "the smallest turn that does it"


@pytest.mark.parametrize("axis", [(0.0, 0.0, -1.0), (0.6, 0.0, -0.8), (1.0, 0.0, 0.0)])
def test_the_very_opposite_direction_is_turned_back_too(axis: tuple[float, float, float]) -> None:
    away = Rotation.align_vectors([-np.array(axis)], [[0.0, 0.0, 1.0]])[0]
    clipped, bit = clip_to_cone(tuple(away.as_quat()), axis, 0.5)
    assert bit
    assert tilt_rad(clipped, np.array(axis)) == pytest.approx(0.5, abs=1e-6)


def slewed(offset: np.ndarray, velocity: np.ndarray, speed: float, acceleration: float) -> np.ndarray:
    (x, y, z), (vx, vy, vz) = offset, velocity
    return np.array(approach((x, y, z), (vx, vy, vz), speed, acceleration, 0.001), dtype=np.float64)


@given(seeds, st.floats(0.01, 1.0), st.floats(0.1, 10.0))
def test_speed_and_acceleration_are_bounded_whatever_the_goal_does(
    seed: int, speed: float, acceleration: float
) -> None:
    rng = np.random.default_rng(seed)
    position, velocity, dt = np.zeros(3), np.zeros(3), 0.001
    for tick in range(300):
        if tick % 60 == 0:
            goal = rng.uniform(-1.0, 1.0, 3) * 10.0 ** rng.uniform(-6, 0)
        offset = goal - position
        new = slewed(offset, velocity, speed, acceleration)
        assert np.linalg.norm(new) <= speed * (1.0 + 1e-9)
        assert np.linalg.norm(new - velocity) <= acceleration * dt * (1.0 + 1e-9)
        position, velocity = position + new * dt, new


def test_it_arrives_without_overshoot_and_stays() -> None:
    position, velocity, goal = np.zeros(3), np.zeros(3), np.array([0.05, -0.02, 0.01])
    farthest = 0.0
    for _ in range(2000):
        velocity = slewed(goal - position, velocity, 0.25, 1.0)
        position = position + velocity * 0.001
        farthest = max(farthest, float(position @ goal) / float(goal @ goal))
    np.testing.assert_allclose(position, goal, atol=1e-9)
    assert farthest <= 1.0 + 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_s": 0.1}, "expected 0 < age_limit_s < stop_s < latch_s"),
        ({"box_min_base_m": (1.0, 0.0, 0.0)}, "box_min_base_m must be finite and below box_max_base_m"),
        ({"cone_axis_base": (0.0, 0.0, -2.0)}, "cone_axis_base must be a unit vector"),
        ({"cone_angle_rad": 4.0}, "cone_angle_rad must be in"),
        ({"leash": (0.02,) * 5}, "leash needs 6 finite numbers"),
        ({"leash": (math.nan,) * 6}, "leash needs 6 finite numbers"),
        ({"max_speed_m_s": math.inf}, "max_speed_m_s must be a finite number > 0"),
        ({"stiffness_min": (2000.0,) * 6}, "expected stiffness_min <= stiffness_max"),
        ({"hold_ramp_s": 0.0}, "hold_ramp_s must be a finite number > 0, got 0"),
        ({"damping_ratio_slew_per_s": -1.0}, "damping_ratio_slew_per_s must be a finite number > 0, got -1"),
        ({"damping_ratio_min": 3.0}, "expected damping_ratio_min <= damping_ratio_max"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReferenceLimiterConfig(**changes)


def test_a_speed_limit_that_was_lowered_in_motion_holds_at_once() -> None:
    velocity = approach((1.0, 0.0, 0.0), (1.0, 0.5, 0.0), 0.1, 1.0, 1e-3)
    assert np.linalg.norm(velocity) == pytest.approx(0.1)
