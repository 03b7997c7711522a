"""What begins a tick: the clock, or the packets of a robot that paces the loop itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from controllers.realtime import Pacer
from controllers.robots.base import PacesLoop, Robot


class Pace(Protocol):
    """Begins one tick after the other."""

    @property
    def overruns(self) -> int:
        """Ticks that began more than one period late."""

    def restart(self) -> None:
        """Forgets what was before: the next tick is the first."""

    def begin(self, read: Callable[[], None]) -> tuple[int, int]:
        """Waits for the next tick and reads the robot; returns when the tick began and how late it was [ns]."""


class ClockPace:
    """Ticks at absolute deadlines; the robot is read once the tick has begun."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    @property
    def overruns(self) -> int:
        """Ticks that began more than one period late."""
        return self._pacer.overruns

    def restart(self) -> None:
        """Begins a new grid of deadlines."""
        self._pacer.restart()

    def begin(self, read: Callable[[], None]) -> tuple[int, int]:
        """Sleeps until the deadline, then reads."""
        lateness_ns = self._pacer.wait()
        begin_ns = time.monotonic_ns()
        read()
        return begin_ns, lateness_ns


class PacketPace:
    """Ticks with the robot's packets: reading blocks, and the tick begins when the packet has arrived.

    Lateness is what the time since the packet before exceeds a period by: lost packets and jitter on the way, as well
    as a loop that came back too late to read. Nothing is caught up: packets that lie waiting are the robot's to count.
    """

    def __init__(self, robot: PacesLoop, period_ns: int) -> None:
        self.overruns = 0
        self._robot, self._period_ns = robot, period_ns
        self._before_ns = 0

    def restart(self) -> None:
        """The next packet has none before it."""
        self._before_ns = 0

    def begin(self, read: Callable[[], None]) -> tuple[int, int]:
        """Reads, which waits for the packet."""
        read()
        packet_ns, before_ns = self._robot.packet_ns, self._before_ns
        self._before_ns = packet_ns
        lateness_ns = max(packet_ns - before_ns - self._period_ns, 0) if before_ns else 0
        if lateness_ns > self._period_ns:
            self.overruns += 1
        return packet_ns, lateness_ns


def pace_of(robot: Robot, spin_ns: int) -> Pace:
    """Returns what begins the ticks of a robot: its packets if it paces the loop, else the clock."""
    period_ns = round(1e9 / robot.rate_hz)
    if isinstance(robot, PacesLoop) and robot.paces:
        return PacketPace(robot, period_ns)
    return ClockPace(Pacer(period_ns, spin_ns))
