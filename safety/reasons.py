"""Why a tick did not simply execute what it was asked: one enum for all layers."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Ordered by severity: where several apply in one tick, the greatest is reported."""

    NONE = 0
    """Executed as proposed."""
    SLEW = 1
    """The reference is still on its way to the target under the speed and acceleration limits."""
    STIFFNESS_SLEW = 2
    """The stiffness is still on its way to the wished one."""
    BOX = 10
    """The target lay outside the workspace box and was moved to its face."""
    CONE = 11
    """The target tilted the tool beyond the cone about the task axis and was turned back to its mantle."""
    LEASH = 12
    """The reference would have left the leash about the measured pose and was pulled back."""
    TORQUE_RATE = 20
    """A joint torque changed faster than allowed and was limited."""
    TORQUE = 21
    """A joint torque exceeded its bound and was limited."""
    UNSEEDED = 40
    """No command was accepted yet: the arm holds the pose at which the chain was seeded."""
    REFUSED = 41
    """The newest command was not usable, see Refusal; the last good one ages."""
    STALE = 42
    """The last good command is older than the age limit: the reference is frozen."""
    HOLD = 50
    """No good command for longer than the stop limit: soft hold at the measured pose."""
    JOINT_LIMIT = 51
    """A joint is within the stop distance of its limit: soft hold, repulsion only."""
    LATCHED = 60
    """Held for too long: only a reseed by the supervisor (or a reset of the link) ends the hold."""
    STATE_INVALID = 70
    """The robot's state held a number that is not finite: torque goes to zero at the rate limit; latched."""


class Refusal(IntEnum):
    """Which check of the intake turned a command down."""

    ACCEPTED = 0
    NOT_FINITE = 1
    NOT_UNIT = 2
    STIFFNESS_RANGE = 3
    DAMPING_RANGE = 4
    WRENCH_RANGE = 5
    SEQUENCE = 6
    OLD = 7
    FROM_FUTURE = 8
    TOO_FAR = 9
    DURATION = 10
    LATCHED = 11
