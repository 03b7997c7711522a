"""A fake robot that paces the loop by packets of its own, loses some, and may stop by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.motor_config import MotorParts
from controllers.robots.base import RobotFault
from tests.controllers.motor_fakes import HOME_RAD, EchoChain, FakeRobot, NoModel

PERIOD_NS = 1_000_000


class PacketRobot(FakeRobot):
    """Packets every millisecond of the clock but those whose numbers are lost; options as FakeRobot's.

    lose: numbers of packets that never come; fault_at: the packet instead of which it stops itself; poor_from: the
    packet from which on its commands arrive too seldom; standing: begins stopped, until it is recovered.
    """

    paces = True

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._lose, self._fault_at = set(options.get("lose", ())), options.get("fault_at", -1)
        self._poor_from, self._recovered = options.get("poor_from", 10**9), options.get("recovered", "")
        self.fault = "it stopped itself: somebody pushed" if options.get("standing") else ""
        self.packet_ns = self._number = self.lost_packets = 0
        self.success_rate, self.complaint, self.must_stop = 1.0, "", False

    def start(self) -> None:
        super().start()
        self._first_ns = time.monotonic_ns()

    def read(self, state: NDArray[Any]) -> None:
        self._number += 1
        while self._number in self._lose:
            self._number, self.lost_packets = self._number + 1, self.lost_packets + 1
        if self._number == self._fault_at:
            raise RobotFault("the robot stopped: a force exceeded its threshold (cartesian_reflex): push less")
        due_ns = self._first_ns + self._number * PERIOD_NS
        time.sleep(max(due_ns - time.monotonic_ns(), 0) * 1e-9)
        self.packet_ns = time.monotonic_ns()
        if self._number >= self._poor_from:
            self.success_rate, self.complaint, self.must_stop = 0.5, "only 50% arrive: look at the cable", True
        super().read(state)

    def recover(self) -> None:
        Path(self._recovered).write_text("recovered", encoding="ascii")
        self.fault = ""


def paced(options: dict[str, Any]) -> MotorParts:
    return MotorParts(PacketRobot(options), NoModel(), np.zeros(0), EchoChain(options.get("tau_nm", 2.0)), HOME_RAD)
