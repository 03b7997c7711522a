"""Settings, states and answers of the supervisor; its rules are in safety.supervisor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import IntEnum

from data.errors import UserError
from safety.reasons import Reason

CLOCK_TOLERANCE_NS = 2_000_000
"""A stamp farther ahead of the clock than this is not believed [ns]."""
MAX_RECOVERIES = 100
"""Largest budget of automatic recoveries."""
AUTOMATIC = (Reason.LATCHED.name, Reason.FORCE_TRIP.name, Reason.MOMENT_TRIP.name)
"""The only reasons after which a program may ever go on without a person."""


class SupervisorState(IntEnum):
    """From PROTECTIVE_STOP upwards the arm is latched, ordered by severity."""

    INIT = 0
    """Building, compiling, warming up."""
    IDLE = 1
    """No torque control."""
    ARMED = 2
    """Torque control at the seeded pose; no command was accepted yet."""
    RUN = 3
    """A command is followed."""
    HOLD = 4
    """Soft hold; ends by itself once its cause is gone and another command comes."""
    PROTECTIVE_STOP = 5
    """Latched: a limit tripped, or the arm was held for too long."""
    FAULT = 6
    """Latched: the robot's state was not finite."""
    ESTOP = 7
    """Latched: somebody asked for an emergency stop."""


class Heartbeat(IntEnum):
    """Whose signs of life are watched. Commands age, and the force sensor is watched, in the tick itself."""

    POLICY = 0
    """The process that commands."""
    CAMERA = 1
    """A camera: one beat a frame."""
    LOOP = 2
    """The motor loop: one beat a tick."""
    OPERATOR = 3
    """A person who holds a dead-man switch; software, never to be counted as a safety function."""
    LEARNER = 4
    """The learner: one beat for each set of weights."""
    SUPERVISOR = 5
    """The process at a person's buttons, where one sits there for good."""


@dataclass(frozen=True)
class HeartbeatConfig:
    """(soft, hard) limits of the time since the last beat [s]. Beyond soft it is reported, beyond hard the arm holds.

    A source is watched from its first beat on; one that is required, from the start.
    """

    policy_s: tuple[float, float] = (0.25, 1.0)
    """The commanding process's sign of life [s]."""
    camera_s: tuple[float, float] = (0.1, 0.3)
    """Age of the newest camera frame [s]."""
    loop_s: tuple[float, float] = (0.02, 0.05)
    """Time between two ticks of the motor loop [s]."""
    operator_s: tuple[float, float] = (0.25, 0.25)
    """The operator's dead-man switch [s]."""
    learner_s: tuple[float, float] = (300.0, math.inf)
    """Time between two sets of weights [s]: the policy goes on with the old ones."""
    supervisor_s: tuple[float, float] = (0.1, 0.25)
    """The sign of life of the process at a person's buttons [s]."""
    operator_required: bool = False
    """Whether the arm holds until an operator's switch has given its first beat."""
    supervisor_required: bool = False
    """Whether the arm holds while nobody sits at a person's buttons for good: none came yet, or left in order."""

    def __post_init__(self) -> None:
        for source in Heartbeat:
            limits = self.limits_s(source)
            if not 0.0 < limits[0] <= limits[1]:
                raise ValueError(f"{source.name.lower()}_s must be (soft, hard) with 0 < soft <= hard, got {limits}")

    def required(self, source: Heartbeat) -> bool:
        """Returns whether the arm holds without this source, even where it is not in use."""
        if source == Heartbeat.OPERATOR:
            return self.operator_required
        return source == Heartbeat.SUPERVISOR and self.supervisor_required

    def limits_s(self, source: Heartbeat) -> tuple[float, float]:
        """Returns (soft, hard) of a source [s]."""
        limits: tuple[float, float] = getattr(self, f"{source.name.lower()}_s")
        return limits


