"""The recorder as its own process: episodes as the environment records them, bags, a full disk, kills."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("mcap", reason="install the extra [record]")

from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from controllers.description.geometry import Pose
from controllers.person import look
from controllers.types import Command, Source
from data.bag_reading import survey, totals
from data.bag_repair import repair_bag
from data.episode import Episode
from data.store import EpisodeStore
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Draw
from robot_rl.tasks.registry import make_task
from robot_rl.training.recording import record_episode
from ros_nodes import qos
from ros_nodes.recorded import audit, recorded_reports
from ros_nodes.recorder_source import MadeUpArm, MadeUpCamera
from ros_nodes.topic_link import TopicLink
from ros_nodes.wire import pack
from safety.supervision import SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.calm]
RECORDER = "ros_nodes.recorder_node"
SIGHT = {"cameras": "[side=camera/image_raw]", "image_age_limit_s": 1.0}
"""Tests share their machine: pictures may be late."""
Ask = Callable[..., tuple[bool, str]]


@pytest.fixture
def ask(here: Node) -> Ask:
    """Calls a service of the recorder: whether it was done, and words."""
    clients: dict[str, Any] = {}

    def call(word: str, timeout_s: float = 60.0) -> tuple[bool, str]:
        if word not in clients:
            clients[word] = here.create_client(Trigger, f"recorder/{word}")
        assert clients[word].wait_for_service(20.0)
        future = clients[word].call_async(Trigger.Request())
        deadline_s = time.monotonic() + timeout_s
        while not future.done() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return (bool(future.result().success), str(future.result().message)) if future.done() else (False, "no answer")

    return call


def publish_goal(here: Node, goal: Pose) -> Any:
    publisher = here.create_publisher(PoseStamped, "recorder/goal", qos.latched())
    message = PoseStamped()
    message.header.frame_id = "base"
    p, o = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = goal.position_m.tolist()
    o.x, o.y, o.z, o.w = goal.quaternion_xyzw.tolist()
    publisher.publish(message)
    return publisher


def start_when_ready(ask: Ask, timeout_s: float = 30.0, patience_s: float = 60.0) -> None:
    """Asks for an episode until reports, goal and pictures have been found.

    patience_s: for one answer; a recorder that was killed is found for a while, and answers nothing.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        ok, words = ask("start", patience_s)
        if ok or "is in progress: end it" in words:
            return
        assert time.monotonic() < deadline_s, words
        time.sleep(0.1)


# With a controller


