"""What a link in real time needs of the way to a motor process: records out, records in, reports.

Memory of this machine is one such way (controllers.shared_memory.sides.ParentSide); topics are another.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from controllers.shared_memory.sides import MotorStatus
from safety.supervision import Heartbeat


class Outlet(Protocol):
    """Where records go out one by one."""

    def publish(self, record: Any) -> Any:
        """Hands a 0-d record array over."""


class Inlet(Protocol):
    """Where the newest record comes in."""

    def poll(self, out: memoryview) -> bool:
        """Copies a record that was not read yet to `out` (bytes of a record); False if there is none."""


class Reports(Protocol):
    """The tick reports as they come in."""

    @property
    def lost(self) -> int:
        """How many never came."""

    @property
    def written(self) -> int:
        """How many came so far."""

    @property
    def waiting(self) -> int:
        """How many came since the last `drain` or `skip`."""

    def skip(self) -> None:
        """Passes over those that wait."""

    def drain(self) -> NDArray[Any]:
        """Returns those that wait, REPORT (n,)."""

    def newest(self) -> NDArray[Any] | None:
        """Returns the newest, REPORT (1,); None before the first."""


class Side(Protocol):
    """The commanding process's end of the way to a motor process."""

    @property
    def commands(self) -> Outlet:
        """Of COMMAND."""

    @property
    def requests(self) -> Outlet:
        """Of REQUEST."""

    @property
    def critic(self) -> Outlet:
        """Of CRITIC_WEIGHTS."""

    @property
    def answers(self) -> Inlet:
        """Of ANSWER."""

    @property
    def ring(self) -> Reports:
        """The tick reports."""

    def heartbeat(self, source: Heartbeat, now_ns: int) -> None:
        """Passes a source's sign of life on; 0 for one that is no longer in use."""

    def status(self) -> MotorStatus:
        """Returns what the motor process says about itself."""
