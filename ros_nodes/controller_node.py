"""The arm behind topics. It owns the motor process and passes on: commands in, measured state and reports out.

No limit stands here: whatever comes in goes through the checks of the tick, as from anywhere else. This node decides
who may command (one sender, one publisher a topic), and what a standard message means.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.description.fr3 import fr3
from controllers.motor_child import MotorProcessDied
from controllers.realtime import keep_threads_off_core
from controllers.shared_memory.layout import Request
from controllers.shared_memory_link import SharedMemoryLink
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
from ros_nodes.request_relay import RequestRelay, refusal, words
from ros_nodes.spinning import run_node
from ros_nodes.targets import Targets
from ros_nodes.wire import MalformedMessage, draw_sender, pack, unpack
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
        self.task = make_task(config.task, config.variant, config.task_config)
        name = motor_name(config.motor, self.get_namespace())
        self.link_config = link_config(config, self.task, name)
        self.motor = self.link_config.motor
        self.arm = fr3()
        self._sender = draw_sender()
        about = about_arm(config, self.task)
        self.voice = ArmVoice(self, self.arm, self.task.scene().tool, self.motor.name, about)
        self._make_subscriptions()

    def _make_subscriptions(self) -> None:
        self.targets = Targets(self)
        self._commands = self.diagnostics.watch("commands")
        make = self.create_subscription
        make(UInt8MultiArray, "motor/command", self._commands.wrap(self._take_command), qos.targets())
        make(UInt8MultiArray, "motor/request", self._take_request, qos.streams())
        make(UInt8MultiArray, "motor/critic", self._take_critic, qos.streams())
        make(UInt8MultiArray, "motor/beat", self._take_beat, qos.states())
        make(PoseStamped, "target_pose", self._target(self.targets.pose, "target_pose"), qos.targets())
        make(JointState, "target_joint", self._target(self.targets.joints, "target_joint"), qos.targets())
        make(WrenchStamped, "target_wrench", self._target(self.targets.wrench, "target_wrench"), qos.targets())
        make(
            Float64MultiArray, "target_stiffness", self._target(self.targets.stiffness, "target_stiffness"),
            qos.targets(),
        )  # fmt: skip
        for name, kind in (("start_over", Request.RESEED), ("tare", Request.TARE)):
            self.create_service(Trigger, f"~/{name}", self._server(kind))
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

    def _server(self, kind: Request) -> Any:
        """Serves a request of somebody who has no link: a program of standard messages, a person at a terminal."""

        async def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if self.link is None:
                response.success, response.message = False, "the controller is not active"
                return response
            latched = self.link.status().latch_reason != 0  # then nobody's commands count anyhow
            if self.gate.holder(time.monotonic_ns()) is not None and not latched:
                response.success, response.message = False, "somebody commands the arm: end that first"
                return response
            answered: Future[Any] = Future()
            self.relay.ask_for(kind, answered.set_result)
            answer: Any = await answered
            if kind == Request.RESEED and not answer["refused"]:
                self.gate.drop()  # whoever commanded before does so no longer
            response.success, response.message = not answer["refused"], words(answer)
            return response

        return serve

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
            except MalformedMessage as error:
                self._refuse(str(error))

        return self._commands.wrap(taken)

    def _take_command(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            parcel = unpack("command", message)
        except MalformedMessage as error:
            self._refuse(str(error))
            return
        self.gate.offer(parcel.sender, parcel.records[-1], time.monotonic_ns(), parcel.same_clock)

    def _take_request(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            parcel = unpack("request", message)
        except MalformedMessage as error:
            self._refuse(str(error))
            return

        def answer(record: Any) -> None:
            if self.link is not None:
                self.voice.tell_status(self.link, self.modes.name)  # first what changed, then that it is done
            self.voice.answers.publish(pack("answer", record, parcel.sender))

        record = parcel.records[-1]
        holder = self.gate.holder(time.monotonic_ns())
        if holder not in (None, parcel.sender) and record["kind"] != Request.ESTOP:
            answer(refusal(record, "another sender commands the arm: end that first"))
        else:
            self.relay.ask(record, answer)

    def _take_critic(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            self.link.side.critic.publish(unpack("critic", message).records[-1])
        except MalformedMessage as error:
            self._refuse(str(error))

    def _take_beat(self, message: UInt8MultiArray) -> None:
        if self.link is None:
            return
        try:
            beat = unpack("beat", message).records[-1]
            source = Heartbeat(int(beat["source"]))
            self.link.side.heartbeat(source, self.beats.newest(source, bytes(beat["name"]), int(beat["stamp_ns"])))
        except (MalformedMessage, ValueError) as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
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
        self.voice.publish_reports(link, self._sender)
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