@dataclass(frozen=True)
class SupervisorConfig:
    """When the arm holds by itself, and what it takes to leave a latch."""

    enabled: bool = True
    """Off: no heartbeat is watched, every grant is given, and every reseed ends a latch. Beside a robot, or in real
    time, an emergency stop and a latch left by a former process take their person all the same."""
    heartbeats: HeartbeatConfig = field(default_factory=HeartbeatConfig)
    """Limits of the signs of life."""
    automatic: tuple[str, ...] = AUTOMATIC
    """Names of the reasons after which a program may go on without a person, within the budget; some of the default."""
    automatic_max: int = 3
    """Such recoveries within automatic_window_s, 0..100; then a person must reset."""
    automatic_window_s: float = 600.0
    """Window of that budget [s], > 0."""
    press_s: float = 0.5
    """A person's reset is a press of at least this long, and then a release [s], > 0."""
    reset_valid_s: float = 60.0
    """For this long after a person's reset a program may start over [s], > 0."""
    still_rad_s: float = 0.05
    """The arm is calm while no joint is faster than this [rad/s], > 0,"""
    low_force_n: float = 5.0
    """and the force on the tool is at most this [N], > 0,"""
    calm_s: float = 0.1
    """for at least this long [s], >= 0."""
    release_s: float = 0.5
    """A heartbeat must be back for this long before the hold ends [s], >= 0."""
    late_tick_s: float = 0.002
    """A tick that begins later than this is a late one [s], > 0."""
    late_ticks: int = 5
    """This many late ticks within a second end in a hold, if the loop has its real-time measures; 2..1000."""
    grants_per_minute: int = 120
    """Energy grants that a program may ask for within a minute of the motor's clock, 1..10000."""
    simulated_person: bool = False
    """Simulation only: latches are reset as if a person had looked, and counted, so that training goes on alone."""

    def __post_init__(self) -> None:
        refused = [name for name in self.automatic if name not in AUTOMATIC]
        if refused:
            raise ValueError(f"automatic must be some of {list(AUTOMATIC)}, got {refused}: those take a person")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float) and not 0.0 <= value < math.inf:
                raise ValueError(f"{entry.name} must be a finite number >= 0, got {value}")
        for name in ("automatic_window_s", "press_s", "reset_valid_s", "still_rad_s", "low_force_n", "late_tick_s"):
            if getattr(self, name) == 0.0:
                raise ValueError(f"{name} must be above 0, got 0")
        if not 0 <= self.automatic_max <= MAX_RECOVERIES:
            raise ValueError(f"automatic_max must be 0..{MAX_RECOVERIES}, got {self.automatic_max}")
        if not 2 <= self.late_ticks <= 1000:
            raise ValueError(f"late_ticks must be 2..1000, got {self.late_ticks}")
        if not 1 <= self.grants_per_minute <= 10_000:
            raise ValueError(f"grants_per_minute must be 1..10000, got {self.grants_per_minute}")


class Answer(IntEnum):
    """What the supervisor says to a wish to start over, to a person's reset, or to a wish for energy."""

    GRANTED = 0
    """Granted."""
    NOT_CALM = 1
    """Not yet: the arm is not still, or the force on the tool is not low, or the state is not finite."""
    PERSON = 2
    """A person must reset."""
    ESTOP_PRESSED = 3
    """The emergency stop is still pressed."""
    TOO_SHORT = 4
    """The press was shorter than press_s."""
    PRESSED_BEFORE = 5
    """The button was pressed already when the latch came: release it, then press again."""
    NOT_LATCHED = 6
    """There is nothing to reset."""
    NO_PRESS = 7
    """A release without a press."""
    FOLLOWING = 8
    """No grant: a policy's command is followed."""
    TOO_MANY_GRANTS = 9
    """No grant: there were grants_per_minute of them within the last minute."""


ANSWER_WORDS = {
    Answer.GRANTED: "granted",
    Answer.NOT_CALM: "the arm is not still yet, or something still presses on the tool",
    Answer.PERSON: "a person must reset",
    Answer.ESTOP_PRESSED: "the emergency stop is still pressed: release it first",
    Answer.TOO_SHORT: "the button was let go too early",
    Answer.PRESSED_BEFORE: "the button was pressed already when the arm was stopped: release it, then press again",
    Answer.NOT_LATCHED: "nothing is latched",
    Answer.NO_PRESS: "the button was released without a press",
    Answer.FOLLOWING: "a policy's command is followed: call reset() first, an episode has one budget",
    Answer.TOO_MANY_GRANTS: "there were too many within a minute: make episodes longer, or raise "
    "SupervisorConfig.grants_per_minute",
}


class ResetRefused(UserError):
    """The arm is latched and may not start over yet: the message says what it takes."""

    def __init__(self, answer: Answer, reason: int, motor: str) -> None:
        """motor: name of the motor process, "" for a simulation in lock-step."""
        self.answer, self.reason, self.motor = answer, reason, motor
        person = answer == Answer.PERSON
        if not person:
            cure = "see to that, then try again"
        elif motor:
            cure = f"look at the arm, then `robot-rl safety reset {motor}`, then go on"
        else:
            cure = "start again, or switch on SupervisorConfig.simulated_person for training that goes on alone"
        link = ":" if person else ";"
        super().__init__(f"the arm was stopped ({reason_name(reason)}): {ANSWER_WORDS[answer]}{link} {cure}")


class GrantRefused(UserError):
    """The energy tank was not filled: the message says what it takes."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"no energy was granted: {ANSWER_WORDS[answer]}")


def believed_ns(stamp_ns: int, now_ns: int) -> int | None:
    """Returns the time of a sign of life [ns], at most now; None where the stamp lies in the future."""
    return None if stamp_ns > now_ns + CLOCK_TOLERANCE_NS else min(stamp_ns, now_ns)


def reason_name(code: int) -> str:
    """Returns the name of a reason code, the number itself for an unknown one."""
    return Reason(code).name if code in Reason.__members__.values() else str(code)
