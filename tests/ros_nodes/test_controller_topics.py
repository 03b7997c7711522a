"""A controller node over topics: links, standard messages and targets, who may command, what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String, UInt8MultiArray

from controllers.person import look
from controllers.types import Command
from data.errors import UserError
from robot_rl.bench.critics import made_up_weights
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.command_gate import Verdict
from ros_nodes.topic_link import TopicLink
from ros_nodes.topic_side import TopicSide
from ros_nodes.wire import pack
from safety.reasons import Reason
from safety.risk_critic import RiskCriticConfig
from safety.supervision import Heartbeat, SupervisorState
from tests.ros_nodes.conftest import NodeProcess, called, leased_domain, wait_until
from tests.ros_nodes.controller_tools import CONTROLLER, PATIENT, SOFT, Heard, held_pose, pose_message

pytestmark = [pytest.mark.slow, pytest.mark.calm]


@pytest.fixture(scope="module")
def ros_domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The domain of all tests of this file."""
    with leased_domain(tmp_path_factory.mktemp("ros-log")) as domain:
        yield domain


@pytest.fixture(scope="module")
def standing(ros_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The controller that the tests of this file share: none of them ends or latches it."""
    log = tmp_path_factory.mktemp("controller") / "node.log"
    node = NodeProcess(CONTROLLER, SOFT, f"t{os.getpid()}d{ros_domain}", log)
    try:
        node.wait_for("runs:")
        yield node
    finally:
        node.end()


@pytest.fixture
def controller(standing: NodeProcess) -> NodeProcess:
    """That one, once whoever commanded it in the test before no longer has the arm."""
    time.sleep(1.3)
    assert standing.process.poll() is None, standing.said()
    return standing


@pytest.fixture
def link(controller: NodeProcess, namespace: str) -> Iterator[TopicLink]:
    link = TopicLink(namespace, timeouts=PATIENT)
    yield link
    link.close()


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


def test_measured_state_comes_in_standard_messages(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    joints, pose = Heard(here, JointState, "joint_states"), Heard(here, PoseStamped, "current_pose")
    description = Heard(here, String, "robot_description", qos.latched())
    safety = Heard(here, DiagnosticStatus, "safety_state", qos.latched())
    health = Heard(here, DiagnosticArray, "/diagnostics")
    all_heard = (pose, description, safety)
    wait_until(lambda: len(joints.messages) > 50 and all(topic.messages for topic in all_heard), "states")
    report = link.latest()
    assert joints.last.name == [f"fr3_joint{number}" for number in range(1, 8)]
    assert np.allclose(joints.last.position, report.q_rad, atol=1e-2)
    p = pose.last.pose.position
    assert np.allclose([p.x, p.y, p.z], report.position_base_m, atol=1e-2) and pose.last.header.frame_id == "base"
    assert "<robot" in description.last.data[:200]
    wait_until(lambda: safety.last.name in ("ARMED", "RUN"), "an arm that is free")
    wait_until(lambda: health.messages, "diagnostics")
    assert any(status.name.endswith("controller: motor") for status in health.last.status)


def test_standard_targets_lead_the_arm_and_age(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    start = link.latest()
    publisher = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    stiffness = here.create_publisher(Float64MultiArray, "target_stiffness", qos.targets())
    wait_until(lambda: publisher.get_subscription_count() and stiffness.get_subscription_count(), "discovery")
    limiter = make_task("peg_insertion").chain_config().limiter
    goal = 0.5 * (np.array(limiter.box_min_base_m) + np.array(limiter.box_max_base_m))

    def led() -> bool:
        stiffness.publish(Float64MultiArray(data=[600.0] * 3 + [30.0] * 3))
        publisher.publish(pose_message(goal, start.quaternion_base_xyzw))
        report = link.step(0.05)[-1]
        near = np.abs(report["position_base_m"] - goal).max() < 0.01
        return bool(near and abs(report["executed_stiffness"][0] - 600.0) < 1.0)

    wait_until(led, "the arm at its target")
    wait_until(lambda: link.step(0.1)["reason"][-1] == Reason.HOLD, "nothing stays active for ever", 3.0)


def test_a_topic_with_two_publishers_moves_nothing(controller: NodeProcess, here: Node, link: TopicLink) -> None:
    start = link.latest()
    one = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    other = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    health = Heard(here, DiagnosticArray, "/diagnostics")
    wait_until(lambda: one.get_subscription_count() and other.get_subscription_count(), "discovery")

    def told() -> list[DiagnosticStatus]:
        """What the newest diagnostics say of it."""
        found = [s for m in health.messages for s in m.status if "more than one publisher" in s.message]
        return found[-1:]

    def refused() -> int:
        one.publish(pose_message(start.position_base_m - [0.0, 0.0, 0.05], start.quaternion_base_xyzw))
        return sum(int(v.value) for s in told() for v in s.values if v.key == Verdict.TWO_PUBLISHERS.value)

    wait_until(told, "diagnostics")
    wait_until(refused, "targets that were refused")
    assert link.step(0.1)["sequence"][-1] == -1, "no command was accepted"


def test_a_second_commander_is_refused_while_the_first_one_acts(controller: NodeProcess, namespace: str) -> None:
    first = TopicLink(namespace, timeouts=PATIENT)
    try:
        answered = Event()

        def act() -> Any:
            first.send(held_pose(first))
            return first.step(0.1)

        def acts() -> None:
            while not answered.is_set():  # however long the second one takes to be found
                act()

        act()
        with pytest.raises(UserError, match="another sender commands the arm"), ThreadPoolExecutor(1) as pool:
            stepping = pool.submit(acts)
            try:
                TopicLink(namespace)
            finally:
                answered.set()
                stepping.result()
        wait_until(lambda: act()["reason"][-1] < Reason.STALE, "the first one goes on")
        assert first.latest().sequence >= 2, "and more than its first command was followed"
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


def test_malformed_messages_are_refused_in_one_sentence(controller: NodeProcess, here: Node) -> None:
    for kind, topic, message, words in BAD:
        publisher = here.create_publisher(kind, topic, qos.streams() if topic == "motor/request" else qos.targets())
        wait_until(publisher.get_subscription_count, "discovery")
        before = len(controller.said())

        def said(publisher: Any = publisher, message: Any = message, before: int = before) -> str:
            publisher.publish(message)  # a target may be lost, which is no fault
            return controller.said()[before:]

        wait_until(lambda said=said: "refused:" in said(), f"a refusal with {words!r}")  # type: ignore[misc]
        assert words in controller.said()[before:], (topic, words)
        here.destroy_publisher(publisher)
        wait_until(lambda topic=topic: here.count_publishers(here.resolve_topic_name(topic)) == 0, "it to go")  # type: ignore[misc]
        time.sleep(0.3)  # for the controller to see that it has gone: of two publishers nothing counts
        assert controller.process.poll() is None


def test_a_killed_hand_does_not_hold_the_arm_for_those_who_come_after(controller: NodeProcess, namespace: str) -> None:
    first = TopicLink(namespace, timeouts=PATIENT)
    wait_until(lambda: first._topics._beats.readers, "the controller to listen to signs of life")
    first.heartbeat(Heartbeat.OPERATOR)
    wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "hold", 5.0)
    first._begun = False  # as if it had been killed: it leaves without a word
    first.close()
    second = TopicLink(namespace, timeouts=PATIENT)
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
    first = TopicLink(namespace, timeouts=PATIENT)
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

    def followed_softly() -> bool:
        stiffness.publish(Float64MultiArray(data=[120.0] * 3 + [12.0] * 3))
        publisher.publish(here_now)
        newest = reports.ring.newest()
        if newest is None or newest["sequence"][0] < 0:
            return False
        return abs(float(newest["executed_stiffness"][0, 0]) - 120.0) < 1.0

    wait_until(followed_softly, "a stiffness softer than that of a hold")


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
