"""CRISP's target topics as commands: a pose, a joint configuration, a wrench, a stiffness, each on its own topic.

    target_pose       geometry_msgs/PoseStamped      target_wrench     geometry_msgs/WrenchStamped
    target_joint      sensor_msgs/JointState         target_stiffness  std_msgs/Float64MultiArray, 6 numbers

Unlike there a target counts for `target_duration_s` only, and a stiffness as long as its sender goes on: a client that
died leaves nothing behind that is active for ever.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.description.geometry import Pose
from controllers.shared_memory_link import SharedMemoryLink
from ros_nodes import arm_messages
from ros_nodes.command_gate import Verdict
from ros_nodes.wire import draw_sender
from ros_nodes.workspace import require_inside

if TYPE_CHECKING:
    from ros_nodes.controller_node import ControllerNode

Array = NDArray[np.float64]
BASE_FRAME = "base"


class Targets:
    """What came on the standard topics, and the command that it makes."""

    def __init__(self, node: ControllerNode) -> None:
        self._node = node
        self._model = ArmModel(node.arm, node.task.scene().tool)
        self._names = tuple(joint.name for joint in node.arm.joints)
        self.sender = draw_sender()
        self._pose: Pose | None = None
        self._stiffness: Array | None = None
        self._wrench = np.zeros(6)
        self._pose_s = self._wrench_s = self._stiffness_s = -math.inf

    def pose(self, message: Any, link: SharedMemoryLink) -> None:
        """A pose of the control point in the base frame."""
        self._pose = Pose(*arm_messages.pose_of(message, BASE_FRAME))
        self._pose_s = time.monotonic()
        self._send(link)

    def joints(self, message: Any, link: SharedMemoryLink) -> None:
        """A joint configuration: the arm drives its tool where that configuration has it; the elbow follows posture."""
        self._pose = self._model.forward(arm_messages.joints_of(message, self._names))
        self._pose_s = time.monotonic()
        self._send(link)

    def wrench(self, message: Any, link: SharedMemoryLink) -> None:
        """A wrench in base axes that the tool shall exert, on top of the spring."""
        self._wrench = arm_messages.wrench_of(message, BASE_FRAME)
        self._wrench_s = time.monotonic()
        self._send(link)

    def stiffness(self, message: Any, link: SharedMemoryLink) -> None:
        """Stiffness of the targets to come, and of the present one."""
        self._stiffness = arm_messages.stiffness_of(message)
        self._stiffness_s = time.monotonic()
        if time.monotonic() - self._pose_s < self._node.config.target_duration_s:
            self._send(link)

    def _send(self, link: SharedMemoryLink) -> None:
        config, now_ns, now_s = self._node.config, time.monotonic_ns(), time.monotonic()
        if self._node.gate.holder(now_ns) != self.sender and self._node.gate.counts[Verdict.PASSED]:
            self._forget_old(now_s, config.target_duration_s)
        pose = self._pose if now_s - self._pose_s < config.target_duration_s else None
        if pose is None:
            here = link.latest()
            pose = Pose(here.position_base_m, here.quaternion_base_xyzw)
            require_inside(pose, self._node.task)
        stiffness = self._stiffness if self._stiffness is not None else np.array([*config.k_pos, *config.k_rot])
        wrench = self._wrench if now_s - self._wrench_s < config.target_duration_s else np.zeros(6)
        command = arm_messages.command(
            pose.position_m,
            pose.quaternion_xyzw,
            stiffness,
            damping_ratio=config.damping_ratio,
            feedforward_wrench_base=wrench,
            duration_s=config.target_duration_s,
        )
        self._node.gate.offer_lasting(self.sender, command, now_ns)

    def _forget_old(self, now_s: float, duration_s: float) -> None:
        """Somebody begins anew: what a former client of these topics left behind counts no more."""
        if now_s - self._pose_s > duration_s:
            self._pose = None
        if now_s - self._stiffness_s > self._node.config.silence_s:
            self._stiffness = None
