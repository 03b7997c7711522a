"""Parts of a taught task: poses, start box, workspace, success rule, limits, action scales, a plate.

Each is a small frozen dataclass that checks itself. Raises UserError: which number, what came, what was expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import product

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Box, ContactSoftness, Pose
from controllers.description.scene import Fixture
from data.errors import UserError
from robot_rl.tasks.actions import POSE_NAMES
from robot_rl.tasks.taught_tool import Vector
from safety import so3
from safety.reference_limiter import ReferenceLimiterConfig

Array = NDArray[np.float64]

FARTHEST_LOW_M: Vector = ReferenceLimiterConfig().box_min_base_m
"""Lower corner of the largest workspace that a taught task may have, base frame [m]."""
FARTHEST_HIGH_M: Vector = ReferenceLimiterConfig().box_max_base_m
"""Upper corner of it [m]."""


@dataclass(frozen=True)
class TaughtPose:
    """A pose as it is stored."""

    position_m: Vector
    """Position [m]."""
    quaternion_xyzw: tuple[float, float, float, float]
    """Unit quaternion, xyzw."""

    def __post_init__(self) -> None:
        try:
            Pose(np.array(self.position_m), np.array(self.quaternion_xyzw))
        except ValueError as error:
            raise UserError(f"no pose: {error}") from error

    @property
    def pose(self) -> Pose:
        """The pose to compute with."""
        return Pose(np.array(self.position_m), np.array(self.quaternion_xyzw))

    @classmethod
    def of(cls, pose: Pose) -> TaughtPose:
        """Stores a pose to a hundredth of a millimetre, and its turn to the sixth digit."""
        x, y, z = (round(float(value), 5) for value in pose.position_m)
        qx, qy, qz, qw = (round(float(value), 6) for value in pose.quaternion_xyzw)
        return cls((x, y, z), (qx, qy, qz, qw))


@dataclass(frozen=True)
class StartBox:
    """Where an episode starts, drawn uniformly, in the frame of the goal."""

    position_min_m: Vector
    """Lower corner [m]."""
    position_max_m: Vector
    """Upper corner [m]."""
    turn_min_rad: Vector = (0.0, 0.0, 0.0)
    """Smallest turn from the goal, as a rotation vector in the goal's axes [rad]."""
    turn_max_rad: Vector = (0.0, 0.0, 0.0)
    """Largest turn [rad]."""

    def __post_init__(self) -> None:
        _require_box(self.position_min_m, self.position_max_m, "position_min_m", "position_max_m")
        _require_box(self.turn_min_rad, self.turn_max_rad, "turn_min_rad", "turn_max_rad")
        if max(map(abs, (*self.turn_min_rad, *self.turn_max_rad))) > 3.0:
            raise UserError(f"turns must stay below 3 rad, got {self.turn_min_rad} .. {self.turn_max_rad}")

    @property
    def middle_m(self) -> Array:
        """Middle of the box (3,) in the goal frame [m]."""
        middle: Array = 0.5 * (np.array(self.position_min_m) + np.array(self.position_max_m))
        return middle

    def corners_m(self) -> Array:
        """Its corners (8, 3) in the goal frame [m]."""
        return np.array(list(product(*zip(self.position_min_m, self.position_max_m, strict=True))))

    def largest_tilt_rad(self) -> float:
        """Largest angle between the z axes of goal and start at any corner of the turns [rad]."""
        turns = product(*zip(self.turn_min_rad, self.turn_max_rad, strict=True))
        return max(tilt_rad(turn_of(np.array(turn))) for turn in turns)

    def draw(self, rng: np.random.Generator) -> Pose:
        """Returns a pose T_goal_start."""
        position = rng.uniform(self.position_min_m, self.position_max_m)
        return Pose(position, turn_of(rng.uniform(self.turn_min_rad, self.turn_max_rad)))


def turn_of(vector_rad: Array) -> Array:
    """Returns the unit quaternion (4,) xyzw of a rotation vector (3,) [rad]."""
    x, y, z = vector_rad.tolist()
    return np.array(so3.exp((x, y, z)))


def tilt_rad(quaternion_xyzw: Array) -> float:
    """Returns the angle by which a rotation tilts the z axis [rad]: cos = 1 - 2 (x^2 + y^2)."""
    x, y = quaternion_xyzw[:2]
    return math.acos(min(1.0, max(-1.0, 1.0 - 2.0 * float(x * x + y * y))))


def _require_box(low: Vector, high: Vector, low_name: str, high_name: str) -> None:
    if not all(-math.inf < a <= b < math.inf for a, b in zip(low, high, strict=True)):
        raise UserError(f"{low_name} must be finite and not above {high_name}, got {low} and {high}")


@dataclass(frozen=True)
class Workspace:
    """Box within which the control point stays, base frame."""

    low_base_m: Vector
    """Lower corner [m]."""
    high_base_m: Vector
    """Upper corner [m]."""

    def __post_init__(self) -> None:
        _require_box(self.low_base_m, self.high_base_m, "low_base_m", "high_base_m")
        thin = [high - low < 0.01 for low, high in zip(self.low_base_m, self.high_base_m, strict=True)]
        if any(thin):
            raise UserError(
                f"a workspace is at least 10 mm along each axis, got {self.low_base_m} .. {self.high_base_m}"
            )
        low, high = np.array(self.low_base_m), np.array(self.high_base_m)
        if (low < FARTHEST_LOW_M).any() or (high > FARTHEST_HIGH_M).any():
            raise UserError(
                f"a workspace lies within {FARTHEST_LOW_M} .. {FARTHEST_HIGH_M} m of the base, got "
                f"{self.low_base_m} .. {self.high_base_m}"
            )

    def holds(self, position_base_m: Array, tolerance_m: float = 1e-4) -> bool:
        """Whether a position (3,) lies in the box."""
        low, high = np.array(self.low_base_m) - tolerance_m, np.array(self.high_base_m) + tolerance_m
        return bool((position_base_m >= low).all() and (position_base_m <= high).all())

    def diagonal_m(self) -> float:
        """Distance of its farthest corners [m]."""
        return math.dist(self.low_base_m, self.high_base_m)


