"""Somebody who sits at a motor process's buttons for good: takes the seat, says that he lives, presses when told.

The signs of life come from a thread of their own, so that no slow callback holds the arm; but they end where the node's
executor has served nobody for a second: a stop service that nobody answers is no stop service.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from controllers.person import PersonSeat, Seen, look, press_estop
from controllers.shared_memory.block import BlockError
from data.errors import UserError
from safety.supervision import ANSWER_WORDS, Answer, SupervisorState, reason_name

BEAT_S = 0.02
"""Period of the signs of life; the motor process holds the arm where none came for 0.25 s."""
_TRY_S, _LOOK_S = 0.05, 0.2
Told = tuple[bool, str]
"""Whether it is done, and words for a person."""


class Attendant:
    """The seat at one motor process, over any number of its lives. Its verbs may be called from any thread."""

    def __init__(
        self, motor: str, start_held: bool, press_s: float, serving: Callable[[], bool], beaten: Callable[[], None]
    ) -> None:
        """start_held: a motor process that appears is held until `arm`. serving: whether callbacks still run.

        beaten: called after each sign of life.
        """
        self.motor, self._start_held, self._press_s = motor, start_held, press_s
        self._serving, self._beaten = serving, beaten
        self._lock, self._leaving = threading.Lock(), threading.Event()
        self._seat: PersonSeat | None = None
        self._held: bool | None = None  # None: nobody said anything, what was asked for before remains
        self._stopped = False
        self._tried_s = self._looked_s = -1.0
        self._reset = threading.Lock()
        self.absence = f"no motor process named {motor!r} was found yet"
        """Why there is no seat."""
        self._thread = threading.Thread(target=self._run, name="supervisor-beats", daemon=True)

    def start(self) -> None:
        """Begins to look for the motor process, and to say that this process lives."""
        self._thread.start()

    def leave(self) -> None:
        """Leaves the seat in order: the arm is no longer watched from here; a hold and a stop remain as they are."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._reset, self._lock:  # a reset that is under way is let finish
            self._give_up("the supervisor has left")

    @property
    def seated(self) -> bool:
        """Whether the seat is taken now."""
        return self._seat is not None

    def seen(self) -> Seen | None:
        """Returns what the motor process shows, None where there is none."""
        with self._lock:
            if self._seat is not None:
                return self._seat.seen()
        try:
            return look(self.motor)
        except BlockError:
            return None

    # What a person asks for

    def hold(self) -> Told:
        """Has the arm held until `arm`; a motor process that is not there yet, from its start."""
        with self._lock:
            self._held = True
            if self._seat is None:
                return False, f"nothing is held yet: {self.absence}; one that starts will be"
            self._seat.hold(True)
        return True, "held until somebody calls arm"

    def arm(self) -> Told:
        """Lets a held arm go on, with the next command that it gets."""
        with self._lock:
            if self._seat is None:
                return False, f"refused: {self.absence}"
            self._held = False
            self._seat.hold(False)
            seen = self._seat.seen()
        if seen.state >= SupervisorState.PROTECTIVE_STOP:
            reason = reason_name(seen.latch_reason)
            return True, f"no longer held, but still stopped ({reason}): look at the arm, then call reset"
        return True, "armed: the arm follows the next command"

    def press_stop(self) -> Told:
        """Presses the emergency stop: latched until it is released and a person has reset."""
        with self._lock:
            self._stopped = True
            try:
                if self._seat is not None:
                    self._seat.estop(True)
                else:
                    press_estop(self.motor)  # somebody else is at the buttons: anybody may press this one
            except BlockError as error:
                return False, f"nothing was stopped: {error}; a motor process that appears will be stopped"
        return True, "stopped; to go on: release, look at the arm, reset"

    def release_stop(self) -> Told:
        """Releases the emergency stop; the arm stays stopped until a reset."""
        with self._lock:
            if self._seat is None:  # what was refused is not done later either: the next motor process stays stopped
                return False, f"refused: {self.absence}"
            self._stopped = False
            self._seat.estop(False)
        return True, "released; the arm stays stopped until somebody looks at it and calls reset"

    def reset(self) -> Told:
        """Presses and releases the reset button; takes as long as the press and a little more."""
        if not self._reset.acquire(blocking=False):
            return False, "refused: another reset is under way"
        try:
            with self._lock:
                seat = self._seat
            if seat is None:
                return False, f"refused: {self.absence}"
            answer = seat.ask_reset(self._press_s)
        except UserError as error:
            return False, f"refused: {error}"
        finally:
            self._reset.release()
        if answer == Answer.GRANTED:
            return True, "reset: the program that commands the arm may start over within the next minute"
        return answer == Answer.NOT_LATCHED, f"nothing was reset: {ANSWER_WORDS[answer]}"

    # The thread

    def _run(self) -> None:
        while not self._leaving.wait(BEAT_S):
            with self._lock:
                self._turn(time.monotonic())

    def _turn(self, now_s: float) -> None:
        if self._seat is None and now_s - self._tried_s > _TRY_S:
            self._tried_s = now_s
            self._take()
        elif self._seat is not None and now_s - self._looked_s > _LOOK_S:
            self._looked_s = now_s
            if self._seat.deserted() and self._reset.acquire(blocking=False):
                self._give_up(f"motor process {self.motor!r} has gone; the next one of this name is taken")
                self._reset.release()
        if self._seat is not None and self._serving():
            self._seat.beat()
            self._beaten()

    def _take(self) -> None:
        try:
            seat = PersonSeat(self.motor)
        except BlockError as error:
            self.absence = str(error)
            return
        if self._start_held or self._held:
            self._held = True
        if self._held is not None:
            seat.hold(self._held)
        if self._stopped:
            seat.estop(True)
        self._seat = seat

    def _give_up(self, why: str) -> None:
        seat, self._seat, self.absence = self._seat, None, why
        if seat is not None:
            seat.close()
