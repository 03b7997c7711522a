"""Keys during training: p pauses, q stops and saves, s and f mark the episode as success or failure."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
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
    """Reads single keys from a terminal without waiting; where standard input is no terminal there are no keys."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None and sys.stdin is not None and sys.stdin.isatty() else descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        if self._descriptor is not None and os.isatty(self._descriptor):
            self._saved = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._saved is not None and self._descriptor is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)
            self._saved = None

    @property
    def available(self) -> bool:
        """Whether somebody could press one."""
        return self._saved is not None

    def poll(self, wait_s: float = 0.0) -> Pressed:
        """Returns what was pressed; waits at most wait_s for a first key."""
        pressed = Pressed()
        if self._saved is None or self._descriptor is None:
            return pressed
        while select.select([self._descriptor], [], [], wait_s)[0]:
            wait_s = 0.0
            for key in os.read(self._descriptor, 64).decode(errors="ignore"):
                if key == "p":
                    pressed.pause = not pressed.pause
                elif key == "q":
                    pressed.stop = True
                elif key in "sf":
                    pressed.mark = key == "s"
        return pressed
