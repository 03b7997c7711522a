"""Rate, jitter and staleness of what a node receives or does, on /diagnostics.

A callback is wrapped once, or a loop says `tick()`; the rest is worked out here, once a second (after crisp_py).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

F = TypeVar("F", bound=Callable[..., Any])
Saying = tuple[str, bytes, str, dict[str, Any]]
"""Name, level, words, values."""
OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


class Watch:
    """Times of one recurring event."""

    def __init__(self, name: str, expected_hz: float | None = None, stale_s: float = 1.0) -> None:
        """expected_hz: None where the rate is up to others. stale_s: silence after which it counts as stale [s]."""
        self.name, self.expected_hz, self.stale_s = name, expected_hz, stale_s
        self._times: deque[float] = deque(maxlen=1000)
        self.total = 0

    def tick(self) -> None:
        """It happened."""
        self._times.append(time.monotonic())
        self.total += 1

    def wrap(self, callback: F) -> F:
        """Returns the callback, which says `tick` first."""

        @wraps(callback)
        def watched(*arguments: Any) -> Any:
            self.tick()
            return callback(*arguments)

        return watched  # type: ignore[return-value]

    def figures(self, window_s: float = 5.0) -> dict[str, float]:
        """Returns `rate_hz`, `jitter_ms` (standard deviation of intervals), `age_s`, `total`; NaN without events."""
        now_s = time.monotonic()
        times = np.array([at for at in list(self._times) if now_s - at < window_s])
        age_s = now_s - self._times[-1] if self._times else math.nan
        if len(times) < 2:
            return {"rate_hz": 0.0, "jitter_ms": math.nan, "age_s": age_s, "total": self.total}
        intervals = np.diff(times)
        rate_hz = len(intervals) / max(float(times[-1] - times[0]), 1e-9)
        return {"rate_hz": rate_hz, "jitter_ms": 1e3 * float(intervals.std()), "age_s": age_s, "total": self.total}

    def judge(self) -> tuple[bytes, str]:
        """Returns level and words."""
        figures = self.figures()
        if self.total == 0:
            return (OK, "nothing came yet") if self.expected_hz is None else (STALE, "nothing came yet")
        if self.expected_hz is not None and figures["age_s"] > self.stale_s:
            return STALE, f"nothing for {figures['age_s']:.1f} s"
        if self.expected_hz is not None and figures["rate_hz"] < 0.8 * self.expected_hz:
            return WARN, f"{figures['rate_hz']:.1f} Hz of {self.expected_hz:g} Hz"
        return OK, f"{figures['rate_hz']:.1f} Hz"


class Diagnostics:
    """Publishes the watches of a node, and whatever else it has to say, once a second."""

    def __init__(self, node: Node, hardware: str = "") -> None:
        self._node, self._hardware = node, hardware
        self._watches: list[Watch] = []
        self._sayings: list[Callable[[], Saying]] = []
        self._marked: tuple[int, int] | None = None
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(1.0, self.publish)

    def watch(self, name: str, expected_hz: float | None = None, stale_s: float = 1.0) -> Watch:
        """Returns a new watch."""
        watch = Watch(name, expected_hz, stale_s)
        self._watches.append(watch)
        return watch

    def say(self, saying: Callable[[], Saying]) -> None:
        """Adds something to say: a function that returns name, level, words and values."""
        self._sayings.append(saying)

    def mark(self) -> None:
        """What is added from now on goes with `forget`."""
        self._marked = len(self._watches), len(self._sayings)

    def forget(self) -> None:
        """Takes away what was added since `mark`; harmless when called again."""
        if self._marked is not None:
            watches, sayings = self._marked
            del self._watches[watches:], self._sayings[sayings:]

    def publish(self) -> None:
        """Publishes now."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for watch in self._watches:
            message.status.append(self._status(watch.name, *watch.judge(), watch.figures()))
        for saying in self._sayings:
            message.status.append(self._status(*saying()))
        self._publisher.publish(message)

    def _status(self, name: str, level: bytes, words: str, values: dict[str, Any]) -> DiagnosticStatus:
        told = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
        full = f"{self._node.get_fully_qualified_name().lstrip('/')}: {name}"
        return DiagnosticStatus(level=level, name=full, message=words, hardware_id=self._hardware, values=told)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
