"""Ctrl-C (and SIGTERM) as a wish that is granted at the next good moment."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSwitch:
    """While open, the first SIGINT or SIGTERM sets `pressed`; a second one raises KeyboardInterrupt at once.

    An interrupt in the midst of an update or of a write would leave half of it; a wish is looked at between two steps.
    Signals reach the main thread only: in another one this switch is never pressed.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.pressed = False
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        print("\nstopping: saving first (once more: at once, going back to the last checkpoint)", file=sys.stderr)
