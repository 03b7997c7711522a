"""The newest reports in memory; after a latch and a moment of aftermath they become a file."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.flight.config import FlightConfig
from controllers.flight.file import Flight, FlightHeader, write_flight
from controllers.types import COMMAND, REPORT
from safety.supervision import reason_name

_PART = 50
"""Reports are kept and dropped in parts of at most this many, so that the window is that of the settings."""


class FlightBuffer:
    """Takes the reports of one arm as they come; holds at most before_s + after_s of them.

    `written` and `left_out` count the files, and the latches that got none: too soon after another, or no room. The
    header of a file names the worst reason up to its end, and the time of the first latch.
    """

    def __init__(self, config: FlightConfig, motor: str, kernels: str, rate_hz: float) -> None:
        self._config, self._motor, self._kernels, self._rate_hz = config, motor, kernels, rate_hz
        self._reports: deque[NDArray[Any]] = deque()
        self._count = 0
        self._most = round((config.before_s + config.after_s) * rate_hz)
        self._commands: deque[NDArray[Any]] = deque(maxlen=4096)
        self._trip: FlightHeader | None = None
        self._last_ns, self._last_reason = -(2**62), 0
        self._latched = 0
        self.lost = 0
        self.written: list[Path] = []
        self.left_out = 0
        self._warned = False

    def add(self, reports: NDArray[Any]) -> None:
        """Appends a copy of REPORT records (n,); writes the file that is due."""
        for first in range(0, len(reports), _PART):
            part = reports[first : first + _PART]
            self._add(np.frombuffer(part.tobytes(), REPORT))  # five times quicker than a copy field by field

    def _add(self, reports: NDArray[Any]) -> None:
        self._look_for_latch(reports)
        self._reports.append(reports)
        self._count += len(reports)
        while self._count - len(self._reports[0]) >= self._most:
            self._count -= len(self._reports.popleft())
        if self._trip is not None:
            after_ns = int(reports["stamp_ns"][-1]) - self._trip.trip_ns
            if after_ns >= self._config.after_s * 1e9:
                self._write()

    def add_command(self, command: NDArray[Any]) -> None:
        """Notes a COMMAND record (1,) that was sent."""
        self._commands.append(command.copy())

    def _look_for_latch(self, reports: NDArray[Any]) -> None:
        """A latch that begins, or becomes a worse one, asks for a file."""
        latched = reports["latched"]
        for index in np.flatnonzero(latched > np.concatenate([[self._latched], latched[:-1]])):
            self._ask(int(latched[index]), int(reports["stamp_ns"][index]), reason_name(int(latched[index])))
        self._latched = int(latched[-1])

    def _ask(self, reason: int, trip_ns: int, name: str) -> None:
        """A file follows after the aftermath, unless one was just written for this reason or a worse one."""
        if self._trip is not None:
            if reason > self._trip.reason:
                self._trip = replace(self._trip, reason=reason, reason_name=name)
                self._last_reason = reason
            return
        soon = 0 <= trip_ns - self._last_ns < self._config.pause_s * 1e9
        if soon and 0 < reason <= self._last_reason:
            self.left_out += 1
            return
        self._last_ns, self._last_reason = trip_ns, reason
        self._trip = FlightHeader(self._motor, reason, name, trip_ns, self._rate_hz, self._kernels)

    def finish(self, death: str = "") -> None:
        """No report will come any more: what is due is written with what there is; a `death` always is."""
        if death and self._trip is None and self._count:
            self._ask(0, int(self._reports[-1]["stamp_ns"][-1]), death)
        if self._trip is not None and self._count:
            self._trip = replace(self._trip, cut_short=True)
            self._write()

    def _write(self) -> None:
        if self._trip is None:
            return
        header, self._trip = replace(self._trip, lost=self.lost), None
        reports = np.concatenate(list(self._reports))[-self._most :]
        commands = np.concatenate([np.zeros(0, COMMAND), *self._commands])
        since = int(np.searchsorted(commands["stamp_ns"], reports["stamp_ns"][0], "right"))
        commands = commands[max(since - 1, 0) :]  # the one before the first report is the one in force there
        try:
            flight = Flight(header, reports.astype(REPORT, copy=False), commands)
            path = write_flight(self._config.path, flight, self._config.keep)
        except OSError as error:
            self.left_out += 1
            if not self._warned:
                where = f"{self._config.path}: {error.strerror}"
                print(f"flight recorder of {self._motor}: cannot write to {where}; the arm goes on", file=sys.stderr)
            self._warned = True
            return
        self.written.append(path)
        print(f"flight recorder of {self._motor}: {header.reason_name}, see {path}", file=sys.stderr)
