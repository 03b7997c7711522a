"""`robot-rl safety replay|status|reset|estop`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controllers.latch_memory import forget_latch, latch_path
from controllers.person import PersonSeat, look, press_estop
from controllers.shared_memory.block import BlockError, BlockInUse
from data.errors import UserError
from robot_rl.cli.output import table
from robot_rl.config_safety import SafetyEstopConfig, SafetyReplayConfig, SafetyResetConfig, SafetyStatusConfig
from safety.supervision import ANSWER_WORDS, Answer, SupervisorState, reason_name

_QUESTION = (
    "Look at the arm: is nobody within its reach, is what stopped it gone, may it move again? Type yes to reset: "
)


def replay(config: SafetyReplayConfig) -> dict[str, Any]:
    """Writes the page of a flight and says where it lies."""
    from robot_rl.report.flight import write_flight_page

    flight = Path(config.path)
    out = Path(config.out) if config.out else flight.with_suffix(".html")
    if flight.exists() and out.exists() and out.samefile(flight):
        raise UserError(f"out={out} is the flight itself: name another file")
    if out.is_dir():
        raise UserError(f"out={out} is a folder: name a file in it")
    if not out.parent.is_dir():
        raise UserError(f"expected a folder {out.parent} for out={out}, found none: make it, or name another file")
    path = write_flight_page(flight, out)
    print(f"flight: {path}")
    return {"page": str(path)}


def status(config: SafetyStatusConfig) -> dict[str, Any]:
    """Prints and returns what the supervisor of a motor process says."""
    with _latch_named(config.motor):
        seen = look(config.motor)
    latched = seen.state >= SupervisorState.PROTECTIVE_STOP
    figures = {
        "motor": config.motor,
        "state": seen.state.name,
        "latched_by": reason_name(seen.latch_reason) if latched else None,
        "held_by": reason_name(seen.hold_reason) if seen.hold_reason else None,
        "latches": seen.trips,
        "recoveries_left": seen.recoveries_left,
        "what_to_do": f"look at the arm, then robot-rl safety reset {config.motor}" if latched else "nothing",
    }
    print(table(figures))
    return figures


def reset(config: SafetyResetConfig) -> dict[str, Any]:
    """Presses and releases the reset button of a motor process, or clears the latch that a dead one left behind."""
    try:
        seat = PersonSeat(config.motor)
    except BlockInUse:
        raise
    except BlockError:
        return _reset_for_the_next(config)
    with seat:
        seen = seat.seen()
        if seen.state < SupervisorState.PROTECTIVE_STOP:
            print(f"{config.motor}: {ANSWER_WORDS[Answer.NOT_LATCHED]}, its state is {seen.state.name}")
            return {"motor": config.motor, "reset": False, "state": seen.state.name}
        print(f"{config.motor} was stopped: {reason_name(seen.latch_reason)}")
        _confirm(config)
        answer = seat.ask_reset(config.held_s)
    if answer != Answer.GRANTED:
        raise UserError(f"{config.motor} was not reset: {ANSWER_WORDS[answer]}; see to that, then reset again")
    print(f"{config.motor} is reset: the program that commands it may start over within the next minute")
    return {"motor": config.motor, "reset": True, "state": seen.state.name}


def _reset_for_the_next(config: SafetyResetConfig) -> dict[str, Any]:
    if not latch_path(config.motor).exists():
        raise UserError(f"no motor process named {config.motor!r} runs, and none has left a latch; see its name again")
    print(f"no motor process {config.motor} runs; the last one was latched when it ended")
    _confirm(config)
    forget_latch(config.motor)
    print(f"{config.motor} is reset: the next motor process of this name begins without a latch")
    return {"motor": config.motor, "reset": True, "state": SupervisorState.IDLE.name}


def estop(config: SafetyEstopConfig) -> dict[str, Any]:
    """Presses the emergency stop in software, whoever sits at the buttons, or releases it from their seat."""
    with _latch_named(config.motor):
        if config.release:
            with PersonSeat(config.motor) as seat:
                seat.estop(False)
        else:
            press_estop(config.motor)
    done = "released; the arm stays stopped until somebody resets it" if config.release else "pressed"
    print(f"{config.motor}: emergency stop {done}")
    return {"motor": config.motor, "pressed": not config.release}


@contextmanager
def _latch_named(motor: str) -> Iterator[None]:
    """Adds to the error of a motor process that does not run whether it left a latch."""
    try:
        yield
    except BlockInUse:
        raise
    except BlockError as error:
        left = " (it left a latch: robot-rl safety reset ends it)" if latch_path(motor).exists() else ""
        raise UserError(f"{error}{left}") from None


def _confirm(config: SafetyResetConfig) -> None:
    """Asks the person. Raises UserError without a yes."""
    if config.yes:
        return
    if not sys.stdin.isatty():
        raise UserError("expected a person at the terminal to say yes, found none: look at the arm, then add --yes")
    if input(_QUESTION).strip().lower() != "yes":
        raise UserError("not reset: expected yes; the arm stays stopped")
