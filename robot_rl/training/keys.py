"""Keys during training: p pauses, q stops and saves, s and f mark the episode as success or failure."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

HELP = "keys: p pause, q stop and save, s mark success, f mark failure"


@dataclass
class Pressed:
    """What was asked since the last look."""

    pause: bool = False
    stop: bool = False
    mark: bool | None = None
    """True success, False failure, None no mark."""


class Keys:
    """Reads single keys from a terminal without waiting; where standard input is no terminal there are no keys.

    descriptor: a terminal's file descriptor; None means standard input, -1 no keys at all.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = _standard_input() if descriptor is None else descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        if _in_foreground(self._descriptor):
            self._saved = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved is not None and _in_foreground(self._descriptor):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)
        self._saved = None

    @property
    def available(self) -> bool:
        """Whether somebody could press one."""
        return self._saved is not None

    def poll(self, wait_s: float = 0.0) -> Pressed:
        """Returns what was pressed; waits at most wait_s for a first key."""
        pressed = Pressed()
        for key in self.typed(wait_s):
            if key == "p":
                pressed.pause = not pressed.pause
            elif key == "q":
                pressed.stop = True
            elif key in "sf":
                pressed.mark = key == "s"
        return pressed

    def typed(self, wait_s: float = 0.0) -> str:
        """Returns all keys since the last look, as they were typed; waits at most wait_s for a first one."""
        text = ""
        while self._saved is not None and select.select([self._descriptor], [], [], wait_s)[0]:
            wait_s = 0.0
            text += self._read()
        return text

    def poll_and_pause(self, interrupted: Callable[[], bool]) -> tuple[Pressed, float]:
        """Returns what was pressed and for how long a pause lasted [s], after its end and with what was pressed in it.

        A pause lies between two decisions: the motor chain freezes and holds by itself. It ends with p or q, or when
        `interrupted` says so.
        """
        pressed, began = self.poll(), time.monotonic()
        paused = pressed.pause
        while paused and not pressed.stop and not interrupted() and self.available:
            more = self.poll(0.2)
            pressed.stop = more.stop
            pressed.mark = pressed.mark if more.mark is None else more.mark
            paused = not more.pause
        return pressed, time.monotonic() - began if pressed.pause else 0.0

    def _read(self) -> str:
        """Returns what is there; a terminal that was closed says so by an error or by nothing: no more keys then."""
        if not _in_foreground(self._descriptor):
            return self._gone()
        try:
            text = os.read(self._descriptor, 64)
        except OSError:
            return self._gone()
        return text.decode(errors="ignore") if text else self._gone()

    def _gone(self) -> str:
        self._saved = None
        return ""


def _standard_input() -> int:
    return sys.stdin.fileno() if sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty() else -1


def _in_foreground(descriptor: int) -> bool:
    """Whether this is a terminal that belongs to us now: a job in the background would be stopped for touching it."""
    try:
        return descriptor >= 0 and os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # not our controlling terminal, such as one opened by its name: nobody else reads from it
        return os.isatty(descriptor)
