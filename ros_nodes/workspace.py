"""Whether the arm stands in its task's workspace: outside of it any command, also one to stay, moves it."""

from __future__ import annotations

import numpy as np

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.tasks.base import Task

OUTSIDE_M = 0.005
"""Farther outside the workspace than this nobody begins to lead the arm [m]."""


def require_inside(T_base_tool: Pose, task: Task) -> None:
    """Raises UserError where the arm stands outside the task's workspace box.

    Any command, also one that asks it to stay, would move it in: a target is clipped to the box.
    """
    limiter = task.chain_config().limiter
    low, high = np.array(limiter.box_min_base_m), np.array(limiter.box_max_base_m)
    outside_m = float(np.maximum(np.maximum(low - T_base_tool.position_m, T_base_tool.position_m - high), 0.0).max())
    if outside_m > OUTSIDE_M:
        raise UserError(
            f"the arm stands {1000.0 * outside_m:.0f} mm outside the workspace of task {task.name}, and would be drawn "
            "in: look whether the way is free, then call the service controller/home"
        )
