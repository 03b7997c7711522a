"""The commanding process's end of a motor process behind topics: what controllers.link_side.Side asks for."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import String, UInt8MultiArray

from controllers.shared_memory.mailbox import record_bytes
from controllers.shared_memory.sides import MotorStatus
from controllers.types import REPORT
from data.errors import UserError
from ros_nodes import qos, status_text
from ros_nodes.beats import LINK
from ros_nodes.wire import BEAT, MalformedMessage, draw_sender, pack, unpack
from safety.supervision import Heartbeat


class TopicOutlet:
    """Records of one kind, published on one topic."""

    def __init__(self, node: Node, topic: str, kind: str, sender: int, profile: Any) -> None:
        self._kind, self._sender = kind, sender
        self._publisher = node.create_publisher(UInt8MultiArray, topic, profile)

    def publish(self, record: Any) -> None:
        """Publishes a 0-d record array."""
        self._publisher.publish(pack(self._kind, record, self._sender))

    @property
    def readers(self) -> int:
        """Returns how many subscribers were found so far."""
        return int(self._publisher.get_subscription_count())


class TopicReports:
    """Tick reports as they arrive, in the order of their ticks; gaps and repetitions are counted."""

    def __init__(self, capacity: int = 8192) -> None:
        self._lock = threading.Lock()
        self._parts: list[NDArray[Any]] = []
        self._newest: NDArray[Any] | None = None
        self._waiting = 0
        self._capacity = capacity
        self.written = 0
        self.lost = 0
        self.malformed = 0
        self.same_clock = True

    def receive(self, message: UInt8MultiArray) -> None:
        """Takes a message in; called by the executor's thread."""
        try:
            parcel = unpack("report", message)
        except MalformedMessage:
            self.malformed += 1
            return
        self.same_clock = parcel.same_clock
        with self._lock:
            self._add(parcel.records)

    def _add(self, records: NDArray[Any]) -> None:
        if self._newest is not None:
            last = int(self._newest["tick"][0])
            first = int(records["tick"][0])
            if first <= last and int(records["tick"][-1]) > last:  # part of it came before
                records = records[records["tick"] > last]
            elif first <= last - 1000:  # the motor process started over
                pass
            elif first <= last:
                return
            else:
                self.lost += first - last - 1
        self.lost += int(np.diff(records["tick"]).sum()) - (len(records) - 1)
        self._newest = records[-1:].copy()
        self.written += len(records)
        self._parts.append(records)
        self._waiting += len(records)
        while self._waiting > self._capacity:
            gone = self._parts.pop(0)
            self._waiting -= len(gone)
            self.lost += len(gone)

    @property
    def waiting(self) -> int:
        """Returns how many came since the last `drain` or `skip`."""
        return self._waiting

    def skip(self) -> None:
        """Passes over those that wait."""
        with self._lock:
            self._parts, self._waiting = [], 0

    def drain(self) -> NDArray[Any]:
        """Returns those that wait, REPORT (n,)."""
        with self._lock:
            parts, self._parts, self._waiting = self._parts, [], 0
        return np.concatenate(parts) if parts else np.zeros(0, REPORT)

    def newest(self) -> NDArray[Any] | None:
        """Returns the newest, REPORT (1,); None before the first."""
        return self._newest


class TopicAnswers:
    """Answers to this sender's requests."""

    def __init__(self, sender: int) -> None:
        self._sender = sender
        self._answers: list[NDArray[Any]] = []
        self.status: MotorStatus | None = None

    def receive(self, message: UInt8MultiArray) -> None:
        """Takes a message in; called by the executor's thread."""
        try:
            parcel = unpack("answer", message)
        except MalformedMessage:
            return
        if parcel.sender == self._sender:
            self._answers.append(parcel.records[-1:])

    def poll(self, out: memoryview) -> bool:
        """Copies the oldest answer that was not read yet to `out`; False if there is none."""
        if not self._answers:
            return False
        out[:] = record_bytes(self._answers.pop(0))
        return True


class TopicSide:
    """All topics of one motor process. `prefix`: of its topics, such as `motor`, within the node's namespace."""

    def __init__(self, node: Node, prefix: str = "motor") -> None:
        self.sender = draw_sender()
        self.commands = TopicOutlet(node, f"{prefix}/command", "command", self.sender, qos.targets())
        self.requests = TopicOutlet(node, f"{prefix}/request", "request", self.sender, qos.streams())
        self.critic = TopicOutlet(node, f"{prefix}/critic", "critic", self.sender, qos.streams())
        self._beats = TopicOutlet(node, f"{prefix}/beat", "beat", self.sender, qos.states())
        self.ring, self.answers = TopicReports(), TopicAnswers(self.sender)
        self._status: MotorStatus | None = None
        self._status_s, self.told = -np.inf, dict[str, Any]()
        node.create_subscription(UInt8MultiArray, f"{prefix}/reports", self.ring.receive, qos.streams())
        node.create_subscription(UInt8MultiArray, f"{prefix}/answer", self.answers.receive, qos.streams())
        node.create_subscription(String, f"{prefix}/status", self._take_status, qos.latched())

    def _take_status(self, message: String) -> None:
        try:
            self._status, self.told = status_text.from_text(message.data)
        except MalformedMessage:
            return
        self._status_s = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether somebody reads commands and requests, and both reports and a status came."""
        there = self.commands.readers > 0 and self.requests.readers > 0
        return there and self.ring.written > 0 and self._status is not None

    @property
    def status_age_s(self) -> float:
        """Returns the age of the newest status [s]."""
        return time.monotonic() - self._status_s

    def heartbeat(self, source: Heartbeat, now_ns: int) -> None:
        """Passes a source's sign of life on; 0 for one that is no longer in use."""
        beat = np.zeros((), BEAT)
        beat["source"], beat["stamp_ns"], beat["name"] = source, now_ns, LINK
        self._beats.publish(beat)

    def status(self) -> MotorStatus:
        """Returns the newest status. Raises UserError before the first."""
        if self._status is None:
            raise UserError("no status of a motor process came yet: start the controller node first")
        return self._status
