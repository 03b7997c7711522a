"""The controller node as its own process: whoever dies or sleeps around it, its modes, its settings and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import JointState

from controllers.description.geometry import Pose
from controllers.motor_child import MotorProcessDied
from controllers.person import look
from data.errors import UserError
from ros_nodes import qos
from ros_nodes.topic_link import TopicLink
from safety.supervision import ResetRefused, SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, asked, wait_until
from tests.ros_nodes.controller_tools import CONTROLLER, PATIENT, SOFT, held_pose

pytestmark = [pytest.mark.slow, pytest.mark.calm]


@pytest.fixture
def controller(start_node: StartNode) -> NodeProcess:
    node = start_node(CONTROLLER, SOFT)
    node.wait_for("runs:")
    return node


@pytest.fixture
def link(controller: NodeProcess, namespace: str) -> Iterator[TopicLink]:
    link = TopicLink(namespace, timeouts=PATIENT)
    yield link
    link.close()


def test_requests_are_answered_as_over_shared_memory(link: TopicLink) -> None:
    link.tare()
    link.teleport(link.latest().q_rad + 0.01)
    link.reset()
    link.grant()
    with pytest.raises(ValueError, match="nothing of that name|nowhere|known"):
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
    policy = subprocess.Popen([sys.executable, "-c", program, namespace], stdout=subprocess.PIPE, text=True)
    assert policy.stdout is not None
    for _ in range(5):
        assert policy.stdout.readline() == "step\n"
    assert look(namespace).state == SupervisorState.RUN
    policy.kill()
    policy.wait()
    policy.stdout.close()
    wait_until(lambda: look(namespace).state == SupervisorState.HOLD, "hold", 3.0)


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


def test_homing_and_guiding(controller: NodeProcess, namespace: str, here: Node, link: TopicLink) -> None:
    assert "outside the workspace" in asked(here, "controller/guide").message
    answered = Event()

    def act() -> None:
        while not answered.is_set():
            link.send(held_pose(link))
            link.step(0.1)

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        try:
            wait_until(lambda: look(namespace).state == SupervisorState.RUN, "the arm to follow")
            assert "somebody commands" in asked(here, "controller/home").message
        finally:
            answered.set()
        acting.result()
    link.step(1.2)
    link.reset()
    assert asked(here, "controller/home").success
    controller.wait_for("home,", 60.0)
    link.reset()  # what led the arm home ages, and an arm that is held is not guided
    answer = asked(here, "controller/guide")
    assert answer.success, answer.message
    wait_until(lambda: abs(link.step(0.05)["executed_stiffness"][-1, 0] - 20.0) < 1.0, "a soft arm")
    assert asked(here, "controller/impedance").success


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
