"""Reference limiting between a wish and the law: age, box, cone, slew, leash.

The static force that a command can ask for is bounded by stiffness x leash whatever the policy does, because the
leash is evaluated at every tick against the *measured* pose and written back into the reference (no wind-up of a
hidden target). Clipping the error alone is SERL's reference limiting (Luo et al. 2024, arXiv:2401.16013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety import so3
from safety.compilation import Floats, kernel

LIMITER = np.dtype(
    [
        ("age_limit_s", "f8"),
        ("stop_s", "f8"),
        ("latch_s", "f8"),
        ("box_min_base_m", "f8", 3),
        ("box_max_base_m", "f8", 3),
        ("cone_axis_base", "f8", 3),
        ("cone_angle_rad", "f8"),
        ("max_jump_m", "f8"),
        ("max_speed_m_s", "f8"),
        ("max_acceleration_m_s2", "f8"),
        ("max_angular_speed_rad_s", "f8"),
        ("max_angular_acceleration_rad_s2", "f8"),
        ("leash", "f8", 6),
        ("stiffness_min", "f8", 6),
        ("stiffness_max", "f8", 6),
        ("stiffness_slew_per_s", "f8", 6),
        ("damping_ratio_min", "f8"),
        ("damping_ratio_max", "f8"),
        ("damping_ratio_slew_per_s", "f8"),
        ("max_wrench", "f8", 6),
        ("wrench_slew_n_s", "f8"),
        ("hold_stiffness", "f8", 6),
        ("hold_damping_ratio", "f8"),
        ("hold_ramp_s", "f8"),
    ],
    align=True,
)


def _per_axis(linear: float, angular: float) -> tuple[float, ...]:
    return (linear,) * 3 + (angular,) * 3


_SIX = ("leash", "stiffness_min", "stiffness_max", "stiffness_slew_per_s", "max_wrench", "hold_stiffness")
_POSITIVE = (
    *("max_jump_m", "max_speed_m_s", "max_acceleration_m_s2", "max_angular_speed_rad_s"),
    *("max_angular_acceleration_rad_s2", "wrench_slew_n_s", "damping_ratio_min", "damping_ratio_slew_per_s"),
    *("hold_damping_ratio", "hold_ramp_s"),
)


@dataclass(frozen=True)
class ReferenceLimiterConfig:
    """Bounds on what a command may ask of the arm, and what becomes of it as it ages."""

    age_limit_s: float = 0.25
    """Older commands no longer move the reference [s], in (0, stop_s)."""
    stop_s: float = 1.0
    """Without a good command for this long the arm goes to a soft hold [s], in (age_limit_s, latch_s)."""
    latch_s: float = 5.0
    """A hold this long is latched until a reseed [s], > stop_s."""
    box_min_base_m: tuple[float, float, float] = (0.25, -0.35, 0.0)
    """Lower corner of the workspace box of the control point, base frame [m]."""
    box_max_base_m: tuple[float, float, float] = (0.70, 0.35, 0.65)
    """Upper corner of the workspace box of the control point, base frame [m]."""
    cone_axis_base: tuple[float, float, float] = (0.0, 0.0, -1.0)
    """Unit vector about which the tool's z axis must stay, base frame."""
    cone_angle_rad: float = 0.5
    """Largest angle between the tool's z axis and the cone's axis [rad], in (0, pi]."""
    max_jump_m: float = 0.5
    """A target farther than this from the measured position is refused [m]."""
    max_speed_m_s: float = 0.25
    """Speed limit of the reference [m/s]."""
    max_acceleration_m_s2: float = 1.0
    """Acceleration limit of the reference [m/s^2]."""
    max_angular_speed_rad_s: float = 0.5
    """Angular speed limit of the reference [rad/s]."""
    max_angular_acceleration_rad_s2: float = 10.0
    """Angular acceleration limit of the reference [rad/s^2]."""
    leash: tuple[float, ...] = _per_axis(0.02, 0.1)
    """Largest distance of reference from measured pose per base axis [m x3, rad x3]: force <= stiffness x leash."""
    stiffness_min: tuple[float, ...] = _per_axis(0.0, 0.0)
    """Smallest stiffness that is accepted [N/m x3, Nm/rad x3]."""
    stiffness_max: tuple[float, ...] = _per_axis(1000.0, 60.0)
    """Largest stiffness that is accepted [N/m x3, Nm/rad x3]."""
    stiffness_slew_per_s: tuple[float, ...] = _per_axis(50_000.0, 3_000.0)
    """How fast the stiffness may change [N/m/s x3, Nm/rad/s x3]."""
    damping_ratio_min: float = 0.1
    """Smallest damping ratio that is accepted."""
    damping_ratio_max: float = 2.0
    """Largest damping ratio that is accepted."""
    damping_ratio_slew_per_s: float = 10.0
    """How fast the damping ratio may change [1/s]."""
    max_wrench: tuple[float, ...] = _per_axis(20.0, 2.0)
    """Largest feed-forward wrench per axis that is accepted [N x3, Nm x3]."""
    wrench_slew_n_s: float = 100.0
    """How fast the feed-forward wrench may change per axis [N/s, Nm/s]."""
    hold_stiffness: tuple[float, ...] = _per_axis(150.0, 15.0)
    """Stiffness in a hold [N/m x3, Nm/rad x3]."""
    hold_damping_ratio: float = 1.2
    """Damping ratio in a hold."""
    hold_ramp_s: float = 0.2
    """Time in which a hold takes the stiffness to hold_stiffness [s], > 0; never faster than stiffness_slew_per_s."""

    def __post_init__(self) -> None:
        if not 0.0 < self.age_limit_s < self.stop_s < self.latch_s:
            raise ValueError(
                f"expected 0 < age_limit_s < stop_s < latch_s, got {self.age_limit_s}, {self.stop_s}, {self.latch_s}"
            )
        low_m, high_m = self.box_min_base_m, self.box_max_base_m
        if not all(-math.inf < low < high < math.inf for low, high in zip(low_m, high_m, strict=True)):
            raise ValueError(f"box_min_base_m must be finite and below box_max_base_m, got {low_m} and {high_m}")
        if not math.isclose(math.dist((0.0, 0.0, 0.0), self.cone_axis_base), 1.0, abs_tol=1e-6):
            raise ValueError(f"cone_axis_base must be a unit vector, got {self.cone_axis_base}")
        if not 0.0 < self.cone_angle_rad <= math.pi:
            raise ValueError(f"cone_angle_rad must be in (0, pi], got {self.cone_angle_rad}")
        for name in _SIX:
            values = getattr(self, name)
            if len(values) != 6 or not all(0.0 <= value < math.inf for value in values):
                raise ValueError(f"{name} needs 6 finite numbers >= 0 (x, y, z, rx, ry, rz), got {values}")
        for name in _POSITIVE:
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {getattr(self, name)}")
        if not all(low <= high for low, high in zip(self.stiffness_min, self.stiffness_max, strict=True)):
            raise ValueError(f"expected stiffness_min <= stiffness_max, got {self.stiffness_min}, {self.stiffness_max}")
        if not self.damping_ratio_min <= self.damping_ratio_max:
            raise ValueError(
                "expected damping_ratio_min <= damping_ratio_max, got "
                f"{self.damping_ratio_min}, {self.damping_ratio_max}"
            )

    def to_record(self) -> NDArray[Any]:
        """Returns the () LIMITER record that the kernels read."""
        record = np.zeros((), LIMITER)
        for name in LIMITER.names or ():
            record[name] = getattr(self, name)
        return record


