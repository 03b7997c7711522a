"""A ROS program of the fault bench as a child: orders and answers over pipes, its words in a file."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from robot_rl.bringup.leash import leashed

_START_S, _LEAVE_S = 180.0, 10.0
_KEY_S, _TOGGLE_S = 0.05, 0.4


class Program:
    """One ROS program as a child, its words in a file, orders and answers over pipes."""

    def __init__(
        self, words: list[str], environment: dict[str, str], said: Path, node: bool, terminal: int | None = None
    ) -> None:
        """node: ends in order after SIGTERM; the others are killed. terminal: descriptor of what it reads keys from."""
        self._words, self._environment, self._said, self._node = words, environment, said, node
        self._terminal = terminal
        self.child: Any = None
        self.start()

    def start(self) -> None:
        """Starts it, again after its end."""
        with self._said.open("a") as errors:
            self.child = subprocess.Popen(
                leashed([sys.executable, "-m", *self._words]),
                stdin=subprocess.PIPE if self._terminal is None else self._terminal,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                text=True,
                start_new_session=True,
            )

    def ask(self, order: str) -> str:
        """Writes a line and returns the answer, however long the program takes to start; RuntimeError if none comes."""
        self.child.stdin.write(order + "\n")
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], _START_S)
        answer = self.child.stdout.readline() if ready else ""
        if not answer:
            last = self.said.strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(f"{self._words[0]} did not answer {order!r}; it last said: {last[0]}")
        return str(answer).strip()

    @property
    def said(self) -> str:
        """What it wrote to standard error, over all its lives."""
        return self._said.read_text()

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal; returns when [ns]."""
        now_ns = time.monotonic_ns()
        self.child.send_signal(number)
        if number == signal.SIGKILL:
            self.child.wait()
        return now_ns

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child.poll() is None

    def end(self) -> None:
        """Ends it in order, and at last by force."""
        if self.alive and self._node:
            for number in (signal.SIGCONT, signal.SIGTERM):
                self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(_LEAVE_S)
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            if stream is not None:
                stream.close()


class Typist:
    """A person at a terminal, who types the same keys again and again, as a keyboard repeats those that are held."""

    def __init__(self) -> None:
        self._person, self.terminal = pty.openpty()
        self._keys, self._stopping = "", threading.Event()
        self._thread = threading.Thread(target=self._run, name="typist", daemon=True)
        self._thread.start()

    def hold(self, keys: str) -> None:
        """Types these keys from now on; "" lets go of all."""
        self._keys = keys

    def press(self, key: str) -> None:
        """Types one key once, and waits until it counts."""
        os.write(self._person, key.encode())
        time.sleep(_TOGGLE_S)

    def close(self) -> None:
        """Types no longer; the terminal is closed."""
        self._stopping.set()
        self._thread.join()
        os.close(self._person)
        os.close(self.terminal)

    def _run(self) -> None:
        while not self._stopping.wait(_KEY_S):
            if self._keys:
                os.write(self._person, self._keys.encode())
