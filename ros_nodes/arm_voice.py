"""What a controller node tells: measured state, tick reports, safety state, description, the motor process's health."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String, UInt8MultiArray

from controllers.description.arm import ArmDescription
from controllers.description.tool import ToolDescription
from controllers.description.urdf import to_urdf
from controllers.shared_memory.sides import MotorStatus
from controllers.shared_memory_link import SharedMemoryLink
from ros_nodes import qos, status_text
from ros_nodes.arm_messages import StateMessages
from ros_nodes.diagnostics import ERROR, OK, WARN, Saying
from ros_nodes.wire import pack
from safety.supervision import SupervisorState, reason_name

BASE_FRAME, TOOL_FRAME = "base", "tool"
_BATCH = 100
"""Most tick reports in one message."""


class ArmVoice:
    """The publishers of one arm."""

    def __init__(
        self,
        node: Node,
        arm: ArmDescription,
        tool: ToolDescription,
        motor: str,
        about: dict[str, Any],
        state_rate_hz: float,
    ) -> None:
        """about: what links are told of the arm besides its status. state_rate_hz: of the measured state."""
        self._about = about
        self._clock, self._motor, self.told_s = node.get_clock(), motor, 0.0
        self._messages = StateMessages(tuple(joint.name for joint in arm.joints), BASE_FRAME, TOOL_FRAME)
        make = node.create_publisher
        self._joints = make(JointState, "joint_states", qos.states(state_rate_hz))
        self._pose = make(PoseStamped, "current_pose", qos.states(state_rate_hz))
        self._wrench = make(WrenchStamped, "wrench", qos.states(state_rate_hz))
        self._safety = make(DiagnosticStatus, "safety_state", qos.latched())
        self._description = make(String, "robot_description", qos.latched())
        self._reports = make(UInt8MultiArray, "motor/reports", qos.streams())
        self._status = make(String, "motor/status", qos.latched())
        self.answers = make(UInt8MultiArray, "motor/answer", qos.streams())
        self._description.publish(String(data=to_urdf(arm, tool)))

    def publish_reports(self, link: SharedMemoryLink, sender: int) -> None:
        """Publishes the tick reports since the last call, where somebody reads them."""
        if self._reports.get_subscription_count() == 0:
            link.side.ring.skip()
            return
        reports = link.side.ring.drain()
        for first in range(0, len(reports), _BATCH):
            self._reports.publish(pack("report", reports[first : first + _BATCH], sender))

    def publish_state(self, report: Any) -> None:
        """Publishes a REPORT record () as standard messages."""
        self._messages.fill(report, self._clock.now().to_msg())
        self._joints.publish(self._messages.joints)
        self._pose.publish(self._messages.pose)
        self._wrench.publish(self._messages.wrench)

    def tell_status(self, link: SharedMemoryLink, mode: str) -> None:
        """Publishes how motor process and supervisor are, whole for links and in standard form for everybody."""
        self.told_s = time.monotonic()
        status = link.status()
        self._status.publish(String(data=status_text.to_text(status, motor=self._motor, mode=mode, **self._about)))
        self._safety.publish(safety_message(status, self._motor, mode))


def safety_message(status: MotorStatus, motor: str, mode: str) -> DiagnosticStatus:
    """Returns the supervisor's state: its name, the reason of a latch or hold, ERROR while latched."""
    reason = status.latch_reason or status.hold_reason
    values = {
        "mode": mode,
        "late": ",".join(status.late_heartbeats),
        "trips": status.trips,
        "recoveries_left": status.recoveries_left,
    }
    return DiagnosticStatus(
        level=ERROR if status.latch_reason else WARN if status.hold_reason else OK,
        name=status.supervisor.name,
        message=reason_name(reason) if reason else "",
        hardware_id=motor,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def motor_saying(status: MotorStatus) -> Saying:
    """Returns what diagnostics say of a motor process."""
    latched = status.supervisor >= SupervisorState.PROTECTIVE_STOP
    level = ERROR if latched else WARN if status.hold_reason or not status.realtime else OK
    words = f"{status.supervisor.name}" + ("" if status.realtime else ", not real time")
    figures = {
        "overruns": status.overruns,
        "lateness_p99_us": status.lateness_p99_us,
        "work_p99_us": status.work_p99_us,
        "measures": status.message,
    }
    return "motor", level, words, figures