@dataclass(frozen=True)
class SuccessRule:
    """When an episode has succeeded: all that is given holds at the end of `decisions` decisions in a row."""

    distance_m: float | None = 0.003
    """Distance of the control point to the goal is at most this [m]; null: anywhere."""
    angle_rad: float | None = 0.1
    """Turn from the goal is at most this [rad]; null: any."""
    force_n: tuple[float, float] | None = None
    """The force (mean of 50 ms) lies between these two [N]; null: any."""
    decisions: int = 1
    """How many decisions in a row, >= 1."""
    operator: bool = False
    """Only a person's key says so, and the rest of the rule counts nothing."""

    def __post_init__(self) -> None:
        for name in ("distance_m", "angle_rad"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise UserError(f"{name} must be a number above 0, got {value}")
        if self.force_n is not None and not 0.0 <= self.force_n[0] < self.force_n[1] < math.inf:
            raise UserError(
                f"force_n must be [lowest, highest] with 0 <= lowest < highest [N], got {list(self.force_n)}"
            )
        if self.decisions < 1:
            raise UserError(f"decisions must be 1 or more, got {self.decisions}")
        if not self.operator and self.distance_m is None and self.force_n is None:
            raise UserError("a success rule needs distance_m or force_n, or operator=true")


@dataclass(frozen=True)
class TaughtLimits:
    """Limits of the motor chain, and what counts as too hard."""

    max_force_n: float = 40.0
    """A decision with a peak force above this is a violation [N]."""
    max_moment_nm: float = 4.0
    """A decision with a peak moment above this is a violation [Nm]."""
    stop_force_n: float = 60.0
    """The arm stops, latched, above this force [N]."""
    stop_moment_nm: float = 10.0
    """The arm stops, latched, above this moment [Nm]."""
    max_speed_m_s: float = 0.1
    """Speed limit of the reference [m/s], at most 0.25."""
    leash_m: float = 0.02
    """Largest distance of the reference from the measured position [m]: push <= stiffness x leash."""
    leash_rad: float = 0.1
    """Largest turn of the reference from the measured one [rad]."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not 0.0 < getattr(self, entry.name) < math.inf:
                raise UserError(f"{entry.name} must be a number above 0, got {getattr(self, entry.name)}")
        if self.max_speed_m_s > 0.25:
            raise UserError(f"max_speed_m_s must be at most 0.25, got {self.max_speed_m_s}")
        if self.stop_force_n < self.max_force_n or self.stop_moment_nm < self.max_moment_nm:
            raise UserError("stop_force_n and stop_moment_nm must not be below max_force_n and max_moment_nm")


@dataclass(frozen=True)
class TaughtAction:
    """What a policy may do in one decision."""

    translation_m: Vector = (0.005, 0.005, 0.005)
    """Largest increments of the target along the tool's axes [m]."""
    rotation_rad: float = 0.03
    """Largest increments of the target about them [rad]."""
    stiffness: tuple[float, float, float, float, float, float] = (600.0, 600.0, 600.0, 30.0, 30.0, 30.0)
    """Stiffness of every command [N/m x3, Nm/rad x3]."""
    active: tuple[str, ...] = POSE_NAMES
    """Columns that a policy may use; the others are held by the task."""

    def __post_init__(self) -> None:
        sizes = (*self.translation_m, self.rotation_rad, *self.stiffness)
        if not all(0.0 < value < math.inf for value in sizes):
            raise UserError(f"translation_m, rotation_rad and stiffness must be numbers above 0, got {sizes}")
        if not self.active or not set(self.active) <= {*POSE_NAMES, "gripper"}:
            raise UserError(f"active needs some of {(*POSE_NAMES, 'gripper')}, got {self.active}")

    def push_n(self) -> float:
        """Largest force that a policy can hold along one of the tool's axes [N]: increment x stiffness."""
        used = [index for index in range(3) if POSE_NAMES[index] in self.active]
        return max((self.translation_m[index] * self.stiffness[index] for index in used), default=0.0)


@dataclass(frozen=True)
class TaughtPlate:
    """A plate in simulation, to have something to touch; a real arm has the real thing."""

    top: TaughtPose
    """Middle of its upper face, z out of it, base frame."""
    size_m: Vector = (0.16, 0.16, 0.02)
    """Edges [m]."""

    def __post_init__(self) -> None:
        if not all(0.0 < value < math.inf for value in self.size_m):
            raise UserError(f"size_m needs three numbers above 0, got {self.size_m}")

    def fixture(self) -> Fixture:
        """Returns the plate for the scene; its surface gives way a little, as a part on a bench does."""
        soft = ContactSoftness(time_constant_s=0.01, priority=1)
        lower = Pose(np.array([0.0, 0.0, -0.5 * self.size_m[2]]))
        block = Box(pose=lower, size_m=self.size_m, contact=soft, rgba=(0.35, 0.45, 0.60, 1.0))
        return Fixture(name="plate", geoms=(block,), T_base_fixture=self.top.pose)
