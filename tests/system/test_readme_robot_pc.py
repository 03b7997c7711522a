"""The section "On a robot PC" of the README runs as it is written: each block in a terminal of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("pylibfranka", reason="install the extra [franka]")

from controllers.latch_memory import latch_path
from controllers.robots.franka_config import FrankaConfig
from tests.ros_nodes.conftest import clean_memory, ros_domain

__all__ = ["clean_memory", "ros_domain"]
pytestmark = [pytest.mark.slow, pytest.mark.alone]
README = Path(__file__).parents[2] / "README.md"
STAYS = {"robot-rl up ": "all is up after", "python -m robot_rl.bringup.simulated_fr3": "answers at"}
"""Commands that run until Ctrl-C, and what they say once they work."""
SHARED = {"robot-rl up ": " realtime=false"}
"""What is added here: a process with the right of way over all others suits no machine that other tests share."""
READY_S, END_S, CALL_S = 300.0, 60.0, 120.0
"""A first start makes the server's environment and compiles the kernels."""


def blocks() -> list[tuple[int, list[str]]]:
    """Returns (number of the terminal, its commands) of each block of the section."""
    section = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith("On a robot PC\n")]
    found = re.findall(r"^```\n# terminal (\d)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) * 2 == text.count("\n```"), "each block names its terminal"
    return [(int(number), commands.splitlines()) for number, commands in found]


class Terminals:
    """Terminals that people type into, each with at most one program that stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
        self.address = ""

    def type(self, terminal: int, line: str) -> None:
        self.end(terminal)
        environment = {**os.environ, "PATH": self._path, "FR3": self.address}
        ready = next((words for command, words in STAYS.items() if line.startswith(command)), None)
        if ready is None:
            done = subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, cwd=self._folder, env=environment,
                timeout=CALL_S, check=False,
            )  # fmt: skip
            said = done.stdout + done.stderr
            assert "Traceback" not in said, said
            assert done.returncode == 0 or line.startswith("robot-rl doctor"), f"{line}: {said}\n{self.said()}"
            return
        log = self._folder / f"{len(list(self._folder.glob('*.log')))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self._folder, env=environment, start_new_session=True,
            )  # fmt: skip
        self._running[terminal] = process, log
        deadline_s = time.monotonic() + READY_S
        while ready not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline_s, f"{line}: {log.read_text()}"
            time.sleep(0.1)
        address = re.search(r"answers at ([\d.]+);", log.read_text())
        self.address = address[1] if address else self.address

    def said(self) -> str:
        return "\n".join(log.read_text() for _, log in self._running.values())

    def end(self, terminal: int) -> None:
        """Presses Ctrl-C where something runs, which then ends in order."""
        if terminal not in self._running:
            return
        process, log = self._running.pop(terminal)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            assert process.wait(END_S) == 0, log.read_text()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def close(self) -> None:
        failures = []
        for terminal in sorted(self._running, reverse=True):  # the robot goes last
            try:
                self.end(terminal)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failures.append(str(error))
        assert not failures, failures


@pytest.fixture
def terminals(ros_domain: int, tmp_path: Path) -> Iterator[Terminals]:
    opened = Terminals(tmp_path)
    try:
        yield opened
    finally:
        opened.close()
        if opened.address:
            name = FrankaConfig(opened.address).motor_name
            latch_path(name).unlink(missing_ok=True)
            latch_path(name).with_name(f"robot-rl.leave-{name}").unlink(missing_ok=True)


def test_every_command_of_the_section_works_in_its_terminal(terminals: Terminals) -> None:
    typed = 0
    for terminal, commands in blocks():
        for line in commands:
            command = line.partition("  #")[0].strip()
            if command.startswith("FR3="):
                assert terminals.address, "the address was printed before"
                continue
            added = [words for begin, words in SHARED.items() if command.startswith(begin)]
            terminals.type(terminal, command + "".join(added))
            typed += 1
    assert typed >= 12, "the section has its commands"
