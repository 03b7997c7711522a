"""The teleoperation node as its own process: a person types, the arm follows while the dead-man is held."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from hypothesis import given
from hypothesis import strategies as st
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from controllers.person import look
from data.errors import UserError
from robot_rl.teleop.devices.base import Button, DeviceLost, DeviceState
from ros_nodes import qos
from ros_nodes.joy import TOPIC, CrowdedDevice, JoyDevice, JoySender, read
from ros_nodes.network import LOOPBACK, PROFILES, RANGE
from ros_nodes.topic_camera import TopicCamera
from ros_nodes.wire import MalformedMessage
from safety.supervision import SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, asked, wait_until

TELEOP = "ros_nodes.teleop_node"


@given(
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    st.booleans(),
    st.lists(st.lists(st.sampled_from(list(Button)), max_size=3), min_size=1, max_size=5),
)
def test_a_state_survives_the_message_and_no_press_is_lost_with_one(
    axes: list[float], held: bool, presses: list[list[Button]]
) -> None:
    sender = JoySender()
    messages = [
        sender.message(DeviceState(1, np.array(axes), held, tuple(pressed)), Joy().header.stamp) for pressed in presses
    ]
    state, counts = read(messages[-1])
    assert np.allclose(state.axes, axes, atol=1e-6) and state.held == held
    assert sum(counts) == sum(map(len, presses))


@pytest.mark.parametrize(
    "message", [Joy(), Joy(axes=[0.0] * 6), Joy(axes=[float("nan")] * 6, buttons=[0] * 9), Joy(buttons=[0] * 9)]
)
def test_another_joystick_is_refused(message: Joy) -> None:
    with pytest.raises(MalformedMessage, match="expected"):
        read(message)


@pytest.mark.slow
@pytest.mark.calm
def test_nothing_counts_while_two_publish_one_device(namespace: str, here: Node) -> None:
    states = qos.states()
    first, sender = here.create_publisher(Joy, TOPIC, states), JoySender()
    held = DeviceState(1, np.zeros(6), True)
    speaking = here.create_timer(0.02, lambda: first.publish(sender.message(held, Joy().header.stamp)))
    device = JoyDevice(namespace)
    device.open()
    try:
        wait_until(lambda: device.poll(time.monotonic_ns()).held, "the dead-man")
        second, other = here.create_publisher(Joy, TOPIC, states), JoySender()
        other.message(DeviceState(1, np.zeros(6), True, (Button.SUCCESS, Button.SUCCESS)), Joy().header.stamp)
        also = here.create_timer(0.02, lambda: second.publish(other.message(held, Joy().header.stamp)))
        pressed: list[Button] = []

        def released() -> bool:
            state = device.poll(time.monotonic_ns())
            pressed.extend(state.pressed)
            return not state.held

        def alone_again() -> bool:
            try:
                return released()
            except DeviceLost:
                return False

        wait_until(lambda: released() and device._crowded, "release")
        with pytest.raises(CrowdedDevice, match="more than one node publishes"):
            for _ in range(300):
                assert released()
                time.sleep(0.01)
        here.destroy_timer(also)
        here.destroy_publisher(second)
        wait_until(lambda: here.count_publishers(here.resolve_topic_name(TOPIC)) == 1, "one again")
        wait_until(alone_again, "one again, as the device sees it")
        time.sleep(0.3)
        assert released(), "the dead-man has to be pressed anew"
        held = DeviceState(1)
        wait_until(lambda: released() and not device._let_go, "the dead-man let go")
        held = DeviceState(1, np.zeros(6), True)
        wait_until(lambda: not released(), "the dead-man")
        assert pressed == []
    finally:
        here.destroy_timer(speaking)
        device.close()


@pytest.mark.parametrize("opened", [JoyDevice, lambda namespace: TopicCamera("wrist", namespace)])
def test_whoever_listens_stays_on_this_machine(opened: Any, ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (RANGE, PROFILES):
        monkeypatch.setenv(name, "")
    listener = opened("/nobody")
    try:
        if isinstance(listener, JoyDevice):
            with pytest.raises(UserError, match="robot-rl up teleop"):
                listener.open()
        else:
            listener.start()
        assert os.environ[RANGE] == "LOCALHOST" and os.environ[PROFILES] == str(LOOPBACK)
    finally:
        listener.close()


def typed(person: int, keys: str, duration_s: float) -> None:
    """Types keys again and again, as a keyboard repeats those that are held."""
    until_s = time.monotonic() + duration_s
    while time.monotonic() < until_s:
        os.write(person, keys.encode())
        time.sleep(0.05)


def called(node: Node, name: str, until: Any = None, process: Any = None) -> str:
    """Calls a Trigger service, which must succeed, and waits for what shall follow; returns what a process said."""
    answer = asked(node, name)
    assert answer.success, answer.message
    if until is None:
        return ""
    wait_until(until, f"what follows {name}")
    return str(process.said())


@pytest.mark.slow
@pytest.mark.calm
def test_a_device_is_followed_over_topics_until_its_node_is_gone(
    start_node: StartNode, namespace: str, here: Node, terminal: tuple[int, int]
) -> None:
    person, program = terminal
    keys: list[String] = []
    here.create_subscription(String, "recorder/key", keys.append, qos.streams())
    with pytest.raises(UserError, match="robot-rl up teleop"):
        JoyDevice("/nobody").open()
    node = start_node(TELEOP, {"device": "keyboard"}, stdin=program)
    node.wait_for("node is active")
    device = JoyDevice(namespace)
    device.open()
    try:
        os.write(person, b" ")
        wait_until(lambda: device.poll(time.monotonic_ns()).held, "the dead-man")

        def pushed() -> bool:
            os.write(person, b"w")  # as a keyboard repeats a key that is held
            return bool(device.poll(time.monotonic_ns()).axes[0] == 1.0)

        wait_until(pushed, "the stick")
        wait_until(lambda: device.poll(time.monotonic_ns()).axes[0] == 0.0, "the stick at rest")
        wait_until(lambda: here.count_publishers(here.resolve_topic_name("recorder/key")), "discovery")
        time.sleep(0.5)
        os.write(person, b"\r")
        seen: list[Any] = []

        def success() -> bool:
            seen.extend(device.poll(time.monotonic_ns()).pressed)
            return Button.SUCCESS in seen

        wait_until(success, "the success key")
        wait_until(lambda: [key.data for key in keys] == ["success"], f"the recorder's key, got {keys}: {node.said()}")
        device.let_go()
        os.write(person, b"w")
        time.sleep(0.2)
        assert not device.poll(time.monotonic_ns()).held, "what was held before an episode does not count in it"
        assert node.end() == 0
        with pytest.raises(DeviceLost):
            for _ in range(200):
                device.poll(time.monotonic_ns())
                time.sleep(0.02)
    finally:
        device.close()


@pytest.mark.slow
@pytest.mark.calm
def test_a_person_drives_the_arm_while_the_dead_man_is_held(
    start_node: StartNode, namespace: str, here: Node, terminal: tuple[int, int]
) -> None:
    person, program = terminal
    heard: list[JointState] = []
    here.create_subscription(JointState, "joint_states", heard.append, qos.states())
    controller = start_node("ros_nodes.controller_node", {"realtime": False})
    controller.wait_for("runs:")
    node: NodeProcess = start_node(TELEOP, {"device": "keyboard"}, stdin=program)
    assert "controller/home" in called(here, "teleop/start", lambda: "outside the workspace" in node.said(), node)
    called(here, "controller/home")
    controller.wait_for("home,", 60.0)
    called(here, "teleop/start")
    wait_until(lambda: here.count_publishers(here.resolve_topic_name("motor/command")) == 1, "the hand")
    wait_until(lambda: look(namespace).state == SupervisorState.RUN, "the hand to command")
    time.sleep(0.3)

    def moved(action: Any) -> float:
        before = np.array(heard[-1].position)
        action()
        return float(np.abs(np.array(heard[-1].position) - before).max())

    assert moved(lambda: typed(person, "f", 1.0)) < 0.004, "no dead-man, no motion"
    os.write(person, b" ")
    assert moved(lambda: typed(person, "f", 2.0)) > 0.02, node.said()
    time.sleep(1.0)
    assert moved(lambda: time.sleep(1.0)) < 0.004, "no key, no motion"
    assert node.end() == 0, node.said()
