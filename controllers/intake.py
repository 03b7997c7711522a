"""The tick's first layer: which commands are accepted at all, and how an accepted one ages."""

from __future__ import annotations

import math

from controllers.types import JOINTS
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reasons import Refusal

_ACCEPTED = int(Refusal.ACCEPTED)
_NOT_FINITE = int(Refusal.NOT_FINITE)
_NOT_UNIT = int(Refusal.NOT_UNIT)
_STIFFNESS = int(Refusal.STIFFNESS_RANGE)
_DAMPING = int(Refusal.DAMPING_RANGE)
_WRENCH = int(Refusal.WRENCH_RANGE)
_SEQUENCE = int(Refusal.SEQUENCE)
_OLD = int(Refusal.OLD)
_FUTURE = int(Refusal.FROM_FUTURE)
_FAR = int(Refusal.TOO_FAR)
_DURATION = int(Refusal.DURATION)

UNIT_TOLERANCE = 1e-3
"""A quaternion whose norm is farther than this from 1 is refused, not repaired: it was not meant as a rotation."""
CLOCK_TOLERANCE_NS = 2_000_000
"""A stamp may lie this far ahead of the motor's clock: the two are read at different moments of a tick."""
MAX_DURATION_S = 10.0
MAX_SEQUENCE_STEP = 1_000_000_000
"""A number this far ahead of the last is damaged: followed, it would shut out every good command after it."""
NEAR_PI_RAD = math.pi - 0.1
"""Orientation errors beyond this have no well-defined shortest path and are refused."""


@kernel
def command_is_finite(command: Record) -> bool:
    """Whether all numbers of a COMMAND record are finite; gripper_m alone may be NaN ("leave it")."""
    total = command.damping_ratio + command.duration_s
    for i in range(3):
        total += command.position_base_m[i]
    for i in range(4):
        total += command.quaternion_base_xyzw[i]
    for i in range(6):
        total += command.stiffness[i] + command.feedforward_wrench_base[i]
    return math.isfinite(total) and not math.isinf(command.gripper_m)  # NaN and infinity survive every sum


@kernel
def range_verdict(command: Record, limiter: Record) -> int:
    """Returns the Refusal code of the numbers of a finite COMMAND record by themselves."""
    norm = 0.0
    for i in range(4):
        norm += command.quaternion_base_xyzw[i] ** 2
    if abs(math.sqrt(norm) - 1.0) > UNIT_TOLERANCE:
        return _NOT_UNIT
    for i in range(6):
        if command.stiffness[i] < limiter.stiffness_min[i] or command.stiffness[i] > limiter.stiffness_max[i]:
            return _STIFFNESS
        if abs(command.feedforward_wrench_base[i]) > limiter.max_wrench[i]:
            return _WRENCH
    if command.damping_ratio < limiter.damping_ratio_min or command.damping_ratio > limiter.damping_ratio_max:
        return _DAMPING
    if command.duration_s <= 0.0 or command.duration_s > MAX_DURATION_S:
        return _DURATION
    return _ACCEPTED


@kernel
def examine(
    command: Record, last_sequence: int, now_ns: int, position: Floats, quaternion: so3.Quaternion, limiter: Record
) -> int:
    """Returns the Refusal code of a COMMAND record; position (3,) and quaternion are the measured pose."""
    ahead = command.sequence - last_sequence
    if ahead <= 0 or (last_sequence >= 0 and ahead > MAX_SEQUENCE_STEP):
        return _SEQUENCE
    if not command_is_finite(command):
        return _NOT_FINITE
    verdict = range_verdict(command, limiter)
    if verdict != _ACCEPTED:
        return verdict
    age_ns = now_ns - command.stamp_ns
    if age_ns > limiter.age_limit_s * 1e9:
        return _OLD
    if age_ns < -CLOCK_TOLERANCE_NS:
        return _FUTURE
    p, q = command.position_base_m, command.quaternion_base_xyzw
    dx, dy, dz = p[0] - position[0], p[1] - position[1], p[2] - position[2]
    if math.sqrt(dx * dx + dy * dy + dz * dz) > limiter.max_jump_m:
        return _FAR
    turn = so3.error(so3.normalise((q[0], q[1], q[2], q[3])), quaternion)
    if math.sqrt(turn[0] ** 2 + turn[1] ** 2 + turn[2] ** 2) > NEAR_PI_RAD:
        return _FAR
    return _ACCEPTED


@kernel
def reading_is_finite(state: Record, terms: Floats) -> bool:
    """Whether positions, velocities and wrench of a STATE record, and the pose that follows, are all finite."""
    total = 0.0
    for i in range(JOINTS):
        total += state.q_rad[i] + state.qd_rad_s[i]
    for i in range(6):
        total += state.wrench_tool[i]
    for i in range(3):
        total += terms[0][i]
        for j in range(3):
            total += terms[1][i, j]
    return math.isfinite(total)
