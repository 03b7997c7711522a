"""Whole stand-ins for people and input devices: recorded event streams, a scripted hand, a link that only listens."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from evdev import ecodes
from evdev.eventio import EventIO
from numpy.typing import NDArray

from robot_rl.teleop.devices.base import Button, DeviceLost, DeviceState

INPUT_EVENT = struct.Struct("llHHi")
"""struct input_event of a 64-bit kernel: seconds, microseconds, type, code, value."""


def packet(*events: tuple[int, int, int]) -> bytes:
    """Events (type, code, value) and the SYN_REPORT that ends them, as the kernel writes them."""
    ended = (*events, (ecodes.EV_SYN, ecodes.SYN_REPORT, 0))
    return b"".join(INPUT_EVENT.pack(0, 0, kind, code, value) for kind, code, value in ended)


def key(code: int, down: bool = True) -> tuple[int, int, int]:
    return ecodes.EV_KEY, code, int(down)


def axis(code: int, value: int) -> tuple[int, int, int]:
    return ecodes.EV_ABS, code, value


def moved(code: int, value: int) -> tuple[int, int, int]:
    return ecodes.EV_REL, code, value


class RecordedDevice(EventIO):
    """A device whose events come from a pipe, read by evdev's own parser; the rest is what the kernel would answer."""

    name = "Recorded Pad"

    def __init__(self, ranges: dict[int, tuple[int, int]]) -> None:
        self.fd, self._writer = os.pipe()
        os.set_blocking(self.fd, False)
        self.ranges, self.values, self.down = ranges, dict.fromkeys(ranges, 0), list[int]()

    def play(self, *packets: bytes) -> None:
        os.write(self._writer, b"".join(packets))

    def unplug(self) -> None:
        os.close(self._writer)

    def active_keys(self) -> list[int]:
        return self.down

    def absinfo(self, axis_num: int) -> Any:
        low, high = self.ranges[axis_num]
        return SimpleNamespace(min=low, max=high, value=self.values[axis_num])

    def close(self) -> None:
        os.close(self.fd)


@dataclass
class Hand:
    """A Device that says what it is told to: `state` at each look, presses once."""

    axes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(6))
    held: bool = False
    gone: bool = False
    name: str = "hand"
    looks: int = 0
    pressed: list[Button] = field(default_factory=list)
    script: Any = None
    """Called with this hand before each look."""

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def let_go(self) -> None:
        pass

    def poll(self, now_ns: int) -> DeviceState:
        self.looks += 1
        if self.script is not None:
            self.script(self)
        if self.gone:
            raise DeviceLost(self.name)
        pressed, self.pressed = tuple(self.pressed), []
        return DeviceState(now_ns, np.array(self.axes, float), self.held, pressed)

    def press(self, *buttons: Button) -> None:
        self.pressed += buttons


def push(values: Iterable[float]) -> NDArray[np.float64]:
    """Axes (6,) of a stick, the rest at 0."""
    axes = np.zeros(6)
    given = list(values)
    axes[: len(given)] = given
    return axes
