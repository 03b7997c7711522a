"""What keeps a 1 kHz loop punctual on a stock Linux kernel: five measures, a pacer, and histograms of what was reached.

Each measure says whether it was obtained. Without the right to one of them the loop still runs; whoever reads its
figures then sees `realtime: false`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MCL_CURRENT, _MCL_FUTURE = 1, 2
NOT_PINNED = -2
"""`RealtimeConfig.core` of a loop that the kernel may move."""


@dataclass(frozen=True)
class RealtimeConfig:
    """The five measures."""

    priority: int = 80
    """SCHED_FIFO priority, 1..99; 0 leaves the scheduler as it is."""
    core: int = -1
    """CPU core that the loop is pinned to; -1 = the last isolated one (`isolcpus`) that may be had, without any the
    last one that the process may use; -2 = not pinned."""
    lock_memory: bool = True
    """Whether all pages are locked into memory (mlockall)."""
    collect_garbage: bool = False
    """Whether Python's cyclic garbage collector stays on, which stops the loop for milliseconds."""
    spin_us: int = 150
    """The last stretch before each deadline that is spent looking at the clock instead of asleep [us], 0..900."""

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 99:
            raise ValueError(f"priority must be 0..99, got {self.priority}: 80 is usual, 99 is the kernel's own")
        if self.core < NOT_PINNED:
            raise ValueError(f"core must be a core's number, -1 (last) or -2 (not pinned), got {self.core}")
        if not 0 <= self.spin_us <= 900:
            raise ValueError(f"spin_us must be 0..900, got {self.spin_us}: the rest of the core belongs to others")


ORDINARY = RealtimeConfig(priority=0, core=NOT_PINNED, lock_memory=False)
"""No measures against late ticks, for machines whose cores others need: a SCHED_FIFO loop would starve them."""


@dataclass(frozen=True)
class Measure:
    """One measure and what became of it."""

    name: str
    obtained: bool
    detail: str
    """What was set, or why not and what to do about it."""


def take_measures(config: RealtimeConfig) -> tuple[Measure, ...]:
    """Takes the measures for this process and thread; never raises for a missing right."""
    return (_pin(config), _lock_memory(config), _freeze_garbage(config), _spin(config), _prioritise(config))


def choose_core(core: int) -> int:
    """Returns the core that `RealtimeConfig.core` means for this process."""
    if core != -1:
        return core
    isolated = [found for found in isolated_cores() if _may_run_on(found)]
    return max(isolated or os.sched_getaffinity(0))


def _may_run_on(core: int) -> bool:
    """Whether this thread may be pinned to a core, tried and undone: a container's cpuset may leave it out."""
    former = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        return False
    os.sched_setaffinity(0, former)
    return True


def isolated_cores(file: Path = Path("/sys/devices/system/cpu/isolated")) -> set[int]:
    """Returns the cores on which the kernel puts nobody who does not ask for them (`isolcpus` on its command line)."""
    ranges = file.read_text().strip() if file.is_file() else ""
    ends = [part.split("-") for part in ranges.split(",") if part]  # as in 2,4-6
    return {core for part in ends for core in range(int(part[0]), int(part[-1]) + 1)}


def keep_off_core(core: int) -> bool:
    """Moves this process to the other cores it may use; returns False, and changes nothing, when there is no other.

    For learners and actors beside a motor process. Call it before threads start, since a thread inherits its starter's
    cores; and name the motor's core in its RealtimeConfig, since a child inherits them too.
    """
    others = os.sched_getaffinity(0) - {core}
    if not others:
        return False
    os.sched_setaffinity(0, others)
    return True


def keep_threads_off_core(core: int) -> bool:
    """Like `keep_off_core`, for a process whose libraries have started threads already: moves every one of them."""
    if not keep_off_core(core):
        return False
    others = os.sched_getaffinity(0)
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), others)
    return True


def _prioritise(config: RealtimeConfig) -> Measure:
    if config.priority == 0:
        return Measure("scheduler", False, "not asked for (priority 0)")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(config.priority))
    except PermissionError:
        cure = f"give the user `rtprio {config.priority}` in /etc/security/limits.conf, or the process CAP_SYS_NICE"
        return Measure("scheduler", False, f"no right to SCHED_FIFO {config.priority}: {cure}")
    return Measure("scheduler", True, f"SCHED_FIFO {config.priority}")


