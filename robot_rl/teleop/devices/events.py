"""What gamepad and SpaceMouse share: a Linux input device, read event by event with the library evdev.

Kernel documentation: Documentation/input/event-codes.rst. Events come in packets that end with SYN_REPORT. If they were
not fetched in time the kernel drops some and says SYN_DROPPED: what follows up to the next SYN_REPORT is then passed
over and the state read anew.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from evdev import ecodes

from robot_rl.teleop.devices.base import DeviceLost


class Events(Protocol):
    """The part of evdev.InputDevice that is used here."""

    name: str
    fd: int

    def read(self) -> Iterable[Any]:
        """Returns the events that are there; each has type, code and value."""

    def active_keys(self) -> list[int]:
        """Returns the codes of the keys that are down."""

    def absinfo(self, axis_num: int) -> Any:
        """Returns value, min and max of an absolute axis."""

    def close(self) -> None:
        """Gives the device back."""


class EventReader:
    """Follows keys and axes of one device by its events."""

    def __init__(self, events: Events, axes: Iterable[int]) -> None:
        """axes: codes of the absolute axes that are followed."""
        self.events, self._codes = events, tuple(axes)
        self.keys: set[int] = set()
        """Codes of the keys that are down."""
        self.absolute: dict[int, float] = {}
        """Position of each absolute axis by its code, in [-1, 1] of its range."""
        self.relative: list[tuple[int, int]] = []
        """Code and value of the relative events since the last call of `read`."""
        self.went_down: list[int] = []
        """Codes of the keys that went down since the last call of `read`, in their order."""
        self._ranges = {code: events.absinfo(code) for code in self._codes}
        self._dropping = False
        self._waiter = select.poll()
        self._waiter.register(events.fd, select.POLLIN)
        self._read_state()

    def read(self) -> None:
        """Takes in what has come since the last call, without waiting. Raises DeviceLost when the device is gone."""
        self.went_down, self.relative = [], []
        try:
            while (found := self._waiter.poll(0)) and found[0][1] & select.POLLIN:
                for event in self.events.read():
                    self._take(event)
        except OSError as error:
            raise DeviceLost(self.events.name) from error
        if found and found[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            raise DeviceLost(self.events.name)

    def close(self) -> None:
        """Gives the device back; harmless when it is gone."""
        with suppress(OSError):
            self.events.close()

    def _take(self, event: Any) -> None:
        if event.type == ecodes.EV_SYN:
            if event.code == ecodes.SYN_DROPPED:
                self._dropping = True
            elif self._dropping and event.code == ecodes.SYN_REPORT:
                self._dropping = False
                self._read_state()
        elif self._dropping:
            return
        elif event.type == ecodes.EV_KEY and event.value != _AUTO_REPEAT:
            self._take_key(event.code, bool(event.value))
        elif event.type == ecodes.EV_ABS and event.code in self._ranges:
            self.absolute[event.code] = self._normalised(event.code, event.value)
        elif event.type == ecodes.EV_REL:
            self.relative.append((event.code, event.value))

    def _take_key(self, code: int, down: bool) -> None:
        if down:
            self.keys.add(code)
            self.went_down.append(code)
        else:
            self.keys.discard(code)

    def _read_state(self) -> None:
        """Asks the device itself; presses that were lost with dropped events stay lost."""
        self.keys = set(self.events.active_keys())
        for code in self._codes:
            self.absolute[code] = self._normalised(code, self.events.absinfo(code).value)

    def _normalised(self, code: int, value: int) -> float:
        found = self._ranges[code]
        half = 0.5 * (found.max - found.min)
        return 0.0 if half <= 0.0 else min(1.0, max(-1.0, (value - found.min) / half - 1.0))


_AUTO_REPEAT = 2
