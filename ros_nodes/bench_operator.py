"""Somebody else beside the policy, for `robot-rl bench faults`: presses buttons, plays a camera, spoils the topics.

    python -m ros_nodes.bench_operator NAMESPACE

Orders come as JSON on standard input, one a line, and each is answered by one line of JSON:

    {"call": "stop"}                a service of the supervisor, or another one such as `recorder/start`: called_ns,
                                    answered_ns, success, message
    {"goal": null}                  a goal for a recorder's episodes, 0.1 m from where the arm is
    {"camera": true}                frames' signs of life at 30 Hz from now on, or no more: last_ns
    {"forget_camera": null}         the camera is no longer in use
    {"relay": {"drop": 0.3, ...}}   relay/command to motor/command, with losses; null ends it: counts so far
    {"partition": 0.2}              the relay passes nothing for so long [s]
    {"intrude": 33.0}               a second publisher on motor/command, at 100 Hz, whose commands are known by this
                                    stiffness; null ends it: since_ns
    {"poses": 2}                    target_pose from so many publishers, 0 ends it: since_ns
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from std_msgs.msg import UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.types import Command
from ros_nodes import qos
from ros_nodes.lifecycle import STEADY
from ros_nodes.network import stay_on_this_machine
from ros_nodes.spinning import Spinner
from ros_nodes.wire import BEAT, KINDS, draw_sender, pack
from safety.supervision import Heartbeat

_FRAME_S, _INTRUDE_S, _POSE_S, _PATIENCE_S = 1.0 / 30.0, 0.01, 0.05, 10.0


class LossyRelay:
    """Passes commands on, and loses, repeats, swaps and withholds some."""

    def __init__(self, node: Node, seed: int, drop: float, repeat: float, swap: float) -> None:
        """Shares in [0, 1]. `partition` withholds everything for a while."""
        self._rng, self._drop, self._repeat, self._swap = np.random.default_rng(seed), drop, repeat, swap
        self._kept: UInt8MultiArray | None = None
        self._silent_until_s = 0.0
        self.counts = {"passed": 0, "dropped": 0, "repeated": 0, "swapped": 0, "withheld": 0}
        self._publisher = node.create_publisher(UInt8MultiArray, "motor/command", qos.targets())
        self._subscription = node.create_subscription(UInt8MultiArray, "relay/command", self._take, qos.targets())
        self._node = node

    def partition(self, duration_s: float) -> None:
        """Nothing passes for so long [s]."""
        self._silent_until_s = time.monotonic() + duration_s

    def close(self) -> None:
        """Passes nothing on any more."""
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)

    def _take(self, message: UInt8MultiArray) -> None:
        if time.monotonic() < self._silent_until_s:
            self.counts["withheld"] += 1
        elif self._rng.random() < self._drop:
            self.counts["dropped"] += 1
        elif self._kept is None and self._rng.random() < self._swap:
            self._kept = message  # comes after the next one
        else:
            self._pass(message)
            if self._kept is not None:
                late, self._kept = self._kept, None
                self.counts["swapped"] += 1
                self._pass(late)

    def _pass(self, message: UInt8MultiArray) -> None:
        self.counts["passed"] += 1
        self._publisher.publish(message)
        if self._rng.random() < self._repeat:
            self.counts["repeated"] += 1
            self._publisher.publish(message)


class Operator:
    """What each order does."""

    def __init__(self, node: Node) -> None:
        self._node, self._sender = node, draw_sender()
        self._beats = node.create_publisher(UInt8MultiArray, "motor/beat", qos.states())
        self._goals = node.create_publisher(PoseStamped, "recorder/goal", qos.states())
        self._relay: LossyRelay | None = None
        self._frames = threading.Lock()
        self._intruder: Any = None
        self._last_ns, self._playing, self._stiffness = 0, False, 0.0
        self._callers: dict[str, Any] = {}
        for name in ("arm", "hold", "stop", "release", "reset"):
            self._caller(name)
        for period_s, work in ((_FRAME_S, self._frame), (_INTRUDE_S, self._intrude), (_POSE_S, self._pose)):
            node.create_timer(period_s, work, clock=STEADY)
        self._posing: list[Any] = []
        self._here: PoseStamped | None = None
        self._newest: PoseStamped | None = None
        node.create_subscription(PoseStamped, "current_pose", self._see, qos.states())

    def call(self, name: str) -> dict[str, Any]:
        """Calls a service, of the supervisor node unless it names another."""
        client = self._caller(name)
        if not client.wait_for_service(_PATIENCE_S):
            return {"success": False, "message": f"no node answers {name}"}
        called_ns, done = time.monotonic_ns(), threading.Event()
        future: Any = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        if not done.wait(_PATIENCE_S):
            return {"success": False, "message": "no answer"}
        answer = future.result()
        times = {"called_ns": called_ns, "answered_ns": time.monotonic_ns()}
        return {**times, "success": answer.success, "message": answer.message}

    def _caller(self, name: str) -> Any:
        if name not in self._callers:
            whole = name if "/" in name else f"supervisor/{name}"
            self._callers[name] = self._node.create_client(Trigger, whole)
        return self._callers[name]

    def goal(self, unused: Any) -> dict[str, Any]:
        """Publishes a goal of a recorder's episodes that the arm is not going to reach, 0.1 m from where it is."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self._newest is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if self._newest is not None:
            self._newest.pose.position.z -= 0.1
            self._goals.publish(self._newest)
        return {"published": self._newest is not None}

    def camera(self, plays: bool) -> dict[str, Any]:
        """Begins or ends to give a camera's signs of life; begins once somebody hears them."""
        deadline_s = time.monotonic() + 10.0
        while plays and self._beats.get_subscription_count() == 0 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        with self._frames:
            self._playing = plays
            return {"last_ns": self._last_ns}

    def forget_camera(self, unused: Any) -> dict[str, Any]:
        """The camera is no longer in use: nobody waits for its frames."""
        self._playing = False
        self._beat(0)
        return {}

    def relay(self, losses: dict[str, Any] | None) -> dict[str, Any]:
        """Puts the relay into its place, or takes it out."""
        counts = self._relay.counts if self._relay is not None else {}
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        if losses is not None:
            self._relay = LossyRelay(self._node, **losses)
        return dict(counts)

    def partition(self, duration_s: float) -> dict[str, Any]:
        """Withholds all commands for so long."""
        if self._relay is not None:
            self._relay.partition(duration_s)
        return {"since_ns": time.monotonic_ns()}

    def intrude(self, stiffness: float | None) -> dict[str, Any]:
        """Begins or ends to be a second publisher of commands, of this stiffness [N/m, Nm/rad]."""
        since_ns, former = time.monotonic_ns(), self._intruder
        self._stiffness, begins = stiffness or 0.0, stiffness is not None
        self._intruder = (
            self._node.create_publisher(UInt8MultiArray, "motor/command", qos.targets()) if begins else None
        )
        if former is not None:
            self._node.destroy_publisher(former)
        return {"since_ns": since_ns}

    def poses(self, count: int) -> dict[str, Any]:
        """Publishes the pose where the arm was as target_pose, at 20 Hz from so many publishers; 0: no more."""
        since_ns = time.monotonic_ns()
        if not self._posing:
            self._here = None
        while len(self._posing) > count:
            self._node.destroy_publisher(self._posing.pop())
        while len(self._posing) < count:
            self._posing.append(self._node.create_publisher(PoseStamped, "target_pose", qos.targets()))
        return {"since_ns": since_ns}

    def _see(self, message: PoseStamped) -> None:
        self._here, self._newest = self._here or message, message

    def _pose(self) -> None:
        for publisher in list(self._posing):
            if self._here is not None:
                publisher.publish(self._here)

    def _beat(self, stamp_ns: int) -> None:
        self._beats.publish(pack("beat", np.array((Heartbeat.CAMERA, stamp_ns, b"bench"), BEAT), self._sender))

    def _frame(self) -> None:
        with self._frames:  # no frame comes after the last one that was told of
            if self._playing:
                self._last_ns = time.monotonic_ns()
                self._beat(self._last_ns)

    def _intrude(self) -> None:
        publisher = self._intruder
        if publisher is None:
            return
        record = np.zeros((), KINDS["command"])
        Command(
            np.array([0.5, 0.2, 0.5]), np.array([1.0, 0.0, 0.0, 0.0]), np.full(6, self._stiffness), duration_s=0.2
        ).write_to(record)
        record["stamp_ns"], record["sequence"] = time.monotonic_ns(), time.monotonic_ns() // 10_000_000
        publisher.publish(pack("command", record, self._sender))


def main() -> None:
    """Answers orders until standard input ends."""
    namespace = remove_ros_args(sys.argv)[1]
    stay_on_this_machine()
    rclpy.init()
    node = Node("bench_operator", namespace=f"/{namespace}")
    operator, spinner = Operator(node), Spinner(node)
    orders: dict[str, Callable[[Any], dict[str, Any]]] = {
        "call": operator.call,
        "goal": operator.goal,
        "camera": operator.camera,
        "forget_camera": operator.forget_camera,
        "relay": operator.relay,
        "partition": operator.partition,
        "intrude": operator.intrude,
        "poses": operator.poses,
    }
    spinner.start()
    try:
        for line in sys.stdin:
            ((order, value),) = json.loads(line).items()
            print(json.dumps(orders[order](value)), flush=True)
    finally:
        spinner.stop()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
