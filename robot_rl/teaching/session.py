"""The terminal of a lesson: keys, the live line, and what happens when the arm stops in the middle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from robot_rl.teaching.guide import ArmStoppedError, Guide, Reading, Rest, RestlessError
from robot_rl.training.keys import Keys
from safety.supervision import ResetRefused

ENTER, BACK, QUIT, NEXT = "\n", "b", "q", "n"
_LIVE_EVERY = 10
"""Ticks between two live lines."""


class BackError(Exception):
    """The operator wants the step before."""


class QuitError(Exception):
    """The operator wants to end; nothing is written."""


class Session:
    """Guides the arm while it waits for keys. Nobody else may read the terminal meanwhile."""

    def __init__(self, guide: Guide, keys: Keys, out: TextIO | None = None) -> None:
        self.guide, self._keys, self._out = guide, keys, out or sys.stdout
        self._typed, self._ticks, self._live = "", 0, False

    def say(self, text: str = "") -> None:
        """Prints a line."""
        self._out.write(("\n" if self._live else "") + text + "\n")
        self._out.flush()
        self._live = False

    def wait(
        self,
        wanted: str,
        live: Callable[[Reading], str] = lambda reading: "",
        each: Callable[[Reading], None] = lambda reading: None,
    ) -> str:
        """Guides until one of the wanted keys is typed, and returns it.

        live: adds to the live line; each: sees every tick. Raises BackError and QuitError for the keys b
        and q, the latter also where the terminal has gone.
        """
        while True:
            reading = self._tick()
            each(reading)
            self._show(reading, live(reading))
            key = self._next_key(wanted)
            if key:
                return key

    def rest(self, pressing: bool = False) -> Rest | None:
        """Returns the mean of half a second at rest; None where the arm did not rest, or stopped: that was said."""
        try:
            return self.guide.rest(pressing)
        except RestlessError as error:
            self.say(f"   not taken: {error}")
        except ArmStoppedError as stopped:
            self._recover(stopped)
        return None

    def _next_key(self, wanted: str) -> str:
        """Returns the next wanted key, if any was typed; hands the others to the simulated hand."""
        self._typed += self._keys.typed()
        if not self._keys.available and not self._typed:
            raise QuitError
        while self._typed:
            key, self._typed = self._typed[0], self._typed[1:]
            if key in wanted:
                return key
            if key == BACK:
                raise BackError
            if key == QUIT:
                raise QuitError
            if self.guide.hand is not None and self.guide.hand.move(key, self.guide.here):
                continue
        return ""

    def _tick(self) -> Reading:
        while True:
            try:
                return self.guide.tick()
            except ArmStoppedError as stopped:
                self._recover(stopped)

    def _recover(self, stopped: ArmStoppedError) -> None:
        """Says why the arm stopped and what to do, and waits until it may be led again."""
        motor = getattr(self.guide.link, "name", "")
        self.say(f"   The arm stopped: {stopped}. What was shown so far is kept.")
        self.say("   Look at the arm; free the tool if it is caught. Then press Enter to go on (q quits).")
        self._typed = ""
        while True:
            keys = self._keys.typed(0.2)
            if QUIT in keys or not self._keys.available:
                raise QuitError
            if ENTER not in keys:
                continue
            try:
                self.guide.start_over()
            except ResetRefused as refused:
                self.say(f"   {refused}")
                self.say(f"   In another terminal: robot-rl safety reset {motor}   then press Enter here.")
                continue
            self.say("   The arm can be led again.")
            return

    def _show(self, reading: Reading, more: str) -> None:
        self._ticks += 1
        if self._ticks % _LIVE_EVERY:
            return
        x, y, z = (1e3 * value for value in reading.T_base_tool.position_m)
        held = f"   HELD: {reading.held_by}" if reading.held_by else ""
        line = f"   tool {x:6.1f} {y:6.1f} {z:6.1f} mm   force {reading.force_n:4.1f} N   {more}{held}"
        self._out.write(f"\r\x1b[K{line}")
        self._out.flush()
        self._live = True
