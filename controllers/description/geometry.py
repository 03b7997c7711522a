"""Poses and primitive shapes: the vocabulary of every description.

A pose `T_a_b` is the frame b seen from the frame a; it maps the coordinates of a point in b to those in a. Quaternions
are xyzw here and everywhere; only the emitters write another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Vector3 = tuple[float, float, float]
Rgba = tuple[float, float, float, float]

_UNIT_TOLERANCE = 1e-3
"""A quaternion farther than this from unit length is a mistake; a nearer one is rounding, and is normalised."""


def frozen_vector(values: ArrayLike, size: int, name: str) -> Array:
    """Returns a read-only float64 copy of `values`, shape (size,).

    Raises ValueError if there are not `size` numbers or one of them is not finite.
    """
    array = np.array(values, dtype=np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} needs {size} numbers, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} needs finite numbers, got {array.tolist()}")
    array.setflags(write=False)
    return array


def require_positive(value: float, name: str) -> None:
    """Raises ValueError unless `value` is a finite number above zero."""
    if not (np.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform: position (3,) in metres and unit quaternion (4,) xyzw."""

    position_m: Array = field(default_factory=lambda: np.zeros(3))
    quaternion_xyzw: Array = field(default_factory=lambda: np.array([0.0, 0.0, 0.0, 1.0]))

    def __post_init__(self) -> None:
        position = frozen_vector(self.position_m, 3, "position_m")
        quaternion = np.array(frozen_vector(self.quaternion_xyzw, 4, "quaternion_xyzw"))
        norm = float(np.linalg.norm(quaternion))
        if abs(norm - 1.0) > _UNIT_TOLERANCE:
            raise ValueError(f"quaternion_xyzw must have length 1, got length {norm:.6g}: divide it by its length")
        quaternion /= norm
        quaternion.setflags(write=False)
        object.__setattr__(self, "position_m", position)
        object.__setattr__(self, "quaternion_xyzw", quaternion)

    @classmethod
    def from_rotation(cls, position_m: ArrayLike, rotation: ArrayLike) -> Pose:
        """Returns the pose with this position (3,) and rotation matrix (3, 3)."""
        return cls(np.asarray(position_m, np.float64), quaternion_of(np.asarray(rotation, np.float64)))

    @classmethod
    def from_rpy(cls, position_m: ArrayLike, rpy_rad: Sequence[float]) -> Pose:
        """Returns the pose with rotation Rz(yaw) Ry(pitch) Rx(roll), the URDF convention."""
        roll, pitch, yaw = (0.5 * float(angle) for angle in rpy_rad)
        cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
        quaternion = np.array(
            [
                sr * cp * cy - cr * sp * sy,
                cr * sp * cy + sr * cp * sy,
                cr * cp * sy - sr * sp * cy,
                cr * cp * cy + sr * sp * sy,
            ]
        )
        return cls(np.asarray(position_m, np.float64), quaternion)

    @property
    def rotation(self) -> Array:
        """Rotation matrix (3, 3)."""
        x, y, z, w = self.quaternion_xyzw
        return np.array(
            [
                [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
                [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
                [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
            ]
        )

    @property
    def matrix(self) -> Array:
        """Homogeneous matrix (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.position_m
        return matrix

    @property
    def rpy_rad(self) -> Vector3:
        """Roll, pitch, yaw of Rz(yaw) Ry(pitch) Rx(roll); yaw is 0 where pitch is +-pi/2: only the sum counts there."""
        rotation = self.rotation
        level = float(np.hypot(rotation[0, 0], rotation[1, 0]))
        pitch = float(np.arctan2(-rotation[2, 0], level))
        if level < 1e-9:
            return float(np.arctan2(-rotation[1, 2], rotation[1, 1])), pitch, 0.0
        roll = float(np.arctan2(rotation[2, 1], rotation[2, 2]))
        return roll, pitch, float(np.arctan2(rotation[1, 0], rotation[0, 0]))

    def compose(self, other: Pose) -> Pose:
        """Returns T_a_c of T_a_b (self) and T_b_c (other)."""
        x1, y1, z1, w1 = self.quaternion_xyzw
        x2, y2, z2, w2 = other.quaternion_xyzw
        quaternion = np.array(
            [
                w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
                w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
                w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
                w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            ]
        )
        return Pose(self.apply(other.position_m), quaternion)

    def inverse(self) -> Pose:
        """Returns T_b_a of T_a_b."""
        return Pose(-self.rotation.T @ self.position_m, self.quaternion_xyzw * np.array([-1.0, -1.0, -1.0, 1.0]))

    def apply(self, point_b: ArrayLike) -> Array:
        """Returns the point (3,) in frame a of a point (3,) given in frame b."""
        result: Array = self.position_m + self.rotation @ np.asarray(point_b, np.float64)
        return result

    def distance(self, other: Pose) -> tuple[float, float]:
        """Returns the distance between the origins [m] and the angle of the relative rotation [rad, 0..pi]."""
        relative = self.inverse().compose(other)
        angle = 2.0 * np.arctan2(np.linalg.norm(relative.quaternion_xyzw[:3]), abs(relative.quaternion_xyzw[3]))
        return float(np.linalg.norm(relative.position_m)), float(angle)

    def towards(self, other: Pose, share: float) -> Pose:
        """Returns the pose at a share in [0, 1] of the way to another: straight, and by the shorter turn (slerp)."""
        q, r = self.quaternion_xyzw, other.quaternion_xyzw
        r = -r if float(q @ r) < 0.0 else r
        angle = math.acos(min(float(q @ r), 1.0))
        position_m = self.position_m + share * (other.position_m - self.position_m)
        if angle < 1e-6:
            return Pose(position_m, r if share > 0.5 else q)
        turned = (math.sin((1.0 - share) * angle) * q + math.sin(share * angle) * r) / math.sin(angle)
        return Pose(position_m, turned / np.linalg.norm(turned))

    def is_close(self, other: Pose, tolerance: float = 1e-9) -> bool:
        """Tells whether both distances (metres, radians) are within `tolerance`."""
        return max(self.distance(other)) <= tolerance


def quaternion_of(rotation: Array) -> Array:
    """Returns the unit quaternion (4,) xyzw of a rotation matrix (3, 3), by Shepperd's choice of the largest divisor.

    Raises ValueError if the matrix is not a rotation (R R^T = I, det R = 1).
    """
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
        raise ValueError(f"a rotation matrix must be 3x3 and orthonormal, got {rotation.tolist()}")
    if np.linalg.det(rotation) < 0.0:
        raise ValueError("a rotation matrix must have determinant +1, got -1: one axis is mirrored")
    diagonal = np.diag(rotation)
    candidates = np.array([*(1.0 + 2.0 * diagonal - diagonal.sum()), 1.0 + diagonal.sum()])
    largest = int(np.argmax(candidates))
    r = rotation
    rows = (
        (candidates[0], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]),
        (r[0, 1] + r[1, 0], candidates[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]),
        (r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], candidates[2], r[1, 0] - r[0, 1]),
        (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], candidates[3]),
    )
    quaternion = np.array(rows[largest], dtype=np.float64)
    normalised: Array = quaternion / np.linalg.norm(quaternion)
    return normalised


def look_at(eye_m: ArrayLike, target_m: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Pose:
    """Returns the pose of a camera at `eye_m` that looks at `target_m`, in optical axes: z forward, x right, y down.

    Raises ValueError if the two points coincide or the line of sight is parallel to `up`.
    """
    eye, forward = np.asarray(eye_m, np.float64), np.asarray(target_m, np.float64) - np.asarray(eye_m, np.float64)
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(forward) < 1e-9 or np.linalg.norm(right) < 1e-9:
        raise ValueError("look_at needs a target apart from the eye and a line of sight that is not parallel to up")
    z = forward / np.linalg.norm(forward)
    x = right / np.linalg.norm(right)
    return Pose.from_rotation(eye, np.column_stack([x, np.cross(z, x), z]))


@dataclass(frozen=True, kw_only=True)
class ContactSoftness:
    """How a surface gives way, in MuJoCo's terms (see the solver parameters of its manual).

    Of two surfaces in contact the one of higher priority decides, its friction included; equal ones are averaged.
    """

    time_constant_s: float = 0.004  # of the penetration's decay; at least two simulation steps
    damping_ratio: float = 1.0  # of that decay
    impedance_min: float = 0.95  # constraint impedance at zero depth, 0..1
    impedance_max: float = 0.99  # constraint impedance at `width_m`, impedance_min..1
    width_m: float = 0.0005  # depth over which the impedance rises
    priority: int = 0

    def __post_init__(self) -> None:
        for name in ("time_constant_s", "damping_ratio", "width_m"):
            require_positive(getattr(self, name), name)
        if not 0.0 < self.impedance_min <= self.impedance_max < 1.0:
            raise ValueError(
                f"contact impedances need 0 < min <= max < 1, got {self.impedance_min} and {self.impedance_max}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Geom:
    """What all shapes share; use one of Box, Cylinder, Capsule, Sphere."""

    pose: Pose = field(default_factory=Pose)  # of the shape's centre in the frame of its owner (link, flange, fixture)
    rgba: Rgba = (0.7, 0.7, 0.7, 1.0)  # each 0..1
    friction: float = 0.3  # Coulomb coefficient; of two surfaces of equal priority the larger counts
    collides: bool = True  # False: only to be seen
    contact: ContactSoftness | None = None  # None: the simulation's default

    def __post_init__(self) -> None:
        if not all(0.0 <= value <= 1.0 for value in frozen_vector(self.rgba, 4, "rgba")):
            raise ValueError(f"rgba needs 4 numbers in 0..1, got {self.rgba}")
        if not (np.isfinite(self.friction) and self.friction >= 0.0):
            raise ValueError(f"friction must be 0 or more, got {self.friction}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Box(Geom):
    """A box with full edge lengths along x, y, z."""

    size_m: Vector3

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_sizes(self, size_m=self.size_m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cylinder(Geom):
    """A cylinder along z; `length_m` is the whole length."""

    radius_m: float
    length_m: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_sizes(self, radius_m=self.radius_m, length_m=self.length_m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Capsule(Geom):
    """A capsule along z; `length_m` is that of the cylinder between the two half spheres."""

    radius_m: float
    length_m: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_sizes(self, radius_m=self.radius_m, length_m=self.length_m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sphere(Geom):
    """A sphere."""

    radius_m: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_sizes(self, radius_m=self.radius_m)


def _require_sizes(shape: Geom, **sizes: Any) -> None:
    for name, value in sizes.items():
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
        wanted = 3 if name == "size_m" else 1
        if numbers.shape != (wanted,) or not np.all(np.isfinite(numbers)) or np.any(numbers <= 0.0):
            raise ValueError(f"{type(shape).__name__}.{name} needs {wanted} number(s) above 0, got {value}")
