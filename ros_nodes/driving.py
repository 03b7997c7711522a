"""A person drives the arm of a controller node: the hand's increments from the measured pose, at the task's rate.

No environment stands behind it: no reset moves the arm by itself, nothing is judged. The dead-man, its heartbeat and
the stop at its release are those of robot_rl.teleop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from controllers.types import Command
from robot_rl.envs.action_map import ActionMap
from robot_rl.envs.sensing import measured_pose, sense_reports
from robot_rl.tasks.base import Task
from robot_rl.teleop.devices.base import Device
from robot_rl.teleop.mapping import Mapping
from robot_rl.teleop.operator import TeleopOperator
from robot_rl.teleop.session import AttendedLink, Session
from ros_nodes.topic_link import TopicLink
from ros_nodes.workspace import require_inside

_TICK_HZ = 1000.0


@dataclass
class _Bench:
    """What an operator needs to know of an environment."""

    task: Task
    link: Any


class Driver:
    """One person, one arm; `drive` runs until the link is cancelled."""

    def __init__(self, task: Task, link: TopicLink, device: Device, mapping: Mapping) -> None:
        self._task, self._session = task, Session(device, mapping)
        self.link = AttendedLink(link, self._session)
        self._operator = TeleopOperator(_Bench(task, self.link), self._session)  # type: ignore[arg-type]

    def drive(self) -> None:
        """Raises LinkCancelled when told to stop, DeviceLost when the device is gone, UserError where the arm stops."""
        task, spec = self._task, self._task.action
        gripper_range_m = task.scene().tool.gripper_range_m
        self._operator.reset()
        reports = self.link.step(0.05)
        here = measured_pose(reports[-1])
        require_inside(here, task)
        turns = ActionMap(spec, here, gripper_range_m)
        while True:
            self._session.look()
            action = self._operator.steer().astype(np.float64)
            target, whole = turns.target(sense_reports(reports, _TICK_HZ), action)
            command = Command(
                target.position_m,
                target.quaternion_xyzw,
                spec.stiffness_of(whole),
                damping_ratio=spec.damping_ratio,
                gripper_m=turns.gripper_m(whole) if self._session.state.held else np.nan,
                duration_s=1.0 / task.rate_hz,
                source=self._operator.source,
            )
            self.link.send(command)
            reports = self.link.step(1.0 / task.rate_hz)
