"""Where what is heard is written: a thread for the bag, one for the episodes, each behind a queue with a limit.

The thread that hears never waits. What does not fit into a queue is lost, counted, and told at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from data.bags import BagTopic, BagWriter
from data.errors import UserError
from ros_nodes.message_definitions import begins_with_header, definition
from ros_nodes.recorder_ears import Ear, Heard, told_profile
from ros_nodes.recorder_images import header_stamp_ns

T = TypeVar("T")
_IDLE_S = 0.1


class BoundedQueue(Generic[T]):
    """First in, first out, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._changed = threading.Condition()
        self.size_bytes = self.peak_bytes = self.lost = 0

    def put(self, item: T, size_bytes: int) -> bool:
        """Adds an item; False, and one more in `lost`, where it does not fit."""
        with self._changed:
            if self.size_bytes + size_bytes > self._most_bytes:
                self.lost += 1
                return False
            self._items.append((item, size_bytes))
            self.size_bytes += size_bytes
            self.peak_bytes = max(self.peak_bytes, self.size_bytes)
            self._changed.notify()
            return True

    def get(self, timeout_s: float) -> T | None:
        """Returns the oldest item; None if none comes in time."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout_s)
            if not self._items:
                return None
            item, size_bytes = self._items.popleft()
            self.size_bytes -= size_bytes
            return item


class Worker(Generic[T]):
    """A thread that works its queue off, and has time to itself now and then."""

    def __init__(self, name: str, most_bytes: int, work: Callable[[T], None], idle: Callable[[], None]) -> None:
        self.queue: BoundedQueue[T] = BoundedQueue(most_bytes)
        self._work, self._idle, self._stopping = work, idle, threading.Event()
        self.broken = False
        """Whether an error that nobody expected ended the thread."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 60.0) -> bool:
        """Works off what waits and ends; tells whether it did in time."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException:
            self.broken = True  # the trace is printed by threading
            raise

    def _loop(self) -> None:
        while True:
            item = self.queue.get(_IDLE_S)
            if item is not None:
                self._work(item)
            self._idle()
            if item is None and self._stopping.is_set():
                return


class BagThread:
    """Writes what is heard into a bag."""

    def __init__(self, writer: BagWriter, ears: dict[str, Ear], most_bytes: int, fail: Callable[[str], None]) -> None:
        """ears: tell type and quality of service of a topic. fail: called by the thread when nothing can be written."""
        self.writer, self._ears, self._fail = writer, ears, fail
        self._numbers: dict[str, tuple[int, bool]] = {}
        self.worker: Worker[Heard] = Worker("bag", most_bytes, self._write, self._flush)

    def put(self, heard: Heard) -> bool:
        """Hands a message over; False where it is lost."""
        return self.worker.queue.put(heard, len(heard.data) + 200)

    def close(self) -> None:
        """Writes what waits and completes the bag; a bag that takes too long is left as a kill would leave it."""
        if self.worker.stop():
            self._try(self.writer.close)

    def _write(self, heard: Heard) -> None:
        number, stamped = self._numbers.get(heard.topic) or self._register(heard.topic)
        published_ns = header_stamp_ns(heard.data) if stamped and len(heard.data) >= 12 else heard.arrived_ns
        self._try(lambda: self.writer.write(number, heard.data, published_ns, heard.arrived_ns))

    def _register(self, topic: str) -> tuple[int, bool]:
        ear = self._ears[topic]
        described = BagTopic(topic, ear.kind, definition(ear.kind), (told_profile(ear.profile),))
        self._numbers[topic] = self.writer.add_topic(described), begins_with_header(ear.kind)
        return self._numbers[topic]

    def _flush(self) -> None:
        self._try(self.writer.flush)

    def _try(self, work: Any) -> None:
        if self.writer.problem is not None:
            return
        try:
            work()
        except UserError as error:
            self._fail(str(error))