@kernel
def clip_to_cone(q_goal: so3.Quaternion, axis: Floats, max_angle_rad: float) -> tuple[so3.Quaternion, bool]:
    """Turns the goal by the smallest rotation that brings the tool's z axis into the cone: (quaternion, clipped)."""
    z = so3.rotate(q_goal, (0.0, 0.0, 1.0))
    cosine = min(1.0, max(-1.0, z[0] * axis[0] + z[1] * axis[1] + z[2] * axis[2]))
    angle = math.acos(cosine)
    if angle <= max_angle_rad:
        return q_goal, False
    # turn about z x axis, which leads from z towards the axis, by the excess
    nx = z[1] * axis[2] - z[2] * axis[1]
    ny = z[2] * axis[0] - z[0] * axis[2]
    nz = z[0] * axis[1] - z[1] * axis[0]
    norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    if (
        norm < 1e-9
    ):  # the opposite direction: any perpendicular axis will do, here axis x (x or y, whichever is farther)
        if abs(axis[0]) < 0.9:
            nx, ny, nz = 0.0, axis[2], -axis[1]
        else:
            nx, ny, nz = -axis[2], 0.0, axis[0]
        norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    excess = (angle - max_angle_rad) / norm
    return so3.normalise(so3.multiply(so3.exp((nx * excess, ny * excess, nz * excess)), q_goal)), True


@kernel
def approach(
    offset: so3.Vector, velocity: so3.Vector, max_speed: float, max_acceleration: float, dt_s: float
) -> so3.Vector:
    """One step of a reference towards a goal under speed and acceleration limits.

    offset: goal - reference, velocity: of the reference. Returns the new velocity; the step is velocity * dt_s. The
    speed never exceeds what can still be braked before the goal: v <= sqrt(2 a d + (a dt / 2)^2) - a dt / 2.
    """
    distance = math.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2)
    half = 0.5 * max_acceleration * dt_s
    speed = min(max_speed, math.sqrt(2.0 * max_acceleration * distance + half * half) - half, distance / dt_s)
    scale = speed / distance if distance > 1e-12 else 0.0
    dx = offset[0] * scale - velocity[0]
    dy = offset[1] * scale - velocity[1]
    dz = offset[2] * scale - velocity[2]
    change = math.sqrt(dx * dx + dy * dy + dz * dz)
    limit = max_acceleration * dt_s
    if change > limit:
        dx, dy, dz = dx * limit / change, dy * limit / change, dz * limit / change
    vx, vy, vz = velocity[0] + dx, velocity[1] + dy, velocity[2] + dz
    speed = math.sqrt(vx * vx + vy * vy + vz * vz)
    if speed > max_speed:  # rounding, or a limit that was lowered while moving
        vx, vy, vz = vx * max_speed / speed, vy * max_speed / speed, vz * max_speed / speed
    return vx, vy, vz


@kernel
def clip_scalar(value: float, limit: float) -> float:
    """value clipped to [-limit, limit]."""
    return min(limit, max(-limit, value))


@kernel
def towards(value: float, goal: float, max_step: float) -> float:
    """value moved towards goal by at most max_step."""
    return value + min(max_step, max(-max_step, goal - value))
