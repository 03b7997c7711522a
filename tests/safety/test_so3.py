"""Rotations against SciPy, to the bit of the shortest path."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
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
