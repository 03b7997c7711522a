"""The arm behind topics. It owns the motor process and passes on: commands in, measured state and reports out.

No limit stands here: whatever comes in goes through the checks of the tick, as from anywhere else. This node decides
who may command (one sender, one publisher a topic), and what a standard message means.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from geometry_msgs.msg import PoseStamped, WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray

from controllers.description.fr3 import fr3
from controllers.motor_child import MotorProcessDied
from controllers.realtime import keep_threads_off_core
from controllers.shared_memory_link import SharedMemoryLink
from data.errors import UserError
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.arm_voice import ArmVoice, motor_saying
from ros_nodes.beats import Beats
from ros_nodes.command_gate import CommandGate, Verdict
from ros_nodes.config import ControllerConfig
from ros_nodes.diagnostics import ERROR, OK, WARN, Saying
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.modes import Modes
from ros_nodes.motors import about_arm, link_config, load_critic
from ros_nodes.names import motor_name
from ros_nodes.request_desk import RequestDesk
from ros_nodes.request_relay import RequestRelay
from ros_nodes.spinning import run_node
from ros_nodes.targets import Targets
from ros_nodes.wire import MalformedMessage, draw_sender, unpack
from safety.supervision import Heartbeat

TARGET_TOPICS = ("target_pose", "target_joint", "target_wrench", "target_stiffness")
_STATUS_S, _TOPICS_S = 0.1, 0.1


class ControllerNode(ManagedNode[ControllerConfig]):
    """Topics of one arm, under the node's namespace. See docs/ros.md for each."""

    config_class = ControllerConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("controller", **options)
        self.link: SharedMemoryLink | None = None
        self._turns: list[Any] = []
        self.crowded: frozenset[str] = frozenset()
        """Target topics with more than one publisher: nobody knows whose arm it is, and nothing of them counts."""
        self._last_words = ""
        self.beats = Beats()

    # Lifecycle

    def setup(self) -> None:
        """Checks everything, makes all topics; nothing moves."""
        config = self.config
        if config.target_duration_s > config.silence_s:
            raise UserError(
                f"target_duration_s ({config.target_duration_s:g}) must not exceed silence_s ({config.silence_s:g}): "
                "the last target of a client that is gone would still be renewed"
            )
        self.task = make_task(config.task, config.variant, config.task_config)
        name = motor_name(config.motor, self.get_namespace())
        self.link_config = link_config(config, self.task, name)
        self.motor = self.link_config.motor
        self.arm = fr3()
        self.sender = draw_sender()
        about = about_arm(config, self.task)
        tool = self.task.scene().tool
        self.voice = ArmVoice(self, self.arm, tool, self.motor.name, about, config.state_rate_hz)
        self._make_subscriptions()

    def _make_subscriptions(self) -> None:
        self.targets, self.desk = Targets(self), RequestDesk(self)
        self._commands = self.diagnostics.watch("commands")
        make = self.create_subscription
        make(UInt8MultiArray, "motor/command", self._commands.wrap(self._take_command), qos.commands())
        make(UInt8MultiArray, "motor/request", self.desk.take, qos.streams())
        make(UInt8MultiArray, "motor/critic", self._take_critic, qos.streams())
        make(UInt8MultiArray, "motor/beat", self._take_beat, qos.states())
        make(PoseStamped, "target_pose", self._target(self.targets.pose, "target_pose"), qos.targets())
        make(JointState, "target_joint", self._target(self.targets.joints, "target_joint"), qos.targets())
        make(WrenchStamped, "target_wrench", self._target(self.targets.wrench, "target_wrench"), qos.targets())
        make(
            Float64MultiArray, "target_stiffness", self._target(self.targets.stiffness, "target_stiffness"),
            qos.targets(),
        )  # fmt: skip
        self.diagnostics.say(self._say_motor)
        self.diagnostics.say(self._say_commands)

    def start(self) -> None:
        """Starts the motor process: from now on the arm is under torque control, and holds."""
        link = SharedMemoryLink(self.link_config)
        if self.config.realtime:
            keep_threads_off_core(self.motor.realtime.core)
        try:
            load_critic(self.config, link)
        except BaseException:
            link.close()
            raise
        self.link = link
        self.gate = CommandGate(link.side.commands.publish, self.config.silence_s)
        self.relay = RequestRelay(link.side)
        self.modes = Modes(self, link, self.gate)
        config = self.config
        self._every_state = max(1, round(config.report_rate_hz / config.state_rate_hz))
        self._turn, self._looked_s = 0, 0.0
        rate_hz = max(config.report_rate_hz, config.state_rate_hz)
        self._turns = [self.create_timer(1.0 / rate_hz, self._turn_once)]
        self.get_logger().info(f"motor process {self.motor.name!r} runs: {link.status().message}")

    def halt(self) -> None:
        """Ends the motor process in order: hold, ramp to zero torque."""
        for timer in self._turns:
            self.destroy_timer(timer)
        self._turns = []
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def teardown(self) -> None:
        """Nothing is left: topics go with the node."""
        self.halt()

    # Commands in

    def _target(self, take: Any, topic: str) -> Any:
        """Wraps the reader of a standard target: refused while nobody moves the arm, crowded, or malformed."""

        def taken(message: Any) -> None:
            if self.link is None:
                return
            if topic in self.crowded:
                self.gate.counts[Verdict.TWO_PUBLISHERS] += 1
                return
            try:
                take(message, self.link)
            except UserError as error:  # malformed, or where it would move the arm in from outside
                self.refuse(str(error))

        return self._commands.wrap(taken)

    def _take_command(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            parcel = unpack("command", message)
        except MalformedMessage as error:
            self.refuse(str(error))
            return
        self.gate.offer(parcel.sender, parcel.records[-1], time.monotonic_ns(), parcel.same_clock)

    def _take_critic(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            parcel = unpack("critic", message)
            if not self.config.accept_critic or self.gate.holder(time.monotonic_ns()) not in (None, parcel.sender):
                raise MalformedMessage("weights of a safety critic over topics: they take accept_critic:=true")
            self.link.side.critic.publish(parcel.records[-1])
        except MalformedMessage as error:
            self.refuse(str(error))

    def _take_beat(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            parcel = unpack("beat", message)
            if not parcel.same_clock:
                raise MalformedMessage("a sign of life stamped by the clock of another machine says nothing here")
            beat, now_ns = parcel.records[-1], time.monotonic_ns()
            source = Heartbeat(int(beat["source"]))
            given_ns = self.beats.take(source, bytes(beat["name"]), parcel.sender, int(beat["stamp_ns"]), now_ns)
            self.link.side.heartbeat(source, given_ns)
        except (MalformedMessage, ValueError) as error:
            self.refuse(str(error))

    def refuse(self, why: str) -> None:
        """Counts a message that is of no use, and says so, once for each reason."""
        self.gate.counts[Verdict.MALFORMED] += 1
        if why != self._last_words:
            self._last_words = why
            self.get_logger().warning(f"refused: {why}")

    # Every turn

    def _turn_once(self) -> None:
        link = self.link
        if link is None:
            return
        try:
            link.latest()  # raises if the motor process died
        except MotorProcessDied as error:
            self.failure = " ".join(str(error).split())
            return
        newest = link.side.ring.newest()
        now_s = time.monotonic()
        self.relay.look()
        self.gate.renew(time.monotonic_ns())
        self.modes.look(newest[0] if newest is not None else None)
        self.voice.publish_reports(link, self.sender)
        self._turn += 1
        if newest is not None and self._turn % self._every_state == 0:
            self.voice.publish_state(newest[0])
        if now_s - self._looked_s > _TOPICS_S:
            self._looked_s = now_s
            full = {topic: str(self.resolve_topic_name(topic)) for topic in TARGET_TOPICS}
            self.crowded = frozenset(topic for topic, name in full.items() if self.count_publishers(name) > 1)
        if now_s - self.voice.told_s > _STATUS_S:
            self.voice.tell_status(link, self.modes.name)

    # Diagnostics

    def _say_motor(self) -> Saying:
        return ("motor", OK, "not active", {}) if self.link is None else motor_saying(self.link.status())

    def _say_commands(self) -> Saying:
        if self.link is None:
            return "command gate", OK, "not active", {}
        counts = {verdict.value: self.gate.counts[verdict] for verdict in Verdict}
        if self.crowded:
            topics = ", ".join(sorted(self.crowded))
            return "command gate", ERROR, f"more than one publisher on {topics}: nothing of it counts", counts
        return "command gate", WARN if counts[Verdict.MALFORMED.value] else OK, "", counts


def main() -> int:
    """`python -m ros_nodes.controller_node --ros-args -p robot:=mujoco`."""
    return run_node(ControllerNode)


if __name__ == "__main__":
    sys.exit(main())
