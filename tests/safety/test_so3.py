"""Rotations against SciPy, to the bit of the shortest path."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safety import so3

angles = st.floats(0.0, math.pi - 1e-6)
seeds = st.integers(0, 2**32 - 1)


def unit_vector(seed: int) -> np.ndarray:
    v = np.random.default_rng(seed).normal(size=3)
    return np.asarray(v / np.linalg.norm(v))


def quaternion(seed: int) -> so3.Quaternion:
    x, y, z, w = Rotation.random(random_state=seed).as_quat()
    return (x, y, z, w)


@given(seeds, angles)
def test_exp_and_log_are_inverse_and_scipys(seed: int, angle: float) -> None:
    w = unit_vector(seed) * angle
    q = so3.exp((w[0], w[1], w[2]))
    np.testing.assert_allclose(so3.log(q), w, atol=1e-9)
    np.testing.assert_allclose(Rotation.from_quat(q).as_matrix(), Rotation.from_rotvec(w).as_matrix(), atol=1e-12)


@given(seeds)
def test_both_signs_of_a_quaternion_are_one_rotation(seed: int) -> None:
    q = quaternion(seed)
    np.testing.assert_allclose(so3.log(q), so3.log((-q[0], -q[1], -q[2], -q[3])), atol=1e-12)
    assert np.linalg.norm(so3.log(q)) <= math.pi + 1e-12


@given(seeds, seeds)
def test_products_and_rotations_are_scipys(a: int, b: int) -> None:
    p, q = quaternion(a), quaternion(b)
    product = Rotation.from_quat(so3.multiply(p, q)).as_matrix()
    np.testing.assert_allclose(product, (Rotation.from_quat(p) * Rotation.from_quat(q)).as_matrix(), atol=1e-12)
    v = unit_vector(b)
    np.testing.assert_allclose(so3.rotate(p, (v[0], v[1], v[2])), Rotation.from_quat(p).apply(v), atol=1e-12)


@given(seeds, st.sampled_from(["x", "y", "z", None]))
def test_from_matrix_inverts_scipys_also_at_half_turns(seed: int, axis: str | None) -> None:
    rotation = Rotation.random(random_state=seed) if axis is None else Rotation.from_euler(axis, math.pi - 1e-9)
    q = so3.from_matrix(np.ascontiguousarray(rotation.as_matrix()))
    np.testing.assert_allclose(Rotation.from_quat(q).as_matrix(), rotation.as_matrix(), atol=1e-9)


@given(seeds, st.floats(0.0, 3.0))
def test_the_error_turns_measured_into_goal(seed: int, angle: float) -> None:
    measured, w = quaternion(seed), unit_vector(seed + 1) * angle
    goal = so3.multiply(so3.exp((w[0], w[1], w[2])), measured)
    np.testing.assert_allclose(so3.error(goal, measured), w, atol=1e-9)


Law = Callable[[so3.Quaternion, so3.Quaternion], so3.Vector]


def vector_part(goal: so3.Quaternion, measured: so3.Quaternion) -> so3.Vector:
    """2 sin(angle / 2) axis: weaker the farther it has to turn, and towards the long way round for half the signs."""
    x, y, z, _ = so3.multiply(goal, so3.conjugate(measured))
    return (2.0 * x, 2.0 * y, 2.0 * z)


def vector_part_of_the_shorter_way(goal: so3.Quaternion, measured: so3.Quaternion) -> so3.Vector:
    x, y, z = vector_part(goal, measured)
    sign = math.copysign(1.0, so3.multiply(goal, so3.conjugate(measured))[3])
    return (sign * x, sign * y, sign * z)


def log_of_either_way(goal: so3.Quaternion, measured: so3.Quaternion) -> so3.Vector:
    """The logarithm without its change of sign where w < 0."""
    x, y, z, w = so3.multiply(goal, so3.conjugate(measured))
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 * math.atan2(sine, w) / sine
    return (x * scale, y * scale, z * scale)


def swapped(goal: so3.Quaternion, measured: so3.Quaternion) -> so3.Vector:
    return so3.error(measured, goal)


def worst_step(law: Law, seed: int) -> float:
    """Largest deviation of a step of the error from the step of the goal, which turns from -pi to pi [rad]."""
    rng, measured, axis = np.random.default_rng(seed), quaternion(seed), unit_vector(seed + 1)
    angles, errors = np.linspace(-math.pi + 0.05, math.pi - 0.05, 102), []
    for angle in angles:
        w = axis * angle
        x, y, z, real = so3.multiply(so3.exp((w[0], w[1], w[2])), measured)
        sign = rng.choice([-1.0, 1.0])
        errors.append(law((sign * x, sign * y, sign * z, sign * real), measured))
    return float(np.abs(np.diff(errors, axis=0) - axis * (angles[1] - angles[0])).max())


@given(seeds)
def test_the_error_is_linear_in_the_turn_up_to_half_a_turn_either_way(seed: int) -> None:
    assert worst_step(so3.error, seed) < 1e-9


@pytest.mark.parametrize("law", [vector_part, vector_part_of_the_shorter_way, log_of_either_way, swapped])
@given(seed=seeds)
@settings(max_examples=10)
def test_that_criterion_finds_wrong_laws(law: Law, seed: int) -> None:
    assert worst_step(law, seed) > 1e-3
