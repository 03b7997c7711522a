"""The buttons of a person beside a motor process: reset and emergency stop, from another process than the policy's.

Anybody may look, and press the emergency stop, at any time. To reset, and to release the emergency stop, takes the
seat, which one person holds at a time. A physical button does the same: whoever reads it holds the seat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.layout import Status
from controllers.shared_memory.sides import PersonSide
from data.errors import UserError
from safety.supervision import Answer, SupervisorState

_REFRESH_S = 0.05
_ANSWER_S = 2.0
_PRESSES = 3


class Seen(NamedTuple):
    """What the motor process shows at its buttons."""

    state: SupervisorState
    latch_reason: int
    hold_reason: int
    recoveries_left: int
    trips: int


@contextmanager
def _beside(motor: str) -> Iterator[PersonSide]:
    """The words of a motor process without its seat. Raises BlockError if no such process lives."""
    block = SharedBlock.attach(motor, command=False)
    side = PersonSide(block)
    try:
        yield side
    finally:
        side.release()
        block.close()


def look(motor: str) -> Seen:
    """Returns what a motor process shows, whoever sits at its buttons. Raises BlockError if no such process lives."""
    with _beside(motor) as side:
        return _seen(side)


def press_estop(motor: str) -> None:
    """Presses the emergency stop, whoever sits at the buttons. Raises BlockError if no such process lives."""
    with _beside(motor) as side:
        side.press_estop(time.monotonic_ns())


def _seen(side: PersonSide) -> Seen:
    return Seen(
        SupervisorState(side.word(Status.SUPERVISOR)),
        side.word(Status.LATCH_REASON),
        side.word(Status.HOLD_REASON),
        side.word(Status.RECOVERIES_LEFT),
        side.word(Status.TRIPS),
    )


class PersonSeat:
    """One person at the buttons of one motor process; a second one is refused."""

    def __init__(self, motor: str) -> None:
        """Raises BlockError if no such process lives, BlockInUse if somebody else is there."""
        self._motor = motor
        self._block = SharedBlock.attach(motor, command=False, person=True)
        self._side = PersonSide(self._block)
        self.release()  # what a former seat left pressed when it died was no press of this person
        self._side.beat(0)

    def seen(self) -> Seen:
        """What the motor process says now."""
        return _seen(self._side)

    def deserted(self) -> bool:
        """Whether the motor process of this seat is dead, or another one has taken its name."""
        return self._block.abandoned()

    def press(self) -> None:
        """Presses the reset button, or says that it is still pressed: to be repeated within 0.5 s."""
        self._side.button(True, time.monotonic_ns(), os.getpid())

    def release(self) -> None:
        """Lets go of the reset button."""
        self._side.button(False, time.monotonic_ns(), os.getpid())

    def beat(self) -> None:
        """A sign of life of a seat that stays: from the first one on, the arm is held where the next is missing."""
        self._side.beat(time.monotonic_ns())

    def hold(self, held: bool) -> None:
        """Has the arm held softly, until it is let go on; what was asked for remains when the seat is left."""
        self._side.hold(held)

    def estop(self, pressed: bool) -> None:
        """Presses or releases the emergency stop."""
        if pressed:
            self._side.press_estop(time.monotonic_ns())
        else:
            self._side.release_estop()

    def hold_and_release(self, held_s: float) -> Answer:
        """Presses the reset button for so long, lets go, and returns what the supervisor made of it.

        Raises UserError if the motor process does not look at its buttons.
        """
        time.sleep(_REFRESH_S)  # long enough for the loop to see the button up
        releases = self._side.word(Status.RELEASES)
        until_s = time.monotonic() + held_s
        while time.monotonic() < until_s:
            self.press()
            time.sleep(_REFRESH_S)
        self.release()
        deadline_s = time.monotonic() + _ANSWER_S
        while self._side.word(Status.RELEASES) == releases:
            if time.monotonic() > deadline_s:
                raise UserError(f"motor process {self._motor!r} does not look at its buttons: it hangs or is stopping")
            time.sleep(0.005)
        return Answer(self._side.word(Status.RESET_ANSWER))

    def ask_reset(self, held_s: float) -> Answer:
        """As hold_and_release, pressed up to three times where that lapsed or was too short.

        A stall of this process lets a press lapse, one of the motor process makes it begin late. What counts as a whole
        one is decided there. Where the arm was stopped anew meanwhile nothing is pressed again: nobody has looked at
        that. Raises UserError.
        """
        trips = self._side.word(Status.TRIPS)
        for _ in range(_PRESSES):
            answer = self.hold_and_release(held_s)
            if answer not in (Answer.NO_PRESS, Answer.TOO_SHORT):
                break
            if self._side.word(Status.TRIPS) != trips:
                return Answer.PRESSED_BEFORE
        return answer

    def close(self) -> None:
        """Leaves the seat; the emergency stop and a hold stay as they are."""
        self.release()
        self._side.beat(0)
        self._side.release()
        self._block.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
