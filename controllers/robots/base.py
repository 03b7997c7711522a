"""What a robot is to the motor loop: four verbs around two records."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


class Robot(Protocol):
    """A torque-controlled arm that compensates gravity itself. Every record is an array of shape (1,)."""

    rate_hz: float

    def start(self) -> None:
        """Makes the arm ready for torques, at zero torque. Raises RuntimeError with the cure if it is not there."""

    def read(self, state: Array) -> None:
        """Fills a STATE array (1,) with the newest reading; a robot that paces the loop blocks here."""

    def write(self, tau_nm: Array) -> None:
        """Applies torques (7,) [Nm] until the next tick."""

    def stop(self) -> None:
        """Ends torque control in an ordered way; may be called twice."""
