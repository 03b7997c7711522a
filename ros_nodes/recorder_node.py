"""Records an arm: all topics into bags, and episodes, cut into the task's decisions, into an episode store.

Services (std_srvs/Trigger) `recorder/start`, `success`, `failure`, `discard`, `status`; the same words, or their first
letters, on the topic `recorder/key` (std_msgs/String). `recorder/state` tells what is going on, as JSON. This node only
listens to the arm: whatever becomes of it, the arm goes on as it is.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from data.bag_metadata import METADATA
from data.bags import BagWriter
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.tasks.registry import make_task
from robot_rl.training.reported_episode import reported_spec
from ros_nodes import qos
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.recorder_config import RecorderConfig
from ros_nodes.recorder_desk import Desk
from ros_nodes.recorder_ears import Ears, Heard
from ros_nodes.recorder_images import Shelf
from ros_nodes.recorder_threads import BagThread, Worker
from ros_nodes.recorder_words import NOTHING, bag_saying, episodes_saying, figures_of, state_text
from ros_nodes.spinning import run_node

WORDS = ("start", "success", "failure", "discard")
REPORTS, GOAL = "motor/reports", "recorder/goal"
_ANSWER_S, _LAG_NS = 60.0, 1_000_000_000
_LOUD_S = 2.0
"""How often the log tells of messages that are being lost."""
_MB = 1_000_000


class Order:
    """Something that the desk is asked to do by another thread, and its answer."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._work, self.asked_ns = work, time.monotonic_ns()
        self._done = threading.Event()
        self.ok, self.words = False, "the recorder did not answer: its disk may be slow, see recorder/state"

    def carry_out(self) -> None:
        """Called by the desk's thread."""
        try:
            self.ok, self.words = True, self._work()
        except UserError as error:
            self.ok, self.words = False, " ".join(str(error).split())
        self._done.set()

    def wait(self) -> tuple[bool, str]:
        """Returns whether it was done, and words."""
        self._done.wait(_ANSWER_S)
        return self.ok, self.words


