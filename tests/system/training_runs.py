"""Starts training_program.py and ends it in rough ways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).with_name("training_program.py")


class Run:
    """A running training program."""

    def __init__(self, world: str, mode: str, out: Path, steps: int, *changes: str) -> None:
        command = [sys.executable, str(PROGRAM), world, mode, str(out), str(steps), *changes]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
        self.learner = 0
        self.began = -1
        self.lines: list[str] = []

    def until(self, step: int) -> None:
        """Reads on until this step is done."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            word, _, number = line.partition(" ")
            if word == "learner":
                self.learner = int(number)
            if word == "from":
                self.began = int(number)
            if word == "step" and int(number) >= step:
                return
        raise AssertionError(f"ended before step {step}: {self.process.stderr.read() if self.process.stderr else ''}")

    def kill(self) -> None:
        """Kills it as the kernel does when memory runs out."""
        self.process.kill()
        self.process.communicate()

    def interrupt(self) -> None:
        """Ctrl-C: to the whole process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Waits for its end; returns the exit status and what it wrote on standard error."""
        out, error = self.process.communicate()
        self.lines += out.splitlines()
        for line in self.lines:
            if line.startswith("from "):
                self.began = int(line.split()[1])
        return self.process.returncode, error

    @property
    def last_step(self) -> int:
        """The last step that was reported."""
        return max((int(line.split()[1]) for line in self.lines if line.startswith("step ")), default=0)


def whole(world: str, mode: str, out: Path, steps: int, *changes: str) -> Run:
    """A run that must come to its end."""
    run = Run(world, mode, out, steps, *changes)
    status, error = run.end()
    assert status == 0, error
    return run


def final(out: Path) -> bytes:
    """The newest checkpoint, byte for byte."""
    return max((out / "checkpoints").glob("step_*.safetensors")).read_bytes()


def gone(pid: int, within_s: float = 30.0) -> bool:
    """Whether a process ends by itself."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # its own parent is gone and nobody has collected it yet
            return True
        time.sleep(0.05)
    return False
