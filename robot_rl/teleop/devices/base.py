"""What an input device is: axes in the operator's frame, a dead-man, and buttons with a meaning.

The operator's frame is right-handed and follows REP-103, seen by the person who holds the device: x away from the
person, y to the left, z up. The last three axes are rotations about these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

Array = NDArray[np.float64]
AXES = ("x", "y", "z", "rx", "ry", "rz")
"""Axes of every device, in their order; operator's frame."""


class Button(Enum):
    """What a press means, whatever the button is called on the device."""

    GRIPPER_OPEN = auto()
    GRIPPER_CLOSE = auto()
    SUCCESS = auto()
    """The task is done: the episode ends as a success."""
    DISCARD = auto()
    """The episode is worth nothing. While recording it is dropped; in training it ends as a failure."""
    TAKEOVER = auto()
    """The person takes the arm, also with the stick at rest."""
    HAND_BACK = auto()
    """The policy gets the arm back."""
    SLOWER = auto()
    FASTER = auto()


def _zeros() -> Array:
    return np.zeros(len(AXES))


@dataclass(frozen=True, eq=False)
class DeviceState:
    """What a device says at one moment."""

    stamp_ns: int
    """When it was looked at, on the monotonic clock."""
    axes: Array = field(default_factory=_zeros)
    """(6,) in [-1, 1], operator's frame, after the calibration; exactly 0 within the dead zone."""
    held: bool = False
    """Whether the dead-man is held: without it nothing moves."""
    pressed: tuple[Button, ...] = ()
    """Presses since the last look, in their order."""

    @property
    def moving(self) -> bool:
        """Whether any axis is beyond its dead zone."""
        return bool(self.axes.any())


class Device(Protocol):
    """One input device. `open` it first; `poll` never waits."""

    name: str

    def open(self) -> None:
        """Takes the device. Raises UserError where there is none, or no right to it."""

    def poll(self, now_ns: int) -> DeviceState:
        """Takes in what has happened since the last call. Raises DeviceLost when the device is gone."""

    def let_go(self) -> None:
        """An episode begins: a dead-man that is a toggle falls off; one under a finger stays as it is."""

    def close(self) -> None:
        """Gives the device back as it was; harmless when called again."""


class DeviceLost(UserError):
    """The device was unplugged, or its terminal closed, while it was in use. Who polls it holds the arm."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is gone (unplugged, out of power, or its terminal was closed): the arm holds where it is; "
            "connect it again, then type the same command to go on"
        )
