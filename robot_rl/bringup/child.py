"""One process of a bring-up: started on a leash, read line by line, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping

from robot_rl.bringup.leash import leashed
from robot_rl.bringup.resolve import Program

TERM_S = 3.0
"""Time to end after SIGTERM before SIGKILL follows [s]."""


class Child:
    """One start of a program. Its output is read by `lines`, never by a thread."""

    def __init__(self, program: Program, environment: Mapping[str, str]) -> None:
        self.program = program
        self.started_s = time.monotonic()
        self.ready_s: float | None = None if program.ready else self.started_s
        """When it became ready, on the monotonic clock [s]; None before."""
        self.last_words = ""
        # A session of its own: Ctrl-C in the terminal reaches `up` alone, which then ends all in order.
        self.process = subprocess.Popen(
            leashed(program.words),
            stdin=None if program.terminal else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
        if self.process.stdout is None:
            raise RuntimeError("the process has no standard output")
        self._stdout = self.process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._rest = b""

    def fileno(self) -> int:
        """Returns the descriptor that becomes readable when it wrote something or ended."""
        return self._stdout.fileno()

    def lines(self) -> list[str]:
        """Returns the whole lines that it wrote since the last call; never waits."""
        while not self._stdout.closed:
            try:
                block = os.read(self._stdout.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not block:
                self._stdout.close()
                self._rest += b"\n" if self._rest else b""
            self._rest += block
        *whole, self._rest = self._rest.split(b"\n")
        found = [line.decode(errors="replace").rstrip("\r") for line in whole]
        for line in found:
            self.last_words = line.strip() or self.last_words
            if self.ready_s is None and self.program.ready in line:
                self.ready_s = time.monotonic()
        return found

    @property
    def closed(self) -> bool:
        """Tells whether nobody can write to its output any more."""
        return self._stdout.closed

    def status(self) -> int | None:
        """Returns its exit status, minus the signal that killed it, None while it lives."""
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal: to the process, SIGKILL to all that it started and that stayed in its group."""
        if self.status() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def fate(self) -> str:
        """Says how it ended, with its last words."""
        status = self.process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self.program.name} {how}" + (f": {self.last_words}" if status and self.last_words else "")
