"""Did a program get no processor while it wanted one? What is measured meanwhile says nothing of the program."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from controllers.pulse import Pulse

STALL_S = 0.1
"""From this length on a stall disturbs what is measured [s]."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class StallWatch:
    """Between `begin` and `longest_s`: whether this process, some others, or a processor stood still.

    This process's stalls are seen by its pulse. Those of others are told by the kernel: a thread's time of waiting for
    a processor (/proc/<pid>/task/<tid>/schedstat, its second number), and what a host took away from each processor
    (/proc/stat, its eighth number). Both are sums over the interval, so they are upper bounds of one stall. A process
    stopped by a signal waits for nothing.
    """

    def __init__(self) -> None:
        self._pulse = Pulse(lambda now_ns, pid: None)
        self.begin([])

    def begin(self, pids: Iterable[int]) -> None:
        """Begins an interval, in which these processes are looked at as well."""
        self._pids = list(pids)
        self._begun_ns, self._waited_ns, self._taken_s = time.monotonic_ns(), waited_ns(self._pids), _taken_s()

    def longest_s(self) -> float:
        """Returns the longest of them [s], STALL_S for one of this process; threads that came or went do not count."""
        after_ns, taken_s = waited_ns(self._pids), _taken_s()
        waited_s = [1e-9 * (after_ns[key] - begun) for key, begun in self._waited_ns.items() if key in after_ns]
        lost_s = [now - begun for begun, now in zip(self._taken_s, taken_s, strict=False)]
        own_s = STALL_S if self._pulse.silent_since(self._begun_ns, round(1e9 * STALL_S)) else 0.0
        return max([own_s, *waited_s, *lost_s])

    def close(self) -> None:
        """Ends the pulse."""
        self._pulse.stop()


def waited_ns(pids: Iterable[int]) -> dict[tuple[int, int], int]:
    """Returns how long each thread has waited for a processor since its start, by (pid, thread)."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended meanwhile
                found[pid, int(task.name)] = int((task / "schedstat").read_text().split()[1])
    return found


def _taken_s() -> list[float]:
    """Returns for how long a host has given each processor to others, since the machine's start [s]."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    return [int(line[8]) / _TICKS_PER_S for line in lines if line[0].startswith("cpu") and line[0] != "cpu"]
