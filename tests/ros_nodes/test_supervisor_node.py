"""The supervisor node as its own process, beside a controller node: its seat, services, stop topic and end."""

from __future__ import annotations

import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.person import PersonSeat, look
from controllers.shared_memory.block import BlockError, BlockInUse, SharedBlock
from controllers.shared_memory.layout import Person
from controllers.types import Command
from ros_nodes import qos
from ros_nodes.network import OLD_PROFILES, OLD_RANGE, PROFILES, RANGE
from ros_nodes.supervisor_node import SupervisorNode
from ros_nodes.topic_link import TopicLink
from ros_nodes.wire import BEAT, draw_sender, pack
from safety.reasons import Reason
from safety.supervision import Heartbeat, ResetRefused, SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, asked, wait_until, watched

pytestmark = [pytest.mark.slow, pytest.mark.calm]
CONTROLLER, SUPERVISOR = "ros_nodes.controller_node", "ros_nodes.supervisor_node"
SOFT = {"realtime": False}
STIFF = np.array([400.0] * 3 + [30.0] * 3)


@pytest.fixture
def controller(start_node: StartNode) -> NodeProcess:
    node = start_node(CONTROLLER, SOFT)
    node.wait_for("runs:")
    return node


def started(start_node: StartNode, **parameters: Any) -> NodeProcess:
    node = start_node(SUPERVISOR, parameters)
    node.wait_for("sits at the buttons")
    return node


def state(namespace: str) -> SupervisorState | None:
    try:
        return look(namespace).state
    except BlockError:
        return None


def call(node: Node, name: str) -> Trigger.Response:
    return asked(node, f"supervisor/{name}")


def set_parameter(node: Node, of: str, name: str, value: bool) -> Any:
    """Asks a node to change a parameter; returns its result."""
    client: Any = node.create_client(SetParameters, f"{of}/set_parameters")
    assert client.wait_for_service(20.0)
    future = client.call_async(SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()]))
    wait_until(future.done, "an answer")
    return future.result().results[0]


def seated(namespace: str) -> bool:
    try:
        PersonSeat(namespace).close()
    except BlockInUse:
        return True
    except BlockError:
        return False
    return False


def seat_word(namespace: str, word: Person) -> int:
    """What the person's seat says in shared memory."""
    block = SharedBlock.attach(namespace, command=False)
    try:
        with block.region("person").cast("q") as words:
            return int(words[word])
    finally:
        block.close()


def follow(link: TopicLink) -> int:
    """One command to stay; returns the reason of the newest tick."""
    here = link.latest()
    link.send(Command(here.position_base_m, here.quaternion_base_xyzw, STIFF))
    return int(link.step(0.1)["reason"][-1])


class States:
    """What `supervisor_state` and `/diagnostics` say."""

    def __init__(self, node: Node) -> None:
        self.messages: list[DiagnosticStatus] = []
        self.health: list[DiagnosticArray] = []
        node.create_subscription(DiagnosticStatus, "supervisor_state", self.messages.append, qos.latched())
        node.create_subscription(DiagnosticArray, "/diagnostics", self.health.append, 10)

    def last(self) -> str:
        return f"{self.messages[-1].name}" if self.messages else ""

    def value(self, key: str) -> str:
        return next(f"{entry.value}" for entry in self.messages[-1].values if entry.key == key)


def test_the_seat_is_taken_when_the_motor_process_appears_and_again_when_it_comes_back(
    start_node: StartNode, namespace: str, here: Node
) -> None:
    states = States(here)
    supervisor = started(start_node)
    wait_until(lambda: states.last() == "NO_MOTOR_PROCESS", "state")
    assert "no motor process" in call(here, "arm").message
    answer = call(here, "hold")
    assert not answer.success and "one that starts will be" in answer.message
    first = start_node(CONTROLLER, SOFT)
    first.wait_for("runs:")
    wait_until(lambda: states.last() == "HOLD" and seated(namespace), "held from the start")
    assert call(here, "arm").success
    wait_until(lambda: states.messages[-1].message == "", "armed: it goes on with the next command")
    assert first.end() == 0
    wait_until(lambda: states.last() == "NO_MOTOR_PROCESS", "gone")
    second = start_node(CONTROLLER, SOFT)
    second.wait_for("runs:")
    wait_until(lambda: states.last() == "ARMED" and seated(namespace), "taken again, not held")
    wait_until(lambda: any("seat" in s.name for m in states.health for s in m.status), "diagnostics")
    assert supervisor.end() == 0
    assert not seated(namespace)
    time.sleep(0.6)
    assert look(namespace).hold_reason == 0, "left in order: nobody watches for it any more"


