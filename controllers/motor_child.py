"""The motor process as its parent's child: started, watched, ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from controllers.motor_config import MotorConfig
from data.errors import UserError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
"""A library's pool of threads would fight with the loop for its one core."""


class MotorProcessDied(UserError):
    """The motor process is dead or runs no ticks: what was recorded since its last report is not to be trusted.

    Somebody has to look at the arm before it moves again; the command line says so in one line.
    """

    def __init__(self, what: str) -> None:
        """what: what became of the process, without a full stop."""
        super().__init__(f"{what}; look at the arm, then start again")


@dataclass(frozen=True)
class SharedMemoryLinkConfig:
    """How a parent deals with its motor process."""

    motor: MotorConfig
    """What the process is told."""
    start_timeout_s: float = 180.0
    """Time for building, compiling and arming [s], above 0."""
    stall_timeout_s: float = 0.5
    """A living process that runs no tick for this long counts as dead [s], 0.02..10."""
    answer_timeout_s: float = 2.0
    """Time for a request to be answered [s], above 0."""
    stop_timeout_s: float = 5.0
    """Time for an ordered stop before the process is killed [s], above 0."""
    suspension_s: float = 0.25
    """A command made before a suspension of this process longer than this is sent as old as it is [s], 0.1..5."""

    def __post_init__(self) -> None:
        for name in ("start_timeout_s", "answer_timeout_s", "stop_timeout_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0.02 <= self.stall_timeout_s <= 10.0:
            raise ValueError(f"stall_timeout_s must be 0.02..10, got {self.stall_timeout_s}")
        if not 0.1 <= self.suspension_s <= 5.0:
            raise ValueError(f"suspension_s must be 0.1..5, got {self.suspension_s}")


class MotorChild:
    """One motor process."""

    def __init__(self, config: MotorConfig, environment: Mapping[str, str]) -> None:
        # -P keeps the working directory out of sys.path: a folder `controllers` there must not take the place of ours.
        # A session of its own: Ctrl-C in the terminal reaches the parent, which then stops the arm in order.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "controllers.motor_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, **environment},
            start_new_session=True,
            text=True,
        )
        self.pid = self._process.pid
        self._name = config.name
        self._pidfd = os.pidfd_open(self.pid)
        self._poll = select.poll()
        self._poll.register(self._pidfd, select.POLLIN)
        if self._process.stdin is not None:
            self._process.stdin.write(config.to_json())
            self._process.stdin.close()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Reads the process's one line. Raises UserError if it refused, MotorProcessDied if it is mute."""
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the motor process has no standard output")
        ready, _, _ = select.select([stdout], [], [], timeout_s)
        line = stdout.readline() if ready else ""
        stdout.close()
        if not line:
            what = f"died while starting ({self.exit_status()})" if ready else f"was not ready within {timeout_s:g} s"
            raise MotorProcessDied(f"motor process {self._name!r} {what}; its own words stand on standard error")
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(f"motor process {self._name!r} did not start: {answer['error']}")

    def exit_status(self) -> str | None:
        """Returns None while the process lives, else how it ended, in words."""
        if not self._poll.poll(0):
            return None
        status = self._process.wait()
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def sleep(self, duration_s: float) -> None:
        """Sleeps, but returns at once when the process dies."""
        whole_ms = int(duration_s * 1000)
        until_s = time.monotonic() + duration_s
        if whole_ms > 1 and self._poll.poll(whole_ms - 1):
            return
        time.sleep(max(until_s - time.monotonic(), 0.0))

    def end(self, timeout_s: float, wait_first: bool = False) -> None:
        """Ends the process: after a while for leaving by itself (`wait_first`) by SIGTERM, at last by SIGKILL."""
        if wait_first:
            self.sleep(timeout_s)
        if self.exit_status() is None:
            self._process.terminate()
            self.sleep(timeout_s)
        if self.exit_status() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        os.close(self._pidfd)