class Replayed:
    """A link, and the world behind it, that brings recorded reports in the parts that decisions had."""

    def __init__(self, first: NDArray[Any], parts: list[NDArray[Any]]) -> None:
        self._parts = [first[-1:], first, *parts]

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        return self._parts.pop(0)

    def send(self, command: Command) -> None:
        pass

    def place(self, name: str, pose: Pose) -> None:
        pass

    def reseed(self, seed: int) -> None:
        pass

    def tare(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def grant(self) -> float:
        return 0.0

    def latest(self) -> Any:
        raise AssertionError("not needed")

    def now_ns(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Repeating:
    """An operator who wishes what was wished then."""

    def __init__(self, actions: NDArray[np.float32]) -> None:
        self._actions = list(actions)

    def reset(self) -> None:
        pass

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        action: NDArray[np.float32] = self._actions.pop(0)
        return action


def as_the_environment_records(kept: Episode, reports: NDArray[Any], goal: Pose, before: NDArray[Any]) -> Episode:
    """Returns the episode that `record_episode` makes of the same reports, decision by decision."""
    task = make_task("peg_insertion")
    task.max_steps = len(kept)
    ends = np.searchsorted(reports["stamp_ns"], kept.stamp_ns[1:], side="right")
    parts = np.split(reports, ends[:-1])
    link: Any = Replayed(before, parts)
    env = RobotEnv(task, link, world=link, teleport=lambda pose: None)
    draw = Draw({}, goal, goal)
    task.draw = lambda rng: draw  # type: ignore[method-assign]
    from robot_rl.training.reported_episode import reported_spec

    spec = reported_spec(task, "mujoco", (), {})
    return record_episode(env, Repeating(kept.action_proposed), spec, 0, source=Source.HUMAN)[0]


def test_an_episode_over_topics_is_the_one_that_the_environment_records_of_the_same_reports(
    start_node: StartNode, namespace: str, here: Node, ask: Ask, tmp_path: Path
) -> None:
    controller = start_node("ros_nodes.controller_node", {"realtime": False})
    controller.wait_for("runs:")
    recorder = start_node(RECORDER, {"out": tmp_path / "out"})
    recorder.wait_for("records into")
    link = TopicLink(namespace)
    try:
        start = link.latest()
        begin = Pose(start.position_base_m, start.quaternion_base_xyzw)
        goal = Pose(start.position_base_m - [0.0, 0.0, 0.3], start.quaternion_base_xyzw)
        publisher = publish_goal(here, goal)
        wait_until(publisher.get_subscription_count, "the recorder to find the goal")
        rng, ended = np.random.default_rng(0), Event()

        def drive() -> None:
            """A person moves the arm, 40 commands a second, from before the episode until after it."""
            while not ended.is_set():
                target = begin.position_m + rng.uniform(-0.004, 0.004, 3)
                stiffness = np.array([600.0] * 3 + [30.0] * 3)
                link.send(Command(target, begin.quaternion_xyzw, stiffness, source=Source.HUMAN))
                link.step(0.025)

        with ThreadPoolExecutor(1) as pool:
            driving = pool.submit(drive)
            try:
                wait_until(lambda: look(namespace).state == SupervisorState.RUN, "the arm to follow")
                start_when_ready(ask)
                time.sleep(1.5)
                ok, words = ask("success")
            finally:
                ended.set()
            driving.result()
        assert ok and words.startswith("episode 0 stored: "), words
    finally:
        link.close()
    assert recorder.end() == 0
    with EpisodeStore.open(tmp_path / "out" / "episodes.zarr") as store:
        kept = store[0]
    first, last = kept.info["ticks"]
    bag = tmp_path / "out" / kept.info["bag"]
    before = recorded_reports(bag, first - 49, first)
    reports = recorded_reports(bag, first + 1, last)
    assert len(before) == 50 and len(reports) == last - first == 100 * len(kept)
    assert set(kept.source) == {Source.HUMAN} and kept.success and kept.terminated[-1] and kept.reward[-1] == 1.0
    assert len(kept) >= 12 and np.abs(kept.action_executed).max() > 0.05
    again = as_the_environment_records(kept, reports, goal, before)
    mine, theirs = kept.arrays(), again.arrays()
    # a person's verdict ended it here, the number of steps there; pictures and verdicts are no matter of reports
    for path in mine.keys() - {"reward", "terminated", "truncated"}:
        assert np.array_equal(mine[path], theirs[path], equal_nan=True), path
    counts = totals(survey(bag))["topics"]
    for topic in ("motor/reports", "motor/command", "joint_states", "current_pose", "wrench", "safety_state"):
        assert counts.get(f"/{namespace}/{topic}"), counts
    rosbags = pytest.importorskip("rosbags.highlevel")
    with rosbags.AnyReader([bag]) as reader:
        assert {c.topic for c in reader.connections} == set(counts)
        joints = [c for c in reader.connections if c.topic.endswith("joint_states")]
        poses = [reader.deserialize(raw, c.msgtype).position for c, _, raw in reader.messages(joints)]
        assert np.isfinite(poses).all() and len(poses[0]) == 7


# With a made-up arm: every fault at will


class Arm:
    """Publishes tick reports and pictures from a thread of the test's node."""

    def __init__(self, here: Node, pictures: bool = True) -> None:
        self.arm, self.camera, self._here = MadeUpArm("peg_insertion"), MadeUpCamera(), here
        self.pictures, self.picture_age_s = pictures, 0.0
        self._reports = here.create_publisher(*_reports_topic())
        self._images = here.create_publisher(Image, "camera/image_raw", 30)
        self._goal = publish_goal(here, self.arm.goal)
        self._turn = self._skipped = 0
        self._timer = here.create_timer(0.005, self._turn_once)

    def _turn_once(self) -> None:
        self._turn += 1
        skipped, self._skipped = self._skipped, 0
        self.arm.next_tick += skipped
        self._reports.publish(pack("report", self.arm.batch(time.monotonic_ns()), 1))
        if self.pictures and self._turn % 7 == 0:
            stamp_ns = time.time_ns() - round(self.picture_age_s * 1e9)
            message = self.camera.fill(self._here.get_clock().now().to_msg())
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
            self._images.publish(message)

    def skip(self, ticks: int) -> None:
        self._skipped = ticks  # the timer's thread leaves them out


def _reports_topic() -> tuple[Any, str, Any]:
    from std_msgs.msg import UInt8MultiArray

    return UInt8MultiArray, "motor/reports", qos.streams()


@pytest.fixture
def seeing(start_node: StartNode, here: Node, tmp_path: Path) -> tuple[NodeProcess, Arm]:
    """A recorder with a camera, and what it listens to."""
    arm = Arm(here)
    recorder = start_node(RECORDER, {"out": tmp_path / "out", **SIGHT})
    recorder.wait_for("records into")
    return recorder, arm


def test_pictures_come_with_their_age_and_a_stale_one_refuses_the_episode(
    seeing: tuple[NodeProcess, Arm], ask: Ask, tmp_path: Path
) -> None:
    recorder, arm = seeing
    arm.picture_age_s = 0.02
    start_when_ready(ask)
    time.sleep(0.7)
    ok, words = ask("failure")
    assert ok and "no success" in words, words
    start_when_ready(ask)
    arm.pictures = False
    time.sleep(2.5)
    ok, words = ask("success")
    assert not ok and "the picture of camera side is 1." in words and "record the episode again" in words
    ok, words = ask("status")
    assert json.loads(words)["refused"] == 1 and json.loads(words)["episodes"] == 1
    assert recorder.end() == 0
    with EpisodeStore.open(tmp_path / "out" / "episodes.zarr") as store:
        assert len(store) == 1 and not store[0].success
        ages_s, pictures = store[0].extras["image_age_s_side"], store[0].observations["image_side"]
    assert (ages_s >= 0.0).all() and (ages_s < 1.0).all() and ages_s.max() > 0.0
    assert pictures.shape[1:] == (64, 64, 3) and pictures.std() > 10.0


def test_keys_discard_lost_reports_and_what_cannot_begin(
    seeing: tuple[NodeProcess, Arm], here: Node, ask: Ask, tmp_path: Path
) -> None:
    recorder, arm = seeing
    keys, states = here.create_publisher(String, "recorder/key", 10), []
    here.create_subscription(String, "recorder/state", lambda m: states.append(json.loads(m.data)), qos.latched())
    wait_until(lambda: keys.get_subscription_count() and states, "discovery")  # an episode ends by itself after 5 s
    assert ask("success") == (False, "no episode is in progress (no episode yet)")
    start_when_ready(ask)
    assert "an episode is in progress: end it by" in ask("start")[1]
    wait_until(lambda: states[-1]["recording"], "its beginning")
    keys.publish(String(data="d"))
    wait_until(lambda: states[-1]["last"] == "episode 0 discarded", "the key")
    keys.publish(String(data="start"))
    wait_until(lambda: states[-1]["recording"], "the key")
    arm.skip(50)
    wait_until(lambda: "50 tick reports of one decision are missing" in states[-1]["last"], "the gap")
    assert states[-1]["episodes"] == 0 and not states[-1]["recording"]
    keys.publish(String(data="x"))
    recorder.wait_for("unknown key 'x'")
    assert recorder.end() == 0
    (bag,) = (tmp_path / "out" / "bags").iterdir()
    assert audit(bag)["lost_reports"] == 50, "that many were never published"


def test_without_reports_or_goal_no_episode_begins(start_node: StartNode, here: Node, ask: Ask, tmp_path: Path) -> None:
    recorder = start_node(RECORDER, {"out": tmp_path / "out", "bags": False})
    recorder.wait_for("records into")
    assert "start the controller node in this namespace first" in ask("start")[1]
    reports, arm = here.create_publisher(*_reports_topic()), MadeUpArm("peg_insertion")
    here.create_timer(0.005, lambda: reports.publish(pack("report", arm.batch(time.monotonic_ns()), 1)))
    wait_until(lambda: "publishes the observed one on recorder/goal" in ask("start")[1], "the reports to be heard")
    assert recorder.end() == 0


def test_a_full_disk_stops_the_recording_and_what_came_before_is_readable(
    start_node: StartNode, here: Node, ask: Ask, tmp_path: Path
) -> None:
    arm = Arm(here)
    recorder = start_node(RECORDER, {"out": tmp_path / "out", **SIGHT})
    recorder.wait_for("records into")
    start_when_ready(ask)
    time.sleep(1.0)
    ok, words = ask("success")
    assert ok, words
    start_when_ready(ask)
    limit = 40_000_000
    resource.prlimit(recorder.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    recorder.wait_for("disk full while recording to", 60.0)
    ok, words = ask("start")
    assert not ok and "free some space, start the recorder again" in words
    status = json.loads(ask("status")[1])
    assert status["problem"] and status["episodes"] == 1 and status["refused"] == 1
    assert recorder.process.poll() is None and "Traceback" not in recorder.said()
    assert arm.arm.next_tick > 0 and recorder.end() == 0
    (bag,) = (tmp_path / "out" / "bags").iterdir()
    repair_bag(bag)
    assert audit(bag)["reports"] > 1000 and audit(bag)["lost_reports"] == 0
    with EpisodeStore.open(tmp_path / "out" / "episodes.zarr") as store:
        assert len(store) == 1 and store[0].success


def test_a_kill_loses_at_most_the_episode_in_progress(
    start_node: StartNode, here: Node, ask: Ask, tmp_path: Path
) -> None:
    arm = Arm(here)
    rng, lost_ticks = np.random.default_rng(0), []
    for number in range(3):
        recorder = start_node(RECORDER, {"out": tmp_path / "out", **SIGHT})
        recorder.wait_for("records into")
        start_when_ready(ask, patience_s=2.0)
        time.sleep(0.6)
        ok, words = ask("success")
        assert ok and words.startswith(f"episode {number} stored"), words
        start_when_ready(ask, patience_s=2.0)
        time.sleep(rng.uniform(0.1, 1.5))
        tick = arm.arm.next_tick
        recorder.process.send_signal(signal.SIGKILL)
        recorder.process.wait()
        bag = max((tmp_path / "out" / "bags").iterdir(), key=lambda path: path.stat().st_mtime)
        found = recorded_reports(bag)["tick"]
        assert np.diff(found).tolist() == [1] * (len(found) - 1)
        lost_ticks.append(tick - found[-1])
        repair_bag(bag)
        assert len(recorded_reports(bag)) == len(found) and survey(bag)[0].complete
    with EpisodeStore.open(tmp_path / "out" / "episodes.zarr", writable=True) as store:
        assert [episode.success for episode in store] == [True] * 3
    # What was heard since the last flush, and what a recorder that had stalled had not heard yet.
    assert min(lost_ticks) < 1500 and max(lost_ticks) < 4000, lost_ticks


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cameras": "[roof=camera/image_raw]"}, "has the cameras side, wrist, got roof"),
        ({"cameras": "[nonsense]"}, "cameras needs entries such as side=camera/side/image_raw"),
        ({"task": "nosuch"}, "nosuch"),
        ({"out": "/proc/nowhere"}, "cannot write to /proc/nowhere"),
    ],
)
def test_wrong_settings_end_it_in_one_line(start_node: StartNode, settings: dict[str, Any], words: str) -> None:
    node = start_node(RECORDER, settings)
    assert node.process.wait(60.0) == 2
    assert words in node.said() and "Traceback" not in node.said()