def test_where_a_supervisor_is_required_the_arm_is_held_while_there_is_none(
    start_node: StartNode, namespace: str, here: Node
) -> None:
    start_node(CONTROLLER, {**SOFT, "supervisor_required": True}).wait_for("runs:")
    wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "held without a supervisor")
    refused = set_parameter(here, "controller", "supervisor_required", False)
    assert not refused.successful and "supervisor_required" in refused.reason
    for number in (signal.SIGINT, signal.SIGKILL):
        supervisor = started(start_node)
        wait_until(lambda: look(namespace).hold_reason == 0, "let go")
        with TopicLink(namespace) as link:
            wait_until(lambda link=link: follow(link) < Reason.HOLD, "followed")  # type: ignore[misc]
            supervisor.process.send_signal(number)
            supervisor.process.wait(15.0)
            wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "held again", 1.0)
            wait_until(lambda link=link: follow(link) >= Reason.HOLD, "what is sent then is not followed")  # type: ignore[misc]


def test_arm_hold_stop_release_reset(
    start_node: StartNode, controller: NodeProcess, namespace: str, here: Node
) -> None:
    states = States(here)
    started(start_node, start_held=True)
    wait_until(lambda: states.last() == "HOLD", "held at its start")
    link = TopicLink(namespace)
    try:
        wait_until(lambda: follow(link) == Reason.PERSON_HOLD, "held")
        assert call(here, "arm").message.startswith("armed")
        wait_until(lambda: follow(link) < Reason.REFUSED, "following")
        assert call(here, "hold").success
        wait_until(lambda: follow(link) == Reason.PERSON_HOLD, "held again")
        assert call(here, "arm").success
        wait_until(lambda: follow(link) < Reason.REFUSED, "following again")

        assert call(here, "stop").success
        wait_until(lambda: states.last() == "ESTOP", "stopped")
        assert states.value("pressed_by") == "the service stop"
        assert "still pressed" in call(here, "reset").message
        with pytest.raises(ResetRefused):
            link.reset()
        assert call(here, "release").success
        assert "still stopped (ESTOP)" in call(here, "arm").message
        with pytest.raises(ResetRefused, match="a person must reset"):
            link.reset()
        answer = call(here, "reset")
        assert answer.success and "start over" in answer.message, answer.message
        link.reset()
        wait_until(lambda: follow(link) < Reason.REFUSED, "following after a reset")
        assert "nothing is latched" in call(here, "reset").message
    finally:
        link.close()


def test_a_reset_blocks_nothing_else_and_one_runs_at_a_time(
    start_node: StartNode, controller: NodeProcess, namespace: str, here: Node
) -> None:
    started(start_node, press_s=4.0)
    wait_until(lambda: seated(namespace), "seat")
    clients: dict[str, Any] = {
        name: here.create_client(Trigger, f"supervisor/{name}") for name in ("reset", "stop", "hold")
    }
    for client in clients.values():
        assert client.wait_for_service(20.0)
    pressing = clients["reset"].call_async(Trigger.Request())
    wait_until(lambda: seat_word(namespace, Person.BUTTON), "the first one's press")
    second = clients["reset"].call_async(Trigger.Request())
    stop = clients["stop"].call_async(Trigger.Request())
    wait_until(stop.done, "stop during a reset")
    assert not pressing.done()
    wait_until(lambda: state(namespace) == SupervisorState.ESTOP, "stopped")
    wait_until(lambda: second.done() and pressing.done(), "answers")
    assert "under way" in second.result().message
    wait_until(lambda: look(namespace).hold_reason != Reason.HEARTBEAT, "it went on saying that it lives")
    answer = pressing.result()  # where a loaded machine let the press lapse, it was repeated after the stop
    assert not answer.success and "nothing was reset" in answer.message
    assert "pressed already" in answer.message or "still pressed" in answer.message, answer.message


def test_a_killed_or_stopped_supervisor_holds_the_arm(
    start_node: StartNode, controller: NodeProcess, namespace: str, here: Node
) -> None:
    supervisor = started(start_node)
    wait_until(lambda: seat_word(namespace, Person.SEAT_NS), "signs of life")
    time.sleep(0.3)
    supervisor.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "held", 1.0)
    supervisor.process.send_signal(signal.SIGCONT)
    wait_until(lambda: look(namespace).hold_reason == 0, "let go on")
    supervisor.process.kill()
    supervisor.process.wait()
    wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "held", 1.0)
    started(start_node)
    wait_until(lambda: look(namespace).hold_reason == 0, "another one sits there")


def test_a_button_on_the_stop_topic_counts_by_its_edges(
    start_node: StartNode, controller: NodeProcess, namespace: str, here: Node
) -> None:
    states = States(here)
    button = here.create_publisher(Bool, "stop", qos.latched())
    button.publish(Bool(data=True))
    started(start_node)
    wait_until(lambda: states.last() == "ESTOP", "a button that is pressed already")
    assert states.value("pressed_by") == "the button on the topic stop"
    assert "still presses" in call(here, "release").message
    wait_until(lambda: states.value("seated") == "True", "the seat, without which nobody can let go")
    button.publish(Bool(data=False))
    wait_until(lambda: states.value("pressed_by") == "", "released")
    assert call(here, "reset").success
    trips = look(namespace).trips
    button.publish(Bool(data=False))
    time.sleep(0.3)
    assert look(namespace).trips == trips, "no edge, no press"
    here.destroy_publisher(button)
    time.sleep(1.0)
    assert look(namespace).trips == trips, "without button_required its absence says nothing"
    another = here.create_publisher(Bool, "stop", qos.latched())
    third = here.create_publisher(Bool, "stop", qos.latched())
    another.publish(Bool(data=True))
    wait_until(lambda: states.value("pressed_by") != "", "pressed")
    wait_until(lambda: here.count_publishers(another.topic_name) == 2, "both")
    third.publish(Bool(data=False))
    time.sleep(0.5)
    assert states.value("pressed_by") != "", "of two senders none lets go for the other"