class RecorderNode(ManagedNode[RecorderConfig]):
    """Bags and episodes of one arm."""

    config_class = RecorderConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder", **options)
        self.ears: Ears | None = None
        self.bag: BagThread | None = None
        self.desk: Desk | None = None
        self._store: EpisodeStore | None = None
        self._problem: str | None = None
        self._orders: deque[Order] = deque()
        self._told, self._lost_told, self._loud_s = "", 0, 0.0

    # Lifecycle

    def setup(self) -> None:
        """Checks the configuration; makes services and topics."""
        config = self.config
        self.task = make_task(config.task, config.variant, config.task_config)
        self.cameras = config.camera_topics()
        settings = {"variant": config.variant, "task_config": config.task_config, "source": "recorder"}
        self.spec = reported_spec(self.task, config.robot, tuple(self.cameras), settings)
        for word in (*WORDS, "status"):
            self.create_service(Trigger, f"recorder/{word}", self._server(word))
        self.create_subscription(String, "recorder/key", self._take_key, 10)
        self._state = self.create_publisher(String, "recorder/state", qos.latched())
        self._reports = self.diagnostics.watch("tick reports")
        self._pictures = {name: self.diagnostics.watch(f"pictures of {name}") for name in self.cameras}
        self.diagnostics.say(lambda: bag_saying(self.figures()))
        self.diagnostics.say(lambda: episodes_saying(self.figures()))
        self.create_timer(0.2, self._tell)

    def start(self) -> None:
        """Opens store and bag, and listens from now on."""
        config, out = self.config, Path(self.config.out).expanduser()
        described = {camera.name: camera for camera in self.task.scene().cameras}
        self._store = EpisodeStore.create_or_open(_made(out) / "episodes.zarr", self.spec)
        try:
            writer = BagWriter(_new_bag(out / "bags"), flush_s=config.flush_s) if config.bags else None
        except UserError:
            self._store.close()
            raise
        self._say_unclosed(out / "bags", writer)
        self._problem, self._told, self._lost_told = None, "", 0
        shelves = {name: Shelf(described[name], config.image_age_limit_s) for name in self.cameras}
        notes = {"bag": f"bags/{writer.folder.name}" if writer else None}
        self.desk = Desk(self.task, self._store, shelves, notes)
        most_bytes = round(config.queue_mb * _MB)
        self._episodes: Worker[Any] = Worker("episodes", most_bytes, self._work_off, self._carry_out)
        topics = list(dict.fromkeys([*config.topics, REPORTS, GOAL, *self.cameras.values()]))
        self._names = {str(self.resolve_topic_name(topic)): topic for topic in topics}
        self._cameras_of = {topic: name for name, topic in self.cameras.items()}
        self.ears = Ears(self.get_namespace(), topics, self._hear)
        self.bag = BagThread(writer, self.ears.ears, most_bytes, self._disk_full) if writer else None
        self.ears.listen()
        self.get_logger().info(f"records into {out}")

    def halt(self) -> None:
        """Listens no longer; what was heard is written, an episode in progress is dropped."""
        ears, self.ears = self.ears, None
        if ears is None:
            return
        ears.close()
        if not self._episodes.stop():
            self.get_logger().error("the store did not take all episodes in time")
        if self.desk is not None and self.desk.recording:
            self.get_logger().warning(f"episode {self.desk.count} was in progress and is dropped")
        if self.bag is not None:
            self.bag.close()
        if self._store is not None:
            self._store.close()
        self._tell()
        self.get_logger().info(f"in the end: {json.dumps(self.figures())}")

    # From the thread that hears

    def _hear(self, heard: Heard) -> None:
        topic = self._names[heard.topic]
        if self.bag is not None and self._problem is None:
            self.bag.put(heard)
        camera = self._cameras_of.get(topic)
        if topic == REPORTS:
            self._reports.tick()
        elif camera is not None:
            self._pictures[camera].tick()
        elif topic != GOAL:
            return
        self._episodes.queue.put(heard, len(heard.data) + 200)

    # In the thread of the episodes

    def _work_off(self, item: Heard | Order) -> None:
        desk = self.desk
        if desk is None:
            return
        if isinstance(item, Order):
            self._orders.append(item)
            return
        topic = self._names[item.topic]
        if topic == REPORTS:
            desk.take_reports(item)
        elif topic == GOAL:
            desk.take_goal(item)
        else:
            desk.take_picture(self._cameras_of[topic], item)

    def _carry_out(self) -> None:
        """Orders wait until what happened before them was heard: a key ends an episode where it was pressed."""
        desk = self.desk
        while self._orders and desk is not None:
            order = self._orders[0]
            if desk.heard_until_ns < order.asked_ns and time.monotonic_ns() - order.asked_ns < _LAG_NS:
                return
            self._orders.popleft().carry_out()

    # In the thread of the bag

    def _disk_full(self, why: str) -> None:
        self._problem = why
        self.get_logger().error(why)
        desk = self.desk
        if desk is not None:
            self._episodes.queue.put(Order(lambda: desk.block(why)), 0)

    # Services and keys

    def ask(self, word: str) -> tuple[bool, str]:
        """Does what one of WORDS, or `status`, says; returns whether it was done, and words."""
        desk = self.desk
        if self.ears is None or desk is None:
            return False, "the recorder is not active: configure and activate it first"
        if word == "status":
            return True, json.dumps(self.figures())
        work = {
            "start": desk.start,
            "success": lambda: desk.end(True),
            "failure": lambda: desk.end(False),
            "discard": desk.discard,
        }[word]
        order = Order(work)
        if not self._episodes.queue.put(order, 0):
            return False, "the recorder cannot keep up: its queue is full, see recorder/state"
        ok, words = order.wait()
        if ok:
            self.get_logger().info(words)
        else:
            self.get_logger().warning(words)
        self._tell()
        return ok, words

    def _server(self, word: str) -> Any:
        def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = self.ask(word)
            return response

        return serve

    def _take_key(self, message: String) -> None:
        words = [word for word in WORDS if message.data.strip().lower() in (word, {"start": "r"}.get(word, word[0]))]
        if words:
            self.ask(words[0])
        else:
            self.get_logger().warning(f"unknown key {message.data[:20]!r}: expected one of {', '.join(WORDS)}")

    # What it tells

    def figures(self) -> dict[str, Any]:
        """Returns the state of the recorder as JSON values; of the last session while it is not active."""
        if self.desk is None:
            return NOTHING
        return figures_of(self.desk, self.bag, self.ears, self._episodes.queue, self._problem)

    def _tell(self) -> None:
        """Publishes the state when it changed, says at once when something was lost, ends with a broken thread."""
        figures = self.figures()
        if figures["lost_in_queues"] > self._lost_told and time.monotonic() - self._loud_s > _LOUD_S:
            self._lost_told, self._loud_s = figures["lost_in_queues"], time.monotonic()
            self.get_logger().error(
                f"{self._lost_told} messages were lost so far: machine or disk are too slow for what is recorded"
            )
        text = state_text(figures)
        if text != self._told:
            self._told = text
            self._state.publish(String(data=text))
        workers = [self._episodes, *([self.bag.worker] if self.bag else [])] if self.desk else []
        if any(worker.broken for worker in workers):
            self.failure = "a thread of the recorder was ended by an error, see above; what was written is readable"

    def _say_unclosed(self, bags: Path, mine: BagWriter | None) -> None:
        for folder in sorted(bags.glob("*/")):
            if not (folder / METADATA).exists() and (mine is None or folder != mine.folder):
                self.get_logger().warning(f"{folder} was not closed, complete it with: robot-rl data repair {folder}")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): choose another out") from error
    return folder


def _new_bag(bags: Path) -> Path:
    """Returns a folder that is not there yet, named by the time."""
    name, number = time.strftime("%Y-%m-%dT%H-%M-%S"), 0
    while (bags / (f"{name}-{number}" if number else name)).exists():
        number += 1
    return bags / (f"{name}-{number}" if number else name)


def main() -> int:
    """`python -m ros_nodes.recorder_node --ros-args -p out:=runs/recorded`."""
    return run_node(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
