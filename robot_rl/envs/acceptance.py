"""Whether the limits of a task let its actions and its reset through: asked once, before anything moves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from robot_rl.envs.reset import ResetConfig
from robot_rl.tasks.actions import GRIPPER_NAME, POSE_NAMES, ActionSpec
from robot_rl.tasks.base import Task
from safety.reference_limiter import ReferenceLimiterConfig


def require_acceptable_actions(task: Task) -> None:
    """Raises UserError if tool or limits do not carry out what an action may ask for.

    That is: a gripper that the tool lacks, a stiffness that the limits refuse, or an increment that the limited
    reference cannot make within one decision, so that what is executed would never be what was proposed.
    """
    spec, limiter, tool = task.action, task.chain_config().limiter, task.scene().tool
    if GRIPPER_NAME in spec.active and tool.gripper_range_m is None:
        raise UserError(
            f"expected a tool with a gripper since the task lets a policy move one, got {tool.name} without: set "
            f"gripper_range_m of the tool, or leave {GRIPPER_NAME!r} out of ActionSpec.active"
        )
    for extreme in (-1.0, 1.0):
        stiffness = spec.stiffness_of(np.full(spec.size, extreme))
        if not _accepted(stiffness, limiter):
            raise UserError(
                f"expected stiffness within {list(limiter.stiffness_min)} .. {list(limiter.stiffness_max)} for every "
                f"action, got {stiffness.tolist()} at {extreme:g}: widen the limits in the task's chain_config, or "
                "narrow ActionSpec.stiffness or stiffness_factor"
            )
    _require_reachable_increments(spec, limiter, 1.0 / task.rate_hz)


def require_acceptable_reset(task: Task, reset: ResetConfig) -> None:
    """Raises UserError if the limits refuse the stiffness of the reset, whose commands would then move nothing."""
    limiter = task.chain_config().limiter
    if not _accepted(np.array(reset.stiffness), limiter):
        raise UserError(
            f"expected the reset's stiffness within {list(limiter.stiffness_min)} .. {list(limiter.stiffness_max)}, "
            f"got {list(reset.stiffness)}: give make_env a reset_config=ResetConfig(stiffness=...) within them, or "
            "widen the limits in the task's chain_config"
        )


def _accepted(stiffness: NDArray[np.float64], limiter: ReferenceLimiterConfig) -> bool:
    return bool((stiffness >= limiter.stiffness_min).all() and (stiffness <= limiter.stiffness_max).all())


def _require_reachable_increments(spec: ActionSpec, limiter: ReferenceLimiterConfig, decision_s: float) -> None:
    active = np.isin(POSE_NAMES, spec.active)
    distance_m = math.hypot(*np.array(spec.translation_m)[active[:3]])
    angle_rad = spec.rotation_rad * math.sqrt(active[3:].sum())
    needed = (
        (
            f"{distance_m:.3g} m",
            shortest_time_s(distance_m, limiter.max_speed_m_s, limiter.max_acceleration_m_s2),
            "max_speed_m_s or max_acceleration_m_s2",
            "translation_m",
        ),
        (
            f"{angle_rad:.3g} rad",
            shortest_time_s(angle_rad, limiter.max_angular_speed_rad_s, limiter.max_angular_acceleration_rad_s2),
            "max_angular_speed_rad_s or max_angular_acceleration_rad_s2",
            "rotation_rad",
        ),
    )
    for increment, needed_s, limits, scale in needed:
        if needed_s > decision_s:
            raise UserError(
                f"expected limits under which the reference makes an action's largest increment, {increment}, within "
                f"one decision of {decision_s:g} s, got {needed_s:.3g} s: raise {limits} in the task's chain_config, "
                f"or lower ActionSpec.{scale}"
            )


def shortest_time_s(distance: float, max_speed: float, max_acceleration: float) -> float:
    """Shortest time from rest to rest over a distance d [m or rad]: 2 sqrt(d / a), or d / v + v / a if v is reached."""
    if math.sqrt(distance * max_acceleration) <= max_speed:
        return 2.0 * math.sqrt(distance / max_acceleration)
    return distance / max_speed + max_speed / max_acceleration
