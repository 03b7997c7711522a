"""What a robot is to the motor loop: four verbs around two records, and a fifth if it has a gripper."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from data.errors import UserError

Array = NDArray[Any]


class Robot(Protocol):
    """A torque-controlled arm that compensates gravity itself. Every record is an array of shape (1,).

    A simulated one says so by a `simulated` that is True; whatever has none counts as a real arm.
    """

    rate_hz: float

    def start(self) -> None:
        """Makes the arm ready for torques, at zero torque. Raises RuntimeError with the cure if it is not there."""

    def read(self, state: Array) -> None:
        """Fills a STATE array (1,) with the newest reading; a robot that paces the loop blocks here."""

    def write(self, tau_nm: Array) -> None:
        """Applies torques (7,) [Nm] until the next tick."""

    def stop(self) -> None:
        """Ends torque control in an ordered way; may be called twice."""


def is_simulated(robot: Robot) -> bool:
    """Returns whether the robot says that it is a simulated one."""
    return getattr(robot, "simulated", False) is True


def require_real_person(robot: Robot, simulated_person: bool) -> None:
    """Raises UserError for a simulated person beside a robot that is not simulated."""
    if simulated_person and not is_simulated(robot):
        raise UserError(
            f"expected a simulated arm with SupervisorConfig.simulated_person, got {type(robot).__name__}: "
            "leave it off, a person has to look at a real one"
        )


@runtime_checkable
class CanGrip(Protocol):
    """What a robot that moves a gripper offers besides; its `read` then fills `gripper_m` with the measured opening."""

    def grip(self, opening_m: float) -> None:
        """Lets the gripper move to an opening [m] within its range, and hold it, with its usual force and speed.

        Called in the tick: it hands the wish over and returns at once, however long the gripper takes.
        """


class GripRelay:
    """Hands each new opening of the chain on to the robot, once: a tick in which it stays costs a comparison."""

    def __init__(self, robot: Robot, gripper_range_m: tuple[float, float] | None) -> None:
        """gripper_range_m: the tool's; None: it has no gripper. Raises UserError for one that the robot cannot move."""
        self._robot: CanGrip | None = None
        self._asked_m = math.nan
        if gripper_range_m is None:
            return
        if not isinstance(robot, CanGrip):
            raise UserError(
                f"expected a robot that can move the tool's gripper, got {type(robot).__name__} without "
                "grip(opening_m): add that, or leave gripper_range_m out of the tool"
            )
        self._robot = robot

    def follow(self, opening_m: float) -> None:
        """Asks the robot for the executed opening of a report [m] if it is another than before; NaN asks nothing."""
        if self._robot is None or opening_m == self._asked_m:
            return
        self._asked_m = opening_m
        if not math.isnan(opening_m):
            self._robot.grip(opening_m)

    def forget(self) -> None:
        """The next opening is asked for whatever was asked before: the gripper was moved by other means."""
        self._asked_m = math.nan


class RobotFault(UserError):
    """The robot stopped itself, or its connection broke: what happened and what to do about it, in one line."""


@runtime_checkable
class PacesLoop(Protocol):
    """What a robot offers whose `read` blocks until its next packet: the loop then keeps no time of its own."""

    paces: bool
    """True."""
    packet_ns: int
    """When the packet of the last `read` arrived [ns], CLOCK_MONOTONIC."""


@runtime_checkable
class Connected(Protocol):
    """What a robot behind a network connection counts."""

    lost_packets: int
    """Packets of the robot that never arrived, since its start."""
    success_rate: float
    """Share of our commands that reached the robot in time since its start; NaN while it is unknown."""
    complaint: str
    """What is wrong with the connection at present, and the cure; "" while nothing is."""
    must_stop: bool
    """Whether the complaint is grave enough to end control in order."""


@runtime_checkable
class CanRecover(Protocol):
    """What a robot offers that may stop itself and then needs a person's leave to go on."""

    fault: str
    """What it stands still for, and the cure; "" if it is ready."""

    def recover(self) -> None:
        """Clears the fault; only after a person's reset. Raises RobotFault if it does not go away."""
