"""Limits on what is measured: force, moment, speed, power, joints, workspace, and a sensor that stands still.

A trip latches the chain: the arm holds softly where it is, and only the supervisor lets it go on. A single sample of
noise trips nothing: three of the last five must exceed a limit, or one must exceed it by half. A force sensor that
stands still holds the arm until it reads again and another command comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.compilation import Floats, Record, kernel
from safety.reasons import Reason

_JOINTS = 7
_WATCHED = (
    *(Reason.FORCE_TRIP, Reason.MOMENT_TRIP, Reason.SPEED_TRIP, Reason.TURN_TRIP),
    *(Reason.POWER_TRIP, Reason.JOINT_SPEED_TRIP),
)
_CODES = tuple(int(reason) for reason in _WATCHED)
_LIMITS = len(_CODES)
_WORKSPACE, _STUCK = int(Reason.WORKSPACE_TRIP), int(Reason.SENSOR_STUCK)
_WINDOW_MASK, _NEEDED = 0b11111, 3
_AT_ONCE = 1.5
"""One sample beyond this multiple of a limit trips by itself."""

WATCH_CONFIG = np.dtype(
    [
        ("enabled", "i8"),
        ("limits", "f8", _LIMITS),  # in the order of _WATCHED; that of the joint speeds is a share, 1
        ("max_joint_speed_rad_s", "f8", _JOINTS),
        ("workspace_margin_m", "f8"),
        ("stale_ticks", "i8"),
        ("stuck_ticks", "i8"),
    ],
    align=True,
)

WATCH = np.dtype(
    [
        ("history", "i8", _LIMITS),  # per limit: one bit a tick, newest lowest, over the last five
        ("was_inside", "i8"),  # 1 once the control point was inside the workspace since the seed
        ("same_ticks", "i8"),  # for how many ticks the wrench has not changed by a single bit
        ("wrench", "f8", 6),
    ],
    align=True,
)


@dataclass(frozen=True)
class WatchConfig:
    """Limits on the measured state beyond which the arm is stopped until the supervisor lets it go on."""

    enabled: bool = True
    """Whether these limits act."""
    max_force_n: float = 60.0
    """Largest contact force [N]."""
    max_moment_nm: float = 10.0
    """Largest contact moment about the control point [Nm]."""
    max_speed_m_s: float = 0.5
    """Largest speed of the control point [m/s]; 0.25 where people may be near."""
    max_angular_speed_rad_s: float = 4.0
    """Largest angular speed of the tool [rad/s]."""
    max_power_w: float = 10.0
    """Largest power that the controller puts into the joints [W]."""
    joint_speed_share: float = 0.9
    """Largest speed of a joint as a share of its rated speed, in (0, 1]."""
    workspace_margin_m: float = 0.05
    """How far the control point may be outside the workspace box [m], >= 0."""
    stale_ms: int = 10
    """A wrench that stands still for this long counts as certain risk [ms], > 0; a real sensor always has noise."""
    stuck_ms: int = 50
    """A wrench that stands still for this long stops the arm [ms], > stale_ms."""

    def __post_init__(self) -> None:
        for name in ("max_force_n", "max_moment_nm", "max_speed_m_s", "max_angular_speed_rad_s", "max_power_w"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {getattr(self, name)}")
        if not 0.0 < self.joint_speed_share <= 1.0:
            raise ValueError(f"joint_speed_share must be in (0, 1], got {self.joint_speed_share}")
        if not 0.0 <= self.workspace_margin_m < math.inf:
            raise ValueError(f"workspace_margin_m must be a finite number >= 0, got {self.workspace_margin_m}")
        if not 0 < self.stale_ms < self.stuck_ms:
            raise ValueError(f"expected 0 < stale_ms < stuck_ms, got {self.stale_ms}, {self.stuck_ms}")

    def to_record(self, max_speed_rad_s: NDArray[np.float64], dt_s: float) -> NDArray[Any]:
        """Returns the () WATCH_CONFIG record for joints with these rated speeds (7,) [rad/s] and this tick."""
        record = np.zeros((), WATCH_CONFIG)
        record["enabled"] = self.enabled
        record["limits"] = (
            *(self.max_force_n, self.max_moment_nm, self.max_speed_m_s, self.max_angular_speed_rad_s),
            *(self.max_power_w, 1.0),
        )
        record["max_joint_speed_rad_s"] = np.asarray(max_speed_rad_s) * self.joint_speed_share
        record["workspace_margin_m"] = self.workspace_margin_m
        record["stale_ticks"] = round(self.stale_ms * 1e-3 / dt_s)
        record["stuck_ticks"] = round(self.stuck_ms * 1e-3 / dt_s)
        return record


@kernel
def norm_of_three(values: Floats, first: int) -> float:
    """Euclidean norm of values[first : first + 3]."""
    return math.sqrt(values[first] ** 2 + values[first + 1] ** 2 + values[first + 2] ** 2)


@kernel
def exceeded(history: Floats, index: int, value: float, limit: float) -> bool:
    """Notes one sample; whether it trips: 3 of the last 5 beyond the limit, or this one by half."""
    beyond = value > limit
    history[index] = ((history[index] << 1) | (1 if beyond else 0)) & _WINDOW_MASK
    if value > _AT_ONCE * limit:
        return True
    bits, count = history[index], 0
    while bits > 0:
        count += bits & 1
        bits >>= 1
    return beyond and count >= _NEEDED


@kernel
def wrench_stands_still(watch: Record, wrench: Floats) -> int:
    """Returns for how many ticks the wrench (6,) has been the same to the last bit."""
    same = True
    for i in range(6):
        if wrench[i] != watch.wrench[i]:
            same = False
            watch.wrench[i] = wrench[i]
    watch.same_ticks = watch.same_ticks + 1 if same else 0
    return int(watch.same_ticks)


@kernel
def rearm(watch: Record) -> None:
    """Forgets what was seen before a seed; an arm that stands outside the workspace may drive in again."""
    watch.was_inside = watch.same_ticks = 0
    for index in range(_LIMITS):
        watch.history[index] = 0


@kernel
def watch_state(
    state: Record,
    tau: Floats,
    position: Floats,
    twist: Floats,
    box_min: Floats,
    box_max: Floats,
    config: Record,
    watch: Record,
) -> int:
    """Returns the Reason code of the limit that trips in this tick, 0 if none does.

    tau (7,): torque of the last tick; position (3,) and twist (6,) of the control point in base axes; box_min, box_max
    (3,): the workspace box. An arm that starts outside of it may drive in; from then on leaving it trips.
    """
    if config.enabled == 0:
        return 0
    still_ticks = wrench_stands_still(watch, state.wrench_tool)
    power_w, joint_share = 0.0, 0.0
    for i in range(_JOINTS):
        power_w += tau[i] * state.qd_rad_s[i]
        joint_share = max(joint_share, abs(state.qd_rad_s[i]) / config.max_joint_speed_rad_s[i])
    values = (
        norm_of_three(state.wrench_tool, 0),
        norm_of_three(state.wrench_tool, 3),
        norm_of_three(twist, 0),
        norm_of_three(twist, 3),
        power_w,
        joint_share,
    )
    trip = 0
    for index in range(_LIMITS):
        if exceeded(watch.history, index, values[index], config.limits[index]):
            trip = _CODES[index]
    if left_workspace(position, box_min, box_max, config.workspace_margin_m, watch):
        trip = _WORKSPACE
    if trip == 0 and still_ticks >= config.stuck_ticks:
        trip = _STUCK
    return trip


@kernel
def left_workspace(position: Floats, box_min: Floats, box_max: Floats, margin_m: float, watch: Record) -> bool:
    """Whether position (3,) lies more than the margin outside the box, after it was inside."""
    inside, beyond = True, False
    for i in range(3):
        if position[i] < box_min[i] or position[i] > box_max[i]:
            inside = False
        if position[i] < box_min[i] - margin_m or position[i] > box_max[i] + margin_m:
            beyond = True
    if inside:
        watch.was_inside = 1
    return beyond and watch.was_inside != 0
