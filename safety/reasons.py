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
    ENERGY_SHARE = 13
    """The tank could not pay for the whole move of reference or stiffness: it was granted in part."""
    TORQUE_RATE = 20
    """A joint torque changed faster than allowed and was limited."""
    TORQUE = 21
    """A joint torque exceeded its bound and was limited."""
    TANK_EMPTY = 22
    """The tank is empty: nothing that costs energy is let through, damping is raised."""
    ENERGY_GATE = 23
    """The torque was scaled down: over one tick it could have delivered more energy than there is."""
    SOFT = 30
    """The risk is raised: softer, better damped, slower."""
    UNSEEDED = 40
    """No command was accepted yet: the arm holds the pose at which the chain was seeded."""
    REFUSED = 41
    """The newest command was not usable, see Refusal; the last good one ages."""
    STALE = 42
    """The last good command is older than the age limit: the reference is frozen."""
    REFLEX = 43
    """The risk is too high: the command is dropped and the recovery acts."""
    HOLD = 50
    """No good command for longer than the stop limit: soft hold at the measured pose."""
    JOINT_LIMIT = 51
    """A joint is within the stop distance of its limit: soft hold, repulsion only."""
    RISK_HOLD = 52
    """The recovery did not bring the risk down in time: soft hold until it is low."""
    SENSOR_STUCK = 53
    """The force sensor stands still: soft hold until it reads again and another command is accepted."""
    HEARTBEAT = 54
    """A sign of life is missing (camera, operator, motor loop, commanding process): soft hold until it is back."""
    PERSON_HOLD = 55
    """A person asked for a hold: soft hold until a person lets it go on and another command is accepted."""
    LATCHED = 60
    """Held for too long: only a reseed by the supervisor (or a reset of the link) ends the hold."""
    RISK_STOP = 61
    """Too many holds for risk in a short time; latched."""
    FORCE_TRIP = 62
    """The contact force exceeded its limit; latched."""
    MOMENT_TRIP = 63
    """The contact moment exceeded its limit; latched."""
    SPEED_TRIP = 64
    """The control point was faster than allowed; latched."""
    TURN_TRIP = 65
    """The tool turned faster than allowed; latched."""
    POWER_TRIP = 66
    """The controller put more power into the joints than allowed; latched."""
    JOINT_SPEED_TRIP = 67
    """A joint was faster than allowed; latched."""
    WORKSPACE_TRIP = 68
    """The control point left the workspace; latched."""
    ESTOP = 69
    """Emergency stop requested in software; latched."""
    STATE_INVALID = 70
    """The robot's state held a number that is not finite: torque goes to zero at the rate limit. Or, while the
    ledger enforces, a joint moved farther in a tick than its drive lets it: the spring is let go. Latched."""
    LATCH_UNREADABLE = 71
    """What a former motor process remembered of a latch is damaged: latched, since there may have been one."""
    ROBOT_FAULT = 72
    """The robot stopped itself, or its connection broke; latched, and it ends with a person's reset alone."""


class Refusal(IntEnum):
    """Which check of the intake turned a command down."""

    ACCEPTED = 0
    """It became the goal."""
    NOT_FINITE = 1
    """A number is NaN or infinite (the gripper alone may be NaN: leave it)."""
    NOT_UNIT = 2
    """The quaternion's length is off 1 by more than 0.001: it was not meant as a rotation."""
    STIFFNESS_RANGE = 3
    """A stiffness lies outside stiffness_min .. stiffness_max."""
    DAMPING_RANGE = 4
    """The damping ratio lies outside its bounds."""
    WRENCH_RANGE = 5
    """The feed-forward wrench exceeds max_wrench."""
    SEQUENCE = 6
    """Not newer than the newest one looked at: repeated, reordered or late."""
    OLD = 7
    """Stamped longer ago than age_limit_s."""
    FROM_FUTURE = 8
    """Stamped more than 2 ms ahead of the motor's clock."""
    TOO_FAR = 9
    """Farther than max_jump_m from the measured position, or nearly half a turn from the measured rotation."""
    DURATION = 10
    """Not in (0, 10] s."""
    LATCHED = 11
    """The chain is latched: a reseed comes first."""
    REFLEX = 12
    """The recovery has the arm, or a hold for risk: commands count again once it gives the arm back."""
    HELD = 13
    """The supervisor holds the arm: a sign of life is missing, or a person asked for it."""
