"""From tick reports to what a decision knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.tasks.base import Sensed

WRENCH_WINDOW_S = 0.05
PEAK_WINDOW_TICKS = 3


def sense_reports(reports: NDArray[Any], rate_hz: float) -> Sensed:
    """Condenses the REPORT records (n,) of one decision. Raises RuntimeError if the newest holds a number that is not finite."""
    last = reports[-1]
    window = max(1, round(WRENCH_WINDOW_S * rate_hz))
    forces = reports["wrench_tool"][:, :3]
    if len(forces) >= PEAK_WINDOW_TICKS:  # single samples are noise; a real peak lasts a few milliseconds
        sums = np.cumsum(np.vstack([np.zeros(3), forces]), axis=0)
        forces = (sums[PEAK_WINDOW_TICKS:] - sums[:-PEAK_WINDOW_TICKS]) / PEAK_WINDOW_TICKS
    pose = Pose(last["position_base_m"], last["quaternion_base_xyzw"])
    sensed = Sensed(
        stamp_ns=int(last["stamp_ns"]),
        T_base_tool=pose,
        rotation_base_tool=pose.rotation,
        twist_base=last["twist_base"].copy(),
        wrench_tool=reports["wrench_tool"][-window:].mean(axis=0),
        peak_force_n=float(np.sqrt(np.square(forces).sum(axis=1).max())),
        T_base_reference=Pose(last["executed_position_base_m"], last["executed_quaternion_base_xyzw"]),
        q_rad=last["q_rad"].copy(),
        gripper_m=float(last["gripper_m"]),
        reasons=frozenset(np.unique(reports["reason"]).tolist()),
    )
    if not np.isfinite([*sensed.twist_base, *sensed.wrench_tool, *sensed.q_rad, *pose.position_m]).all():
        raise RuntimeError("the robot reported a number that is not finite: the motor chain holds; check the robot, then reset")
    return sensed
