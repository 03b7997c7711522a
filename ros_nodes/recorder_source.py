"""A made-up arm and camera for `robot-rl bench recorder`: 1 kHz tick reports in batches, pictures, and a key-presser.

Tick reports and pictures are numbered without a gap, so that whatever a recorder lacks can be counted. Every episode of
`episode_s` is ended as a success; each answer of the recorder is written to stdout as a line of JSON. So is, at the end
(SIGTERM or SIGINT), what was published.
"""

from __future__ import annotations

import argparse
import array
import json
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.description.fr3 import fr3
from controllers.types import REPORT, Source
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.arm_messages import StateMessages
from ros_nodes.network import stay_on_this_machine
from ros_nodes.spinning import Spinner
from ros_nodes.wire import draw_sender, pack

BATCH, BATCH_HZ, IMAGE_HZ = 5, 200, 30
WIDTH, HEIGHT = 640, 480
_ANSWER_S = {"start": 1.0, "success": 20.0}
"""An answer that takes longer is that of a recorder that was killed."""


def say(**values: Any) -> None:
    """Writes a line of JSON."""
    print(json.dumps(values), flush=True)


class MadeUpArm:
    """Tick reports of an arm that waves above the goal."""

    def __init__(self, task: str, seed: int = 0) -> None:
        draw = make_task(task).draw(np.random.default_rng(seed))
        self.goal = draw.T_base_goal
        self.next_tick = 1
        self._rng = np.random.default_rng(seed)
        row = np.zeros((), REPORT)
        for name in REPORT.names or ():
            if name.endswith("_j") or name in ("risk", "gripper_m", "executed_gripper_m", "proposed_gripper_m"):
                row[name] = np.nan
            if name.endswith("_share"):
                row[name] = 1.0
            if name.endswith("quaternion_base_xyzw"):
                row[name] = draw.T_base_start.quaternion_xyzw
            if name.endswith("position_base_m"):
                row[name] = draw.T_base_start.position_m
        row["executed_stiffness"] = row["proposed_stiffness"] = [400.0] * 3 + [30.0] * 3
        row["source"], row["duration_s"] = Source.HUMAN, 0.1
        self._rows = np.repeat(row, BATCH)

    def batch(self, now_ns: int) -> NDArray[Any]:
        """Returns the next BATCH reports, the last of them of this moment."""
        rows, ticks = self._rows, np.arange(self.next_tick, self.next_tick + BATCH)
        self.next_tick += BATCH
        rows["tick"], rows["stamp_ns"] = ticks, now_ns - 1_000_000 * np.arange(BATCH - 1, -1, -1)
        rows["sequence"] = ticks // 100
        phase = 1e-3 * ticks
        rows["q_rad"] = 0.1 * np.sin(phase)[:, None] + 1e-5 * self._rng.standard_normal((BATCH, 7))
        rows["qd_rad_s"] = 0.1 * np.cos(phase)[:, None] + 1e-3 * self._rng.standard_normal((BATCH, 7))
        rows["wrench_tool"] = 0.2 * self._rng.standard_normal((BATCH, 6))
        rows["work_ns"] = self._rng.integers(60_000, 120_000, BATCH)
        return rows


class MadeUpCamera:
    """Pictures with a camera's noise, which hardly compresses."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        scene = 128.0 + 60.0 * np.sin(x / 37.0)[..., None] * np.cos(y / 23.0)[..., None] * np.array([1.0, 0.6, 0.3])
        noise = rng.normal(0.0, 2.0, (8, HEIGHT, WIDTH, 3))
        self._frames = np.clip(scene + noise, 0, 255).astype(np.uint8)
        self.message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
        self.message.data = array.array("B", bytes(self._frames[0].nbytes))  # taken over as a copy
        self._view = np.frombuffer(self.message.data, np.uint8).reshape(HEIGHT, WIDTH, 3)
        self.next_frame = 1

    def fill(self, stamp: Any) -> Image:
        """Returns the next picture; its number stands where the frame's name should."""
        self._view[...] = self._frames[self.next_frame % len(self._frames)]
        self.message.header.stamp, self.message.header.frame_id = stamp, str(self.next_frame)
        self.next_frame += 1
        return self.message