def _pin(config: RealtimeConfig) -> Measure:
    if config.core == NOT_PINNED:
        return Measure("core", False, "not asked for (core -2)")
    core = choose_core(config.core)
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        allowed = sorted(os.sched_getaffinity(0))
        return Measure("core", False, f"core {core} is not to be had: set core to one of {allowed}")
    return Measure("core", True, f"pinned to core {core}")


def _lock_memory(config: RealtimeConfig) -> Measure:
    if not config.lock_memory:
        return Measure("memory", False, "not asked for (lock_memory false)")
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        reason = errno.errorcode.get(ctypes.get_errno(), "unknown error")
        cure = "raise `memlock` in /etc/security/limits.conf, or give the process CAP_IPC_LOCK"
        return Measure("memory", False, f"mlockall refused ({reason}): {cure}")
    return Measure("memory", True, "all pages locked")


def _freeze_garbage(config: RealtimeConfig) -> Measure:
    gc.collect()
    gc.freeze()
    if config.collect_garbage:
        return Measure("garbage", False, "not asked for (collect_garbage true)")
    gc.disable()
    return Measure("garbage", True, "collector off")


def _spin(config: RealtimeConfig) -> Measure:
    return Measure("spin", config.spin_us > 0, f"last {config.spin_us} us before each deadline")


class Pacer:
    """Wakes at absolute deadlines t0 + k period, so that lateness never adds up.

    `overruns` counts ticks that began more than one period late; their missed periods are left out (`skipped`), not
    caught up in a burst.
    """

    def __init__(self, period_ns: int, spin_ns: int) -> None:
        if period_ns <= spin_ns:
            raise ValueError(f"the period must be longer than the spin of {spin_ns} ns before it, got {period_ns} ns")
        self.period_ns = period_ns
        self.overruns = 0
        self.skipped = 0
        self._spin_ns = spin_ns
        self._deadline_ns = time.monotonic_ns()

    def restart(self) -> None:
        """Begins a new grid of deadlines one period from now."""
        self._deadline_ns = time.monotonic_ns()

    def wait(self) -> int:
        """Sleeps until the next deadline; returns how late it woke [ns]."""
        self._deadline_ns += self.period_ns
        deadline_ns = self._deadline_ns
        asleep_ns = deadline_ns - self._spin_ns - time.monotonic_ns()
        if asleep_ns > 0:
            time.sleep(asleep_ns * 1e-9)  # since Python 3.11: clock_nanosleep to an absolute time of CLOCK_MONOTONIC
        now_ns = time.monotonic_ns()
        while now_ns < deadline_ns:
            now_ns = time.monotonic_ns()
        lateness_ns = now_ns - deadline_ns
        if lateness_ns > self.period_ns:
            self.overruns += 1
            missed = lateness_ns // self.period_ns
            self.skipped += missed
            self._deadline_ns += missed * self.period_ns
        return lateness_ns


class Histogram:
    """Counts of durations in bins of one microsecond, the last for all above; its memory never grows."""

    def __init__(self, counts: memoryview) -> None:
        """counts: int64 memory, at least 2 words, perhaps shared with a reader."""
        self._counts = counts
        self._last = len(counts) - 1

    def add(self, duration_ns: int) -> None:
        """Counts one duration [ns], negative ones as zero."""
        self._counts[min(max(duration_ns, 0) // 1000, self._last)] += 1

    def clear(self) -> None:
        """Forgets everything counted."""
        np.frombuffer(self._counts, np.int64)[:] = 0

    @property
    def total(self) -> int:
        """Returns how many durations were counted."""
        return int(np.frombuffer(self._counts, np.int64).sum())

    def quantile_us(self, share: float) -> float:
        """Returns the upper edge of the bin that holds this share of the durations [us].

        NaN if none was counted, infinity if it lies in the last bin.
        """
        counts = np.frombuffer(self._counts, np.int64).copy()
        if not counts.any():
            return float("nan")
        index = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float("inf") if index >= self._last else float(index + 1)

    def release(self) -> None:
        """Lets go of the memory."""
        self._counts.release()
