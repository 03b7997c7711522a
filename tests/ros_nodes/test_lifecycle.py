"""A node that is cleaned up and configured again has everything once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node

from tests.ros_nodes.conftest import StartNode, called, wait_until

ROUND = (
    Transition.TRANSITION_DEACTIVATE,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)
SUBSCRIPTIONS = {
    "controller": ("motor/command", "target_pose", "target_joint"),
    "camera": (),
    "supervisor": ("stop",),
}
PUBLISHERS = {
    "controller": ("joint_states", "motor/reports", "safety_state"),
    "camera": ("wrist/image_raw", "wrist/frame"),
    "supervisor": ("supervisor_state",),
}
SERVICES = {
    "controller": ("home", "guide", "impedance", "tare", "start_over"),
    "camera": (),
    "supervisor": ("arm", "hold", "stop", "release", "reset"),
}


def turn(client: Any, number: int) -> None:
    request = ChangeState.Request(transition=Transition(id=number))
    future = client.call_async(request)
    wait_until(future.done, f"transition {number}", 60.0)
    assert future.result().success, f"transition {number} was refused"


@pytest.mark.slow
@pytest.mark.calm
@pytest.mark.parametrize("name", list(SUBSCRIPTIONS))
def test_a_second_life_has_everything_once(start_node: StartNode, here: Node, name: str) -> None:
    said: list[DiagnosticArray] = []
    here.create_subscription(DiagnosticArray, "/diagnostics", said.append, 10)
    node = start_node(f"ros_nodes.{name}_node", {"realtime": False} if name == "controller" else {})
    node.wait_for("node is active")
    client: Any = here.create_client(ChangeState, f"{name}/change_state")
    assert client.wait_for_service(20.0)

    def topic(word: str) -> str:
        return str(here.resolve_topic_name(word))

    def counted() -> dict[str, int]:
        listeners = {f"{word} heard": here.count_subscribers(topic(word)) for word in SUBSCRIPTIONS[name]}
        speakers = {f"{word} told": here.count_publishers(topic(word)) for word in PUBLISHERS[name]}
        services = {word: here.count_services(topic(f"{name}/{word}")) for word in SERVICES[name]}
        return listeners | speakers | services

    def once() -> bool:
        return set(counted().values()) == {1}

    wait_until(once, f"the first life, {counted()}")
    for number in ROUND[:2]:
        turn(client, number)
    gone = [f"{word} heard" for word in SUBSCRIPTIONS[name]] + [f"{word} told" for word in PUBLISHERS[name]]
    wait_until(lambda: not any(counted()[word] for word in gone), "cleaned up")
    for number in ROUND[2:]:
        turn(client, number)
    wait_until(once, f"the second life, {counted()}, {node.said()}")
    if name == "controller":
        called(here, "controller/impedance")
    said.clear()
    wait_until(lambda: len(said) > 1, "diagnostics")
    assert once(), counted()
    assert set(Counter(status.name for status in said[-1].status).values()) == {1}, said[-1]
    assert node.end() == 0, node.said()


@pytest.mark.slow
@pytest.mark.calm
def test_a_configuration_that_fails_leaves_nothing_behind(start_node: StartNode, here: Node) -> None:
    node = start_node("ros_nodes.camera_node", {"autostart": False, "source": "nothing"})
    client: Any = here.create_client(ChangeState, "camera/change_state")
    assert client.wait_for_service(20.0)
    for _ in range(2):
        with pytest.raises(AssertionError, match="was refused"):
            turn(client, Transition.TRANSITION_CONFIGURE)
    assert here.count_publishers(here.resolve_topic_name("wrist/image_raw")) == 0
    assert node.end() == 0, node.said()
