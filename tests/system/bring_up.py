"""A running `robot-rl up`, started as a person starts it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.system.command_line import PROGRAM

READY_S, END_S = 240.0, 40.0
"""A first start compiles the kernels."""


class Up:
    """A running `robot-rl up`."""

    def __init__(
        self, words: list[str], log: Path, folder: Path | None = None, terminal: int = subprocess.DEVNULL
    ) -> None:
        """terminal: where keys are read from."""
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [str(PROGRAM), "up", *words], stdout=output, stderr=subprocess.STDOUT, stdin=terminal,
                start_new_session=True, cwd=folder,
            )  # fmt: skip
        self.family: dict[int, psutil.Process] = {}

    def said(self) -> str:
        return self.log.read_text()

    def wait_until_up(self) -> None:
        wait_for(lambda: "all is up after" in self.said() or self.process.poll() is not None, READY_S, self.said)
        assert self.process.poll() is None, self.said()
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.family = {member.pid: member for member in family}

    def member(self, word: str) -> psutil.Process:
        """The one process of the family with this word on its command line."""
        (found,) = [member for member in self.family.values() if word in words_of(member)]
        return found

    def left(self) -> list[str]:
        """Command lines of those of the family that live."""
        return [words for member in self.family.values() if (words := words_of(member))]

    def end(self) -> None:
        """Ends it in order, at last by force."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def wait_for(what: Callable[[], bool], limit_s: float, words: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline_s, words()
        time.sleep(0.05)


def words_of(member: psutil.Process) -> str:
    """Its command line; "" for one that has ended, also while it is looked at."""
    try:
        return "" if member.status() == psutil.STATUS_ZOMBIE else " ".join(member.cmdline())
    except psutil.NoSuchProcess:
        return ""
