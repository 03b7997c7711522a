"""Between standard messages and the motor tick's records: CRISP's topics in, measured state out.

ROS time stands in headers only. What bounds motion is counted from the arrival here, on the monotonic clock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from controllers.types import JOINTS, Command, Source
from ros_nodes.wire import MalformedMessage

Array = NDArray[np.float64]


def numbers(values: Any, size: int, what: str) -> Array:
    """Returns `values` as (size,). Raises MalformedMessage where the size differs or a number is not finite."""
    array = np.asarray(values, np.float64)
    if array.shape != (size,):
        raise MalformedMessage(f"expected {size} numbers of {what}, got {array.size}")
    if not np.isfinite(array).all():
        raise MalformedMessage(f"expected finite numbers of {what}, got {array.tolist()}")
    return array


def require_frame(message: Any, frame: str) -> None:
    """Raises MalformedMessage for a message in another frame; an empty one counts as this."""
    given = message.header.frame_id
    if given not in ("", frame):
        raise MalformedMessage(f"expected a target in frame {frame!r}, got {given!r}: transform it first")


def pose_of(message: PoseStamped, frame: str) -> tuple[Array, Array]:
    """Returns position (3,) [m] and quaternion (4,) xyzw of a target. Raises MalformedMessage."""
    require_frame(message, frame)
    p, o = message.pose.position, message.pose.orientation
    quaternion = numbers((o.x, o.y, o.z, o.w), 4, "a quaternion")
    length = float(np.linalg.norm(quaternion))
    if not math.isclose(length, 1.0, abs_tol=1e-3):
        raise MalformedMessage(f"expected a unit quaternion (x, y, z, w), got one of length {length:.3g}")
    return numbers((p.x, p.y, p.z), 3, "a position"), quaternion / length


def wrench_of(message: WrenchStamped, frame: str) -> Array:
    """Returns the wrench (6,) [N, Nm] that the tool shall exert. Raises MalformedMessage."""
    require_frame(message, frame)
    f, t = message.wrench.force, message.wrench.torque
    return numbers((f.x, f.y, f.z, t.x, t.y, t.z), 6, "a wrench")


def stiffness_of(message: Float64MultiArray) -> Array:
    """Returns the stiffness (6,) [N/m x3, Nm/rad x3]. Raises MalformedMessage."""
    return numbers(message.data, 6, "stiffness")


def joints_of(message: JointState, names: tuple[str, ...]) -> Array:
    """Returns joint positions (7,) [rad] in the arm's order. Raises MalformedMessage for other or missing joints."""
    if message.name and sorted(message.name) != sorted(names):
        raise MalformedMessage(f"expected joints {list(names)}, got {list(message.name)}")
    values = numbers(message.position, JOINTS, "joint positions")
    return values[[list(message.name).index(name) for name in names]] if message.name else values


def command(position: Array, quaternion: Array, stiffness: Array, **more: Any) -> Command:
    """Returns a command of somebody who speaks standard messages."""
    return Command(position, quaternion, stiffness, **{"source": Source.HUMAN, **more})


class StateMessages:
    """The measured state as messages, from a REPORT record; the messages are made once and filled again."""

    def __init__(self, joint_names: tuple[str, ...], base_frame: str, tool_frame: str) -> None:
        self.joints, self.pose, self.wrench = JointState(), PoseStamped(), WrenchStamped()
        self.joints.name = list(joint_names)
        self.pose.header.frame_id, self.wrench.header.frame_id = base_frame, tool_frame

    def fill(self, report: Any, stamp: Any) -> None:
        """Fills all three. report: a REPORT record (); stamp: ROS time of the publication."""
        for message in (self.joints, self.pose, self.wrench):
            message.header.stamp = stamp
        self.joints.position = report["q_rad"].tolist()
        self.joints.velocity = report["qd_rad_s"].tolist()
        self.joints.effort = report["tau_executed_nm"].tolist()
        p, o = self.pose.pose.position, self.pose.pose.orientation
        p.x, p.y, p.z = report["position_base_m"].tolist()
        o.x, o.y, o.z, o.w = report["quaternion_base_xyzw"].tolist()
        f, t = self.wrench.wrench.force, self.wrench.wrench.torque
        f.x, f.y, f.z, t.x, t.y, t.z = report["wrench_tool"].tolist()
