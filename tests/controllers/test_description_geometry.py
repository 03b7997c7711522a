"""Poses form a group and agree with scipy; shapes refuse what cannot exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from controllers.description.geometry import (
    Box,
    Capsule,
    ContactSoftness,
    Cylinder,
    Pose,
    Sphere,
    look_at,
    quaternion_of,
)

seeds = st.integers(0, 2**32 - 1)


def random_pose(rng: np.random.Generator) -> Pose:
    quaternion = rng.normal(size=4)
    return Pose(rng.uniform(-2.0, 2.0, 3), quaternion / np.linalg.norm(quaternion))


@given(seeds)
def test_poses_form_a_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (random_pose(rng) for _ in range(3))
    assert a.compose(b).compose(c).is_close(a.compose(b.compose(c)), 1e-12)
    assert a.compose(a.inverse()).is_close(Pose(), 1e-12)
    assert a.inverse().compose(a).is_close(Pose(), 1e-12)
    assert a.compose(Pose()).is_close(a, 1e-12)


@given(seeds)
def test_matrix_and_apply_follow_composition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, point = random_pose(rng), random_pose(rng), rng.normal(size=3)
    np.testing.assert_allclose(a.compose(b).matrix, a.matrix @ b.matrix, atol=1e-12)
    np.testing.assert_allclose(a.apply(b.apply(point)), a.compose(b).apply(point), atol=1e-12)


@given(seeds)
def test_rotations_agree_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pose, rpy = random_pose(rng), rng.uniform(-np.pi, np.pi, 3)
    np.testing.assert_allclose(pose.rotation, Rotation.from_quat(pose.quaternion_xyzw).as_matrix(), atol=1e-12)
    expected = Rotation.from_euler("xyz", rpy).as_matrix()
    np.testing.assert_allclose(Pose.from_rpy((0, 0, 0), tuple(rpy)).rotation, expected, atol=1e-12)


@given(seeds)
def test_matrix_quaternion_and_rpy_round_trip(seed: int) -> None:
    pose = random_pose(np.random.default_rng(seed))
    assert Pose.from_rotation(pose.position_m, pose.rotation).is_close(pose, 1e-7)
    assert Pose.from_rpy(pose.position_m, pose.rpy_rad).is_close(pose, 1e-7)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
@pytest.mark.parametrize("roll", [0.0, 0.4, -2.0])
def test_rpy_round_trips_at_the_gimbal_lock(pitch: float, roll: float) -> None:
    pose = Pose.from_rpy((0, 0, 0), (roll, pitch, 0.7))
    assert Pose.from_rpy((0, 0, 0), pose.rpy_rad).is_close(pose, 1e-7)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_turns_survive_the_matrix(axis: int) -> None:
    quaternion = np.eye(4)[axis]
    pose = Pose(np.zeros(3), quaternion)
    assert Pose(np.zeros(3), quaternion_of(pose.rotation)).is_close(pose)


def test_distance_takes_the_short_way_round() -> None:
    turned = Pose.from_rpy((3.0, 4.0, 0.0), (0.0, 0.0, 0.3))
    assert Pose().distance(turned) == pytest.approx((5.0, 0.3))
    assert turned.is_close(Pose(turned.position_m, -turned.quaternion_xyzw))


def test_look_at_has_optical_axes() -> None:
    pose = look_at((1.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    forward, right = pose.rotation[:, 2], pose.rotation[:, 0]
    np.testing.assert_allclose(forward, np.array([-1.0, 0.0, -1.0]) / np.sqrt(2.0), atol=1e-12)
    np.testing.assert_allclose(right, [0.0, 1.0, 0.0], atol=1e-12)
    assert pose.rotation[2, 1] < 0.0  # y points down


def test_poses_cannot_be_changed() -> None:
    pose = Pose()
    with pytest.raises(ValueError, match="read-only"):
        pose.position_m[0] = 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pose(np.zeros(2)), "position_m needs 3 numbers, got shape (2,)"),
        (lambda: Pose(np.array([0.0, np.nan, 0.0])), "position_m needs finite numbers, got [0.0, nan, 0.0]"),
        (
            lambda: Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 2.0])),
            "quaternion_xyzw must have length 1, got length 2: divide it by its length",
        ),
        (lambda: quaternion_of(np.diag([1.0, 1.0, -1.0])), "determinant +1, got -1: one axis is mirrored"),
        (lambda: quaternion_of(2.0 * np.eye(3)), "a rotation matrix must be 3x3 and orthonormal"),
        (lambda: look_at((0, 0, 1), (0, 0, 0)), "a line of sight that is not parallel to up"),
        (lambda: Box(size_m=(0.1, 0.0, 0.1)), "Box.size_m needs 3 number(s) above 0, got (0.1, 0.0, 0.1)"),
        (lambda: Cylinder(radius_m=-1.0, length_m=1.0), "Cylinder.radius_m needs 1 number(s) above 0, got -1.0"),
        (lambda: Capsule(radius_m=1.0, length_m=0.0), "Capsule.length_m needs 1 number(s) above 0, got 0.0"),
        (lambda: Sphere(radius_m=float("inf")), "Sphere.radius_m needs 1 number(s) above 0, got inf"),
        (lambda: Sphere(radius_m=1.0, rgba=(0.0, 0.0, 2.0, 1.0)), "rgba needs 4 numbers in 0..1"),
        (lambda: Sphere(radius_m=1.0, friction=-0.1), "friction must be 0 or more, got -0.1"),
        (lambda: ContactSoftness(time_constant_s=0.0), "time_constant_s must be a finite number above 0, got 0.0"),
        (
            lambda: ContactSoftness(impedance_min=0.995),
            "contact impedances need 0 < min <= max < 1, got 0.995 and 0.99",
        ),
    ],
)
def test_impossible_geometry_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