class KeyPresser:
    """Begins and ends episodes by the recorder's services; never waits."""

    def __init__(self, node: Node, episode_s: float, pause_s: float) -> None:
        self._clients: dict[str, Any] = {
            word: node.create_client(Trigger, f"recorder/{word}") for word in ("start", "success")
        }
        self._durations_s = {"start": episode_s, "success": pause_s}
        self._next, self._due_s = "start", 0.0
        self._asked: Any = None
        self._asked_s = 0.0

    def look(self, now_s: float) -> None:
        """To be called often."""
        if self._asked is not None:
            if self._asked.done():
                self._heard(self._asked.result(), now_s)
            elif now_s - self._asked_s > _ANSWER_S[self._next]:
                self._asked, self._next = None, "start"
            return
        client = self._clients[self._next]
        if now_s >= self._due_s and client.service_is_ready():
            self._asked, self._asked_s = client.call_async(Trigger.Request()), now_s

    def begin_anew(self) -> None:
        """The recorder is another one from now on."""
        self._asked, self._next, self._due_s = None, "start", 0.0

    def _heard(self, answer: Trigger.Response, now_s: float) -> None:
        say(event=self._next, ok=bool(answer.success), words=answer.message)
        begun = answer.success or "is in progress: end it" in answer.message  # its answer may have come too late
        self._due_s = now_s + (self._durations_s[self._next] if answer.success else 0.2)
        self._next = "success" if self._next == "start" and begun else "start"
        self._asked = None


def main(words: list[str] | None = None) -> int:
    """`python -m ros_nodes.recorder_source --namespace arm --task peg_insertion`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--task", default="peg_insertion")
    parser.add_argument("--episode-s", type=float, default=2.0)
    parser.add_argument("--pause-s", type=float, default=0.5)
    given = parser.parse_args(words)
    stopping, anew = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGUSR1, lambda *_: anew.set())
    stay_on_this_machine()
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = Node("recorder_source", namespace=given.namespace)
    spinner = Spinner(node)
    spinner.start()
    try:
        _publish(node, given, stopping, anew)
    finally:
        spinner.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _publish(node: Node, given: argparse.Namespace, stopping: threading.Event, anew: threading.Event) -> None:
    arm, camera, sender = MadeUpArm(given.task), MadeUpCamera(), draw_sender()
    keys = KeyPresser(node, given.episode_s, given.pause_s)
    reports = node.create_publisher(UInt8MultiArray, "motor/reports", qos.streams())
    images = node.create_publisher(Image, "camera/image_raw", 30)
    joints = node.create_publisher(JointState, "joint_states", qos.states())
    goals = node.create_publisher(PoseStamped, "recorder/goal", qos.latched())
    goals.publish(_goal_message(arm))
    states = StateMessages(tuple(joint.name for joint in fr3().joints), "base", "tool")
    started_ns, turn, late_ms = time.monotonic_ns(), 0, 0.0
    say(event="started")
    while not stopping.is_set():
        turn += 1
        due_ns = started_ns + turn * 1_000_000_000 // BATCH_HZ
        wait_s = 1e-9 * (due_ns - time.monotonic_ns())
        late_ms = max(late_ms, -1e3 * wait_s)
        if wait_s > 0.0:
            time.sleep(wait_s)
        rows = arm.batch(due_ns)
        reports.publish(pack("report", rows, sender))
        if turn % 2 == 0:
            states.fill(rows[-1], node.get_clock().now().to_msg())
            joints.publish(states.joints)
        if turn * IMAGE_HZ // BATCH_HZ >= camera.next_frame:
            images.publish(camera.fill(node.get_clock().now().to_msg()))
        if anew.is_set():
            anew.clear()
            keys.begin_anew()
        keys.look(time.monotonic())
    say(event="end", last_tick=arm.next_tick - 1, last_frame=camera.next_frame - 1, late_ms=late_ms)


def _goal_message(arm: MadeUpArm) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = "base"
    p, o = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = arm.goal.position_m.tolist()
    o.x, o.y, o.z, o.w = arm.goal.quaternion_xyzw.tolist()
    return message


if __name__ == "__main__":
    sys.exit(main())
