"""A sign of life that stops when the process stops, and tells afterwards that it had stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

BEAT_S = 0.02


class Pulse:
    """Calls `beat(now_ns, pid)` every 20 ms from a thread of its own, whatever the process is busy with."""

    def __init__(self, beat: Callable[[int, int], None]) -> None:
        self._beat = beat
        self._stopping = threading.Event()
        self._last_ns = time.monotonic_ns()
        self._gaps: tuple[tuple[int, int], ...] = ()  # (begin, length) of the newest gaps; replaced in one step
        beat(self._last_ns, os.getpid())
        self._thread = threading.Thread(target=self._run, name="motor-link-pulse", daemon=True)
        self._thread.start()

    def silent_since(self, moment_ns: int, length_ns: int) -> bool:
        """Returns whether this process lay still for more than `length_ns` (at least 0.1 s) after `moment_ns`.

        The gap that is open right now counts too.
        """
        now_ns, last_ns = time.monotonic_ns(), self._last_ns  # before the gaps: the thread notes a gap, then beats
        gaps = (*self._gaps, (last_ns, now_ns - last_ns))
        return any(length > length_ns and begin + length > moment_ns for begin, length in gaps)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_S):
            now_ns = time.monotonic_ns()
            gap_ns = now_ns - self._last_ns
            if gap_ns > 5 * BEAT_S * 1e9:
                # Noted before the new beat, so that no reader finds the gap closed but not yet noted.
                self._gaps = (*self._gaps[-15:], (self._last_ns, gap_ns))
            self._last_ns = now_ns
            self._beat(now_ns, os.getpid())
