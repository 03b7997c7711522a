"""What is said about a taught task: every number with its unit."""

from __future__ import annotations

import numpy as np

from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_parts import SuccessRule
from robot_rl.tasks.taught_tool import Vector


def millimetres(values: Vector | np.ndarray) -> str:
    """Returns a vector [m] in words."""
    return " ".join(f"{round(1e3 * float(value)):+d}" for value in values) + " mm"


def success_in_words(rule: SuccessRule) -> str:
    """Returns when an episode has succeeded."""
    if rule.operator:
        return "a person's key says so (s while robot-rl finetune runs)"
    parts = []
    if rule.distance_m is not None:
        parts.append(f"within {1e3 * rule.distance_m:.1f} mm of the goal")
    if rule.angle_rad is not None:
        parts.append(f"turned by at most {rule.angle_rad:.2f} rad")
    if rule.force_n is not None:
        parts.append(f"pressing with {rule.force_n[0]:g} to {rule.force_n[1]:g} N")
    return f"{', '.join(parts)}, at the end of {rule.decisions} decision(s) in a row"


def summary(config: TaughtConfig) -> list[str]:
    """Returns the lines that tell all of a task."""
    limits, action, starts = config.limits, config.action, config.starts
    return [
        f"task        {config.name}: {config.text}",
        f"tool        {config.tool.kind}",
        f"goal        {millimetres(config.goal.position_m)} in the base frame",
        f"starts      {millimetres(starts.position_min_m)} .. {millimetres(starts.position_max_m)} in the goal's axes",
        f"workspace   {millimetres(config.workspace.low_base_m)} .. {millimetres(config.workspace.high_base_m)}",
        f"tilt        at most {config.tilt_rad:.2f} rad from the goal's axis",
        f"reset       over {len(config.waypoints)} way-point(s), then to the start",
        f"success     {success_in_words(config.success)}",
        f"episode     at most {config.max_steps} decisions of 0.1 s",
        f"increments  {millimetres(action.translation_m)}, {action.rotation_rad:g} rad; held pushes up to "
        f"{action.push_n():.1f} N",
        f"stiffness   {action.stiffness[0]:g} N/m, {action.stiffness[3]:g} Nm/rad; with the leash of "
        f"{1e3 * limits.leash_m:.0f} mm at most {action.stiffness[0] * limits.leash_m:.0f} N an axis",
        f"speed       at most {limits.max_speed_m_s:g} m/s of the reference",
        f"too hard    above {limits.max_force_n:g} N or {limits.max_moment_nm:g} Nm; the arm stops, latched, above "
        f"{limits.stop_force_n:g} N or {limits.stop_moment_nm:g} Nm",
    ]
