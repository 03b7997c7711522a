"""The keyboard of a terminal as a device: no window system, no further rights, works over ssh.

A terminal tells no releases. It repeats the key that is held, after a first delay of up to half a second, and only the
one that was pressed last. A key therefore counts as held for RELEASE_S after its last repeat: the arm starts with the
press, rests during the first delay where that is longer, and stops RELEASE_S after the release. Keys that are typed in
turn within that time act together.

The dead-man is the space bar, as a toggle: a terminal could not tell that it is held beside another key. It falls off
by itself DEAD_MAN_S after the last key of any kind. As nothing moves without a held key either, what stops the arm when
the person lets go is RELEASE_S. That is weaker than a button under a finger: for a real arm use one of the others.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import sys
import termios
import tty
from typing import Any

import numpy as np

from data.errors import UserError
from robot_rl.teleop.devices.base import AXES, Button, DeviceLost, DeviceState
from robot_rl.teleop.devices.calibration import Calibration

RELEASE_S = 0.25
"""A key that is not repeated for this long counts as released [s]."""
DEAD_MAN_S = 2.0
"""The dead-man's toggle falls off this long after the last key [s]."""
MOVES = {
    "w": (0, 1.0), "s": (0, -1.0), "a": (1, 1.0), "d": (1, -1.0), "r": (2, 1.0), "f": (2, -1.0),
    "l": (3, 1.0), "j": (3, -1.0), "i": (4, 1.0), "k": (4, -1.0), "u": (5, 1.0), "o": (5, -1.0),
}  # fmt: skip
"""Axis and direction of each key that moves: left hand translation, right hand rotation."""
BUTTONS = {
    "c": Button.GRIPPER_CLOSE, "v": Button.GRIPPER_OPEN, "\r": Button.SUCCESS, "\n": Button.SUCCESS,
    "\x7f": Button.DISCARD, "\b": Button.DISCARD, "t": Button.TAKEOVER, "h": Button.HAND_BACK,
    "-": Button.SLOWER, "+": Button.FASTER, "=": Button.FASTER,
}  # fmt: skip
HELP = (
    "keys: space dead-man on and off; w s a d r f move away, back, left, right, up, down; i k j l u o tilt and turn; "
    "c v gripper; - + slower, faster; enter success, backspace discard; t take over, h hand back"
)
_SEQUENCE = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z]|.)?")
_PLAIN = Calibration(dead_zone=(0.0,) * 6, expo=(0.0,) * 6)
"""A key is either down or up: there is nothing to shape."""


class Keyboard:
    """Reads single keys from a terminal, which `close` leaves as it was, also when the program ends in an error."""

    name = "keyboard"

    def __init__(self, descriptor: int | None = None, calibration: Calibration | None = None) -> None:
        """descriptor: a terminal's file descriptor; None means standard input. Of the calibration only scale counts."""
        self._given = descriptor
        scale = _PLAIN.scale if calibration is None else calibration.scale
        self._calibration = Calibration(_PLAIN.dead_zone, _PLAIN.expo, scale)
        self._descriptor = -1
        self._saved: list[Any] | None = None
        self._last_ns: dict[str, int] = {}
        self._any_ns = 0
        self._on = False

    def open(self) -> None:
        """Takes the terminal's keys one by one. Raises UserError where there is no terminal."""
        descriptor = self._given
        if descriptor is None:
            closed = sys.stdin is None or sys.stdin.closed
            descriptor = -1 if closed else sys.stdin.fileno()
        if descriptor < 0 or not os.isatty(descriptor):
            raise UserError("the keyboard needs a terminal on standard input: type the command in one, without a pipe")
        self._descriptor = descriptor
        self._saved = termios.tcgetattr(descriptor)
        atexit.register(self.close)
        tty.setcbreak(descriptor)  # Ctrl-C still interrupts

    def poll(self, now_ns: int) -> DeviceState:
        """Takes in the keys since the last call. Raises DeviceLost when the terminal was closed."""
        pressed = []
        for key in self._read():
            self._any_ns = now_ns
            if key == " ":
                self._on = not self._on
            elif key in MOVES:
                self._last_ns[key] = now_ns
            elif key in BUTTONS:
                pressed.append(BUTTONS[key])
        if now_ns - self._any_ns > DEAD_MAN_S * 1e9:
            self._on = False
        raw = np.zeros(len(AXES))
        for key, last_ns in self._last_ns.items():
            if now_ns - last_ns <= RELEASE_S * 1e9:
                axis, direction = MOVES[key]
                raw[axis] += direction
        return DeviceState(now_ns, self._calibration.shape(raw), self._on, tuple(pressed))

    def _read(self) -> str:
        """Returns what was typed, without the sequences of arrow and function keys, which hold letters."""
        text = ""
        while self._saved is not None and select.select([self._descriptor], [], [], 0.0)[0]:
            try:
                part = os.read(self._descriptor, 256)
            except OSError as error:
                raise DeviceLost(self.name) from error
            if not part:
                raise DeviceLost(self.name)
            text += part.decode(errors="ignore")
        return _SEQUENCE.sub("", text).lower()

    def let_go(self) -> None:
        """The dead-man's toggle falls off."""
        self._on = False

    def close(self) -> None:
        """Leaves the terminal as it was."""
        atexit.unregister(self.close)
        saved, self._saved = self._saved, None
        if saved is None:
            return
        try:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, saved)
        except termios.error:
            return  # the terminal was closed: nothing is left to restore
