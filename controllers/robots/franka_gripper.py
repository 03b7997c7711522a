"""The Franka Hand on its own connection, in a process of its own, so that nothing it does delays the arm's loop.

pylibfranka keeps Python's lock while it waits for the gripper, for seconds in a move: a thread would stop the loop.
The two processes share four words of anonymous memory. Run as `python -m controllers.robots.franka_gripper`.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from controllers.robots.franka_errors import explain_exception
from data.errors import UserError

_WORDS = 4
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 3.0
_IDLE_S = 0.02
_SAME_M = 5e-4
"""A wish nearer than this to the measured opening needs no move [m]."""
_CLOSED_M = 0.002
"""A wish this near to the closed end means: grip what is there [m]."""
_ANY_WIDTH_M = 0.2
"""Tolerance of a grasp: whatever lies between the fingers is held, and nothing at all is no failure."""


class _Word(IntEnum):
    WISH = 0  # f8: wished opening [m]
    NUMBER = 1  # i8: raised with each wish, after it was written; negative: leave
    OPENING = 2  # f8: measured opening [m], NaN once the connection broke
    FAILURES = 3  # i8: commands that the gripper did not carry out


@dataclass(frozen=True)
class _Order:
    """What the process is told at its start."""

    ip: str
    speed_m_s: float
    force_n: float
    closed_m: float


class FrankaGripper:
    """The arm's end of the gripper's process. Neither `grip` nor `opening_m` ever waits."""

    def __init__(self, ip: str, speed_m_s: float, force_n: float, closed_m: float = 0.0) -> None:
        """Connects. closed_m: the closed end of the tool's range. Raises UserError if no gripper answers."""
        memory = os.memfd_create("franka-gripper", os.MFD_CLOEXEC)
        os.ftruncate(memory, 8 * _WORDS)
        self._map = mmap.mmap(memory, 8 * _WORDS)
        self._floats, self._ints = memoryview(self._map).cast("d"), memoryview(self._map).cast("q")
        self._floats[_Word.OPENING] = math.nan
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "controllers.robots.franka_gripper", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(memory,),
            text=True,
        )
        os.close(memory)
        self.pid = self._process.pid
        try:
            self._introduce(_Order(ip, speed_m_s, force_n, closed_m))
        except BaseException:
            self.close()
            raise

    def _introduce(self, order: _Order) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the gripper's process has no pipes")
        with suppress(BrokenPipeError):  # it died already, and then says nothing either
            stdin.write(json.dumps(vars(order)) + "\n")
            stdin.flush()
        ready, _, _ = select.select([stdout], [], [], _START_TIMEOUT_S)
        answer = json.loads((stdout.readline() if ready else "") or '{"error": "its process does not answer"}')
        if answer.get("error"):
            raise UserError(
                f"no gripper at {order.ip}: {answer['error']}; connect and home the Franka Hand in Desk, or use "
                "robot_config.gripper=false with a tool that has none"
            )

    def grip(self, opening_m: float) -> None:
        """Hands a wish over; a command that the gripper is carrying out is finished first."""
        self._floats[_Word.WISH] = opening_m
        self._ints[_Word.NUMBER] += 1

    @property
    def opening_m(self) -> float:
        """Returns the measured opening [m]; NaN once the gripper cannot be reached."""
        return math.nan if self._process.poll() is not None else self._floats[_Word.OPENING]

    @property
    def failures(self) -> int:
        """Returns how many commands the gripper did not carry out."""
        return self._ints[_Word.FAILURES]

    def close(self) -> None:
        """Ends the process; may be called twice."""
        if self._process.poll() is None:
            self._ints[_Word.NUMBER] = -1
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


class _Server:
    """The gripper's end: one command at a time, the newest wish next."""

    def __init__(self, hand: Any, order: _Order, memory: int, errors: tuple[type[Exception], ...]) -> None:
        """errors: what the hand raises."""
        self._hand, self._order, self._errors = hand, order, errors
        self._said = ""
        view = memoryview(mmap.mmap(memory, 8 * _WORDS))
        self._floats, self._ints = view.cast("d"), view.cast("q")
        self._done = 0
        self._parent = os.getppid()

    def run(self) -> None:
        """Serves until it is told to leave or its parent is gone.

        Raises the hand's errors where it cannot be read any more: only then the connection is broken.
        """
        while os.getppid() == self._parent and (number := self._ints[_Word.NUMBER]) >= 0:
            self._floats[_Word.OPENING] = opening_m = self._hand.read_once().width
            if number == self._done:
                time.sleep(_IDLE_S)
                continue
            self._done = number
            self._ints[_Word.FAILURES] += not self._tried(self._floats[_Word.WISH], opening_m)

    def _tried(self, wish_m: float, opening_m: float) -> bool:
        """Whether a wish was carried out. One that fails, such as a grasp that was blocked, is told."""
        try:
            return self._carry_out(wish_m, opening_m)
        except self._errors as error:
            words = explain_exception(str(error))
            if words != self._said:
                self._said = words
                _tell(f"gripper at {self._order.ip} did not move to {1000.0 * wish_m:.0f} mm: {words}")
            return False

    def _carry_out(self, wish_m: float, opening_m: float) -> bool:
        """Moves to an opening; at the closed end it grasps, which alone holds with a force what is in between."""
        if abs(wish_m - opening_m) < _SAME_M:
            return True
        if wish_m > self._order.closed_m + _CLOSED_M:
            return bool(self._hand.move(wish_m, self._order.speed_m_s))
        reach = (_ANY_WIDTH_M, _ANY_WIDTH_M)
        return bool(self._hand.grasp(wish_m, self._order.speed_m_s, self._order.force_n, *reach))


def _main() -> int:
    """Connects, says so in one JSON line, serves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the arm's loop ends in order and tells us
    order = _Order(**json.loads(sys.stdin.readline()))
    try:
        import pylibfranka
    except ImportError as error:
        print(json.dumps({"error": explain_exception(str(error))}), flush=True)
        return 2
    errors = (RuntimeError, pylibfranka.FrankaException)  # the latter is none of the former
    try:
        hand = pylibfranka.Gripper(order.ip)
        hand.read_once()
    except errors as error:
        print(json.dumps({"error": explain_exception(str(error))}), flush=True)
        return 2
    server = _Server(hand, order, int(sys.argv[1]), errors)
    print(json.dumps({"error": ""}), flush=True)
    try:
        server.run()
    except errors as error:  # the opening becomes NaN, the arm goes on
        _tell(f"gripper at {order.ip}: {explain_exception(str(error))}")
        return 1
    return 0


def _tell(words: str) -> None:
    with suppress(OSError):
        print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(_main())
