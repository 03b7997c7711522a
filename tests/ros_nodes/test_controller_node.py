"""The controller node as its own process: links over topics, standard targets, modes, who may command, bad messages."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String, UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.motor_child import MotorProcessDied
from controllers.person import look
from controllers.types import Command
from data.errors import UserError
from robot_rl.bench.critics import made_up_weights
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.topic_link import TopicLink
from ros_nodes.topic_side import TopicSide
from ros_nodes.wire import pack
from safety.reasons import Reason
from safety.risk_critic import RiskCriticConfig
from safety.supervision import Heartbeat, ResetRefused, SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, called, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
CONTROLLER = "ros_nodes.controller_node"
SOFT = {"realtime": False}


@pytest.fixture
def controller(start_node: StartNode) -> NodeProcess:
    node = start_node(CONTROLLER, SOFT)
    node.wait_for("runs:")
    return node


@pytest.fixture
def link(controller: NodeProcess, namespace: str) -> Iterator[TopicLink]:
    link = TopicLink(namespace)
    yield link
    link.close()


def held_pose(link: TopicLink) -> Command:
    here = link.latest()
    return Command(here.position_base_m, here.quaternion_base_xyzw, np.array([400.0] * 3 + [30.0] * 3))


class Heard:
    """The messages of one topic."""

    def __init__(self, node: Node, kind: Any, topic: str, profile: Any = None) -> None:
        self.messages: list[Any] = []
        node.create_subscription(kind, topic, self.messages.append, profile or qos.states())

    @property
    def last(self) -> Any:
        return self.messages[-1]


def pose_message(position: Any, quaternion: Any, frame: str = "base") -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    p, o = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = map(float, position)
    o.x, o.y, o.z, o.w = map(float, quaternion)
    return message


def test_a_link_over_topics_moves_the_arm_and_misses_no_tick(link: TopicLink) -> None:
    start = link.latest()
    ticks: list[int] = []
    for step in range(1, 11):
        target = start.position_base_m - [0.0, 0.0, 0.003 * step]
        link.send(Command(target, start.quaternion_base_xyzw, np.array([600.0] * 3 + [30.0] * 3)))
        reports = link.step(0.1, interruptible=True)
        ticks += reports["tick"].tolist()
    moved = start.position_base_m[2] - link.latest().position_base_m[2]
    assert moved > 0.01
    assert np.diff(ticks).tolist() == [1] * (len(ticks) - 1) and link.lost_reports == 0
    assert link.status().supervisor == SupervisorState.RUN


def test_requests_are_answered_as_over_shared_memory(link: TopicLink) -> None:
    link.tare()
    link.teleport(link.latest().q_rad + 0.01)
    link.reset()
    link.grant()
    with pytest.raises(ValueError, match="nothing of that name|nowhere|known"):
        from controllers.description.geometry import Pose

        link.place("nowhere", Pose())
    link.estop()
    link.step(0.2)
    with pytest.raises(ResetRefused, match="robot-rl safety reset"):
        link.reset()


def test_a_killed_commander_freezes_then_holds_the_arm(controller: NodeProcess, namespace: str, here: Node) -> None:
    program = (
        "import sys,time\nimport numpy as np\nfrom ros_nodes.topic_link import TopicLink\n"
        "from controllers.types import Command\nlink=TopicLink(sys.argv[1])\nhere=link.latest()\n"
        "while True:\n"
        "    link.send(Command(here.position_base_m, here.quaternion_base_xyzw, np.array([400.]*3+[30.]*3)))\n"
        "    link.step(0.1)\n    print('step', flush=True)\n"
    )
    import subprocess
    import sys

    policy = subprocess.Popen([sys.executable, "-c", program, namespace], stdout=subprocess.PIPE, text=True)
    assert policy.stdout is not None
    for _ in range(5):
        assert policy.stdout.readline() == "step\n"
    assert look(namespace).state == SupervisorState.RUN
    policy.kill()
    policy.wait()
    policy.stdout.close()
    wait_until(lambda: look(namespace).state == SupervisorState.HOLD, "hold", 3.0)


def test_measured_state_comes_in_standard_messages(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    joints, pose = Heard(here, JointState, "joint_states"), Heard(here, PoseStamped, "current_pose")
    description = Heard(here, String, "robot_description", qos.latched())
    safety = Heard(here, DiagnosticStatus, "safety_state", qos.latched())
    health = Heard(here, DiagnosticArray, "/diagnostics")
    wait_until(lambda: len(joints.messages) > 50 and pose.messages and safety.messages, "states")
    report = link.latest()
    assert joints.last.name == [f"fr3_joint{number}" for number in range(1, 8)]
    assert np.allclose(joints.last.position, report.q_rad, atol=1e-2)
    p = pose.last.pose.position
    assert np.allclose([p.x, p.y, p.z], report.position_base_m, atol=1e-2) and pose.last.header.frame_id == "base"
    assert description.last.data.startswith("<robot") or "<robot" in description.last.data[:200]
    assert safety.last.name in ("ARMED", "RUN")
    wait_until(lambda: health.messages, "diagnostics")
    assert any(status.name.endswith("controller: motor") for status in health.last.status)


def test_whoever_asks_for_a_deadline_is_told_of_silence(controller: NodeProcess, here: Node) -> None:
    wished, missed = qos.states(), list[Any]()
    wished.deadline = Duration(nanoseconds=500_000_000)
    heard: list[JointState] = []
    told = SubscriptionEventCallbacks(deadline=missed.append)
    here.create_subscription(JointState, "joint_states", heard.append, wished, event_callbacks=told)
    wait_until(lambda: len(heard) > 20, "states")
    controller.process.send_signal(signal.SIGSTOP)
    before = len(missed)
    wait_until(lambda: len(missed) > before, "word of silence", 5.0)
    controller.process.send_signal(signal.SIGCONT)


def test_standard_targets_lead_the_arm_and_age(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    start = link.latest()
    publisher = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    stiffness = here.create_publisher(Float64MultiArray, "target_stiffness", qos.targets())
    wait_until(lambda: publisher.get_subscription_count() and stiffness.get_subscription_count(), "discovery")
    limiter = make_task("peg_insertion").chain_config().limiter
    goal = 0.5 * (np.array(limiter.box_min_base_m) + np.array(limiter.box_max_base_m))
    for _ in range(100):  # a publisher knows of its reader before that one hears it
        stiffness.publish(Float64MultiArray(data=[600.0] * 3 + [30.0] * 3))
        publisher.publish(pose_message(goal, start.quaternion_base_xyzw))
        time.sleep(0.05)
    report = link.step(0.05)[-1]
    assert np.abs(report["position_base_m"] - goal).max() < 0.01
    assert report["executed_stiffness"][0] == pytest.approx(600.0)
    time.sleep(1.5)
    assert link.step(0.1)["reason"][-1] == Reason.HOLD, "nothing stays active for ever"


def test_a_topic_with_two_publishers_moves_nothing(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    start = link.latest()
    one = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    other = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    health = Heard(here, DiagnosticArray, "/diagnostics")
    wait_until(lambda: one.get_subscription_count() and other.get_subscription_count(), "discovery")
    time.sleep(0.3)
    for _ in range(10):
        one.publish(pose_message(start.position_base_m - [0.0, 0.0, 0.05], start.quaternion_base_xyzw))
        time.sleep(0.02)
    assert link.step(0.1)["sequence"][-1] == -1, "no command was accepted"

    def told() -> bool:
        return any("more than one publisher" in status.message for m in health.messages for status in m.status)

    wait_until(told, "diagnostics")


def test_a_second_commander_is_refused_while_the_first_one_acts(controller: NodeProcess, namespace: str) -> None:
    first = TopicLink(namespace)
    try:
        first.send(replace(held_pose(first), duration_s=10.0))
        first.step(0.1)
        answered = Event()

        def acts() -> Any:
            while not answered.is_set():  # however long the second one takes to be found
                reports = first.step(0.1)  # renews what it sent
            return reports

        with pytest.raises(UserError, match="another sender commands the arm"), ThreadPoolExecutor(1) as pool:
            stepping = pool.submit(acts)
            try:
                TopicLink(namespace)
            finally:
                answered.set()
                reports = stepping.result()
        assert reports["reason"][-1] < Reason.STALE and reports["sequence"][-1] == first.latest().sequence
    finally:
        first.close()


BAD = [
    (PoseStamped, "target_pose", pose_message([0.4, 0.0, float("nan")], [1.0, 0.0, 0.0, 0.0]), "finite"),
    (PoseStamped, "target_pose", pose_message([0.4, 0.0, 0.3], [1.0, 1.0, 0.0, 0.0]), "unit quaternion"),
    (PoseStamped, "target_pose", pose_message([0.4, 0.0, 0.3], [1.0, 0.0, 0.0, 0.0], "world"), "frame"),
    (Float64MultiArray, "target_stiffness", Float64MultiArray(data=[1.0, 2.0]), "6 numbers"),
    (JointState, "target_joint", JointState(name=["a"], position=[0.0]), "expected joints"),
    (UInt8MultiArray, "motor/command", UInt8MultiArray(data=b"nonsense"), "at least"),
    (
        UInt8MultiArray,
        "motor/request",
        pack("command", np.zeros((), np.dtype(pack.__globals__["COMMAND"])), 1),
        "got a command",
    ),
]


@pytest.mark.parametrize(
    ("kind", "topic", "message", "words"), BAD, ids=[f"{topic}-{words}" for _, topic, _, words in BAD]
)
def test_malformed_messages_are_refused_in_one_sentence(
    controller: NodeProcess, here: Node, link: TopicLink, kind: Any, topic: str, message: Any, words: str
) -> None:
    profile = qos.streams() if topic == "motor/request" else qos.targets()
    publisher = here.create_publisher(kind, topic, profile)
    wait_until(publisher.get_subscription_count, "discovery")
    if topic.startswith("motor"):  # the link publishes there too: what counts is what one publisher says
        link.close()
        wait_until(lambda: here.count_publishers(publisher.topic_name) == 1, "the link to go")
        time.sleep(0.3)

    def refused() -> bool:
        publisher.publish(message)  # a target may be lost, which is no fault
        return "refused:" in controller.said()

    wait_until(refused, "a refusal", 5.0)
    assert words in controller.said()
    assert controller.process.poll() is None


def test_a_killed_hand_does_not_hold_the_arm_for_those_who_come_after(controller: NodeProcess, namespace: str) -> None:
    first = TopicLink(namespace)
    first.heartbeat(Heartbeat.OPERATOR)
    wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "hold", 5.0)
    first._begun = False  # as if it had been killed: it leaves without a word
    first.close()
    second = TopicLink(namespace)
    try:
        wait_until(lambda: look(namespace).hold_reason == 0, "no hold for the dead", 5.0)
    finally:
        second.close()


def test_weights_of_a_critic_are_refused_over_topics_unless_the_node_says_otherwise(link: TopicLink) -> None:
    link.load_critic(made_up_weights(RiskCriticConfig()))
    with pytest.raises(UserError, match="did not come into use"):
        link.reset()


def test_a_softer_stiffness_that_comes_before_the_pose_counts(
    controller: NodeProcess, here: Node, namespace: str
) -> None:
    called(here, "controller/home")
    controller.wait_for("home,", 60.0)
    first = TopicLink(namespace)
    first.send(held_pose(first))  # somebody commanded earlier
    first.step(0.1)
    first.close()
    publisher = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    stiffness = here.create_publisher(Float64MultiArray, "target_stiffness", qos.targets())
    poses = Heard(here, PoseStamped, "current_pose")
    reports = TopicSide(here)
    wait_until(lambda: publisher.get_subscription_count() and stiffness.get_subscription_count(), "discovery")
    wait_until(lambda: poses.messages and reports.ring.written, "reports")
    time.sleep(1.1)
    here_now = poses.last
    here_now.header.frame_id = "base"
    for _ in range(10):
        stiffness.publish(Float64MultiArray(data=[150.0] * 3 + [15.0] * 3))
        publisher.publish(here_now)
        time.sleep(0.05)
    newest = reports.ring.newest()
    assert newest is not None and newest["executed_stiffness"][0, 0] == pytest.approx(150.0, abs=1.0)


def call(node: Node, name: str) -> Trigger.Response:
    client: Any = node.create_client(Trigger, name)
    assert client.wait_for_service(10.0)
    future = client.call_async(Trigger.Request())
    wait_until(future.done, name)
    return future.result()


def test_homing_and_guiding(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    assert "outside the workspace" in call(here, "controller/guide").message
    link.send(replace(held_pose(link), duration_s=5.0))
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(link.step, 3.0)  # renews what it sent
        assert "somebody commands" in call(here, "controller/home").message
        stepping.result()
    link.step(1.2)
    link.reset()
    assert call(here, "controller/home").success
    controller.wait_for("home,", 60.0)
    answer = call(here, "controller/guide")
    assert answer.success, answer.message
    link.step(0.3)
    assert link.latest().executed_stiffness[0] == pytest.approx(20.0, abs=1.0)
    assert call(here, "controller/impedance").success


def test_what_bounds_motion_is_read_only_while_active(controller: NodeProcess, here: Node, namespace: str) -> None:
    client = AsyncParameterClient(here, f"/{namespace}/controller")
    assert client.wait_for_services(10.0)

    def set_to(name: str, value: Any) -> Any:
        future: Any = client.set_parameters([Parameter(name, value=value)])
        wait_until(future.done, name)
        return future.result().results[0]

    for name, value in (("safety_config", "limiter=false"), ("target_duration_s", 5.0)):
        result = set_to(name, value)
        assert not result.successful and "cannot change while the node is active" in result.reason
    assert not set_to("k_pos", [2000.0, 1.0, 1.0]).successful
    assert set_to("k_pos", [500.0, 500.0, 500.0]).successful


def test_a_dead_motor_process_ends_the_node_and_the_links(controller: NodeProcess, link: TopicLink) -> None:
    os.kill(link.status().pid, signal.SIGKILL)
    assert controller.process.wait(10.0) == 1
    assert "is dead (killed by SIGKILL)" in controller.said()
    with pytest.raises(MotorProcessDied, match="runs no tick"):
        for _ in range(20):
            link.step(0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "nosuch"}, "nosuch"),
        ({"safety_config": "nonsense"}, "key=value"),
        ({"safety_config": "nosuch=1"}, "unknown setting"),
        ({"robot": "kuka"}, "robot=kuka"),
    ],
)
def test_wrong_settings_end_the_node_in_one_line(start_node: StartNode, settings: dict[str, Any], words: str) -> None:
    node = start_node(CONTROLLER, {**SOFT, **settings})
    assert node.process.wait(60.0) == 2
    assert words in node.said() and "Traceback" not in node.said()


def test_no_controller_is_one_sentence(ros_domain: int) -> None:
    with pytest.raises(UserError, match="no active controller node answered"):
        TopicLink("nobody", start_timeout_s=1.0)


def test_ctrl_c_ends_the_arm_in_order(controller: NodeProcess, link: TopicLink) -> None:
    pid = link.status().pid
    assert controller.end() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
