"""The arm: joints, links, limits, motors, and the shapes that stand for its housing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Geom, Pose, Vector3, frozen_vector, require_positive

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inertia:
    """Mass properties of a rigid body in the frame of its owner.

    `matrix_kg_m2` (3, 3) is taken about the centre of mass, in the owner's axes. Raises ValueError if no body
    could have it.
    """

    mass_kg: float
    com_m: Array
    matrix_kg_m2: Array

    def __post_init__(self) -> None:
        require_positive(self.mass_kg, "mass_kg")
        object.__setattr__(self, "com_m", frozen_vector(self.com_m, 3, "com_m"))
        object.__setattr__(self, "matrix_kg_m2", physical_inertia(self.matrix_kg_m2))


def physical_inertia(matrix: Array) -> Array:
    """Returns a read-only copy of an inertia matrix (3, 3); raises ValueError if it is not that of a rigid body.

    The principal moments must be positive and fulfil the triangle inequality I1 + I2 >= I3.
    """
    inertia = np.array(matrix, dtype=np.float64)
    if inertia.shape != (3, 3) or not np.allclose(inertia, inertia.T, rtol=0.0, atol=1e-12):
        raise ValueError(f"an inertia must be a symmetric 3x3 matrix, got {inertia.tolist()}")
    moments = np.linalg.eigvalsh(inertia)
    if not moments[0] > 0.0 or moments[0] + moments[1] < moments[2] * (1.0 - 1e-6):
        raise ValueError(
            "an inertia needs positive principal moments with I1 + I2 >= I3, "
            f"got {moments.tolist()}: check the axes and the point of reference"
        )
    inertia.setflags(write=False)
    return inertia


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """A rigid body of the arm with its shapes."""

    name: str
    inertia: Inertia
    geoms: tuple[Geom, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """A revolute joint about the z axis of its own frame, from the link before it to the link after it."""

    name: str
    T_parent_joint: Pose  # at q = 0
    lower_rad: float
    upper_rad: float
    max_velocity_rad_s: float
    max_torque_nm: float
    armature_kg_m2: float  # motor inertia seen at the joint
    damping_nms_rad: float
    friction_nm: float  # Coulomb friction

    def __post_init__(self) -> None:
        if not self.lower_rad < self.upper_rad:
            raise ValueError(f"{self.name}: lower limit {self.lower_rad} must be below upper limit {self.upper_rad}")
        for name in ("max_velocity_rad_s", "max_torque_nm"):
            require_positive(getattr(self, name), f"{self.name}: {name}")
        for name in ("armature_kg_m2", "damping_nms_rad", "friction_nm"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{self.name}: {name} must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmDescription:
    """A serial arm: `links[i]` carries `joints[i]`, which carries `links[i + 1]`; the flange is fixed to the last link.

    Raises ValueError for counts that do not fit, repeated names and a home outside the limits.
    """

    name: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    T_last_flange: Pose
    home_rad: Array  # (n,)
    max_torque_rate_nm_s: float  # of every joint
    max_acceleration_rad_s2: float  # of every joint

    def __post_init__(self) -> None:
        if len(self.links) != len(self.joints) + 1:
            raise ValueError(f"{len(self.joints)} joints need {len(self.joints) + 1} links, got {len(self.links)}")
        names = [link.name for link in self.links] + [joint.name for joint in self.joints]
        if len(set(names)) != len(names):
            raise ValueError(f"names of links and joints must differ from each other, got {names}")
        home = frozen_vector(self.home_rad, len(self.joints), "home_rad")
        if np.any(home < self.lower_rad) or np.any(home > self.upper_rad):
            raise ValueError(f"home_rad must lie within the joint limits, got {home.tolist()}")
        object.__setattr__(self, "home_rad", home)
        require_positive(self.max_torque_rate_nm_s, "max_torque_rate_nm_s")
        require_positive(self.max_acceleration_rad_s2, "max_acceleration_rad_s2")

    @property
    def lower_rad(self) -> Array:
        """Lower joint limits (n,)."""
        return np.array([joint.lower_rad for joint in self.joints])

    @property
    def upper_rad(self) -> Array:
        """Upper joint limits (n,)."""
        return np.array([joint.upper_rad for joint in self.joints])

    @property
    def max_velocity_rad_s(self) -> Array:
        """Joint speed limits (n,)."""
        return np.array([joint.max_velocity_rad_s for joint in self.joints])

    @property
    def max_torque_nm(self) -> Array:
        """Joint torque limits (n,)."""
        return np.array([joint.max_torque_nm for joint in self.joints])

    @property
    def armature_kg_m2(self) -> Array:
        """Motor inertias at the joints (n,)."""
        return np.array([joint.armature_kg_m2 for joint in self.joints])


def narrower(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Returns the intersection of two (lower, upper) ranges; raises ValueError if it is empty.

    Two published figures of one limit can differ (description against controller); the arm must respect both.
    """
    lower, upper = max(first[0], second[0]), min(first[1], second[1])
    if lower >= upper:
        raise ValueError(f"ranges {first} and {second} do not overlap")
    return lower, upper


def inertia_matrix(ixx: float, iyy: float, izz: float, ixy: float, ixz: float, iyz: float) -> Array:
    """Returns the symmetric matrix (3, 3) of six moments and products of inertia [kg m^2]."""
    return np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])


def vector(values: Vector3) -> Array:
    """Returns the three numbers as an array (3,)."""
    return np.array(values, dtype=np.float64)
