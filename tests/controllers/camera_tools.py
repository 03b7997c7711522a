"""A camera for tests: a whole implementation of the protocol, whose frames and faults a test decides."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from controllers.cameras.base import CameraError, CameraLost, DeviceInfo, Frame, Intrinsics, NoFrame

LENS = Intrinsics(500.0, 500.0, 3.5, 2.5)
PERIOD_NS = 33_333_333


def picture(seed: int, height_px: int = 6, width_px: int = 8) -> NDArray[np.uint8]:
    """Noise: no two seeds give the same."""
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def frame(number: int, stamp_ns: int, color: NDArray[np.uint8] | None = None) -> Frame:
    """A frame that arrived 5 ms after its exposure."""
    return Frame(picture(number) if color is None else color, number, stamp_ns, stamp_ns + 5_000_000, LENS)


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Waits for a condition, and fails where it does not come true."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.002)


class HandCamera:
    """Gives the frames, or raises the errors, that a test puts into it."""

    def __init__(self, name: str = "hand", rate_hz: float = 30.0) -> None:
        self.name, self.rate_hz = name, rate_hz
        self.starts = self.closes = 0
        self.refusals: list[CameraError] = []
        self._waiting: queue.Queue[Frame | CameraError] = queue.Queue()
        self._numbers = itertools.count(1)

    @property
    def description(self) -> DeviceInfo:
        return DeviceInfo(self.name, "by hand", "0")

    @property
    def alarms(self) -> tuple[str, ...]:
        return ()

    def start(self) -> None:
        self.starts += 1
        if self.refusals:
            raise self.refusals.pop(0)

    def read(self, timeout_s: float) -> Frame:
        try:
            item = self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            raise NoFrame(f"camera {self.name} gave no frame") from None
        if isinstance(item, CameraError):
            raise item
        return item

    def close(self) -> None:
        self.closes += 1

    def show(self, color: NDArray[np.uint8] | None = None, age_s: float = 0.0) -> None:
        """Exposes a picture, noise by default, age_s ago."""
        self._waiting.put(frame(next(self._numbers), time.monotonic_ns() - round(age_s * 1e9), color))

    def unplug(self) -> None:
        """The next read finds it gone."""
        self._waiting.put(CameraLost(f"camera {self.name} was unplugged: plug it in again"))

    def fail(self, error: CameraError) -> None:
        """The next read raises this."""
        self._waiting.put(error)