def test_a_required_button_is_awaited_and_its_absence_stops(
    start_node: StartNode, controller: NodeProcess, namespace: str, here: Node
) -> None:
    states = States(here)
    started(start_node, button_required=True)
    wait_until(lambda: states.last() == "HOLD", "held until the button is heard")
    assert "was not heard yet" in call(here, "arm").message
    button = here.create_publisher(Bool, "stop", qos.latched())
    button.publish(Bool(data=False))
    wait_until(lambda: call(here, "arm").success, "armed")
    here.destroy_publisher(button)
    wait_until(lambda: states.last() == "ESTOP", "its absence presses")
    assert states.value("pressed_by") == "the absence of the button's node"


@pytest.mark.parametrize(
    ("source", "hard_s"), [(Heartbeat.CAMERA, 0.3), (Heartbeat.OPERATOR, 0.25)], ids=["camera", "operator"]
)
def test_signs_of_life_over_topics_hold_the_arm_when_they_stop(
    controller: NodeProcess, namespace: str, here: Node, source: Heartbeat, hard_s: float
) -> None:
    sender, publisher = draw_sender(), here.create_publisher(UInt8MultiArray, "motor/beat", qos.states())
    wait_until(publisher.get_subscription_count, "discovery")

    def beat(stamp_ns: int) -> None:
        publisher.publish(pack("beat", np.array((source, stamp_ns, b"test"), BEAT), sender))

    delays_s: list[float] = []
    with watched(namespace) as motor:
        for _ in range(5):  # a stall of this process is one of the beats: one undisturbed time of them counts
            for _ in range(20):
                last_ns = time.monotonic_ns()
                beat(last_ns)
                time.sleep(0.03)
            wait_until(lambda last_ns=last_ns: motor.heard_ns(source) == last_ns, "the last one")  # type: ignore[misc]
            if look(namespace).hold_reason == 0:
                wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "held", 2.0)
                delays_s.append(1e-9 * (time.monotonic_ns() - last_ns))
                beat(0)  # no longer in use
                wait_until(lambda: look(namespace).hold_reason == 0, "no longer watched")
            if delays_s and min(delays_s) < hard_s + 0.2:
                break
    assert delays_s and hard_s <= min(delays_s) < hard_s + 0.2, delays_s


def test_a_learner_that_falls_silent_is_told_but_holds_nothing(
    controller: NodeProcess, namespace: str, here: Node
) -> None:
    sender, publisher = draw_sender(), here.create_publisher(UInt8MultiArray, "motor/beat", qos.states())
    wait_until(publisher.get_subscription_count, "discovery")
    long_ago_ns = time.monotonic_ns() - round(301e9)
    link = TopicLink(namespace)

    def late() -> bool:
        publisher.publish(pack("beat", np.array((Heartbeat.LEARNER, long_ago_ns, b"test"), BEAT), sender))
        return "LEARNER" in link.status().late_heartbeats

    try:
        wait_until(late, "late")
        wait_until(lambda: follow(link) < Reason.REFUSED, "the policy goes on with its old weights")
    finally:
        link.close()


def test_timers_follow_a_clock_that_nobody_sets(here: Node) -> None:
    node = SupervisorNode(context=here.context)
    try:
        assert node.create_timer(10.0, lambda: None).clock.clock_type == ClockType.STEADY_TIME
    finally:
        node.end()
        node.destroy_node()


def open_sockets(pid: int) -> set[str]:
    """Addresses that a process's datagram sockets listen on, as dotted text."""
    nodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            nodes.add(target[8:-1])
    addresses = set()
    for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in nodes:
            addresses.add((socket.inet_ntoa(struct.pack("<I", int(fields[1][:8], 16))), int(fields[1][9:], 16)))
    return {address for address, port in addresses if 7400 <= port < 7400 + 250 * 102}


def test_where_nothing_is_said_a_node_listens_on_the_loopback_interface_alone(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (RANGE, OLD_RANGE, PROFILES, OLD_PROFILES):
        monkeypatch.delenv(name, raising=False)
    node = started(start_node)
    assert open_sockets(node.process.pid) == {"127.0.0.1"}
    monkeypatch.setenv(RANGE, "SUBNET")
    other = started(start_node)
    assert "other machines can see these topics" in other.said()
