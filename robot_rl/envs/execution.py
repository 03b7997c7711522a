"""One decision as it really ran: how long, who moved the arm, and how often the reflex arbiter stepped in so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.types import Source
from robot_rl.tasks.base import Sensed
from safety.reflex import Mode

BURST_GAP_S = 1.0
"""Reflexes that begin within this time after the arm was given back belong to one burst [s]."""


@dataclass(frozen=True, eq=False)
class Execution:
    """What became of one decision. The arbiter takes the arm in the middle of one, and ends it thereby."""

    recovering: bool
    """The arbiter had the arm from the beginning: nothing was sent."""
    interrupted: bool
    """It began with a command and ended early, in the tick in which the command was dropped."""
    cut_short: bool
    """It ended before its period was over: interrupted, or the arm was given back."""
    duration_s: float
    """How long it really lasted, to a tick."""
    mode: int
    """The strongest mode of the arbiter meanwhile."""

    @classmethod
    def of(cls, before: Sensed, after: Sensed, reports: NDArray[Any], tick_hz: float) -> Execution:
        """reports: the REPORT records (n,) from `before` to `after`, ticked at tick_hz."""
        recovering = before.mode >= Mode.REFLEX
        turned = recovering != (after.mode >= Mode.REFLEX)
        ticks = max(1, round((after.stamp_ns - before.stamp_ns) * 1e-9 * tick_hz))
        strongest = int(reports["mode"].max())
        return cls(recovering, turned and not recovering, turned, ticks / tick_hz, strongest)

    def source(self, proposer: int) -> int:
        """Who moved the arm, as stored with the transition: the proposer, or the recovery."""
        return int(Source.RECOVERY) if self.recovering else proposer

    def as_info(self, proposer: int) -> dict[str, Any]:
        """Returns the entries of a step's `info`."""
        return {
            "duration_s": self.duration_s,
            "interrupted": self.interrupted,
            "source": self.source(proposer),
            "mode": self.mode,
        }


def before_the_drop(before: Sensed, after: Sensed, reports: NDArray[Any]) -> tuple[Sensed, Any]:
    """Returns `after` with the reference that an interrupted command had led to, and the report of that tick.

    It is that of the tick before the command was dropped, None where there was none: dropping it puts the reference at
    the measured pose and moves the stiffness towards the recovery's, which would hide what was executed until then.
    """
    if len(reports) < 2:
        return replace(after, T_base_reference=before.T_base_reference), None
    last = reports[-2]
    reference = Pose(last["executed_position_base_m"], last["executed_quaternion_base_xyzw"])
    return replace(after, T_base_reference=reference), last


@dataclass
class Interventions:
    """What the reflex arbiter did in an episode so far."""

    interventions: int = 0
    """How often it left NORMAL."""
    reflexes: int = 0
    bursts: int = 0
    """Groups of reflexes that followed each other within BURST_GAP_S."""
    holds: int = 0
    recovery_s: float = 0.0
    """Time in REFLEX, HOLD and STOP."""
    soft_s: float = 0.0
    """Time in SOFT."""

    def __post_init__(self) -> None:
        self._mode, self._quiet_s = int(Mode.NORMAL), np.inf

    def add(self, reports: NDArray[Any], tick_hz: float) -> None:
        """Counts the REPORT records (n,) of one decision."""
        modes = reports["mode"]
        if self._mode == Mode.NORMAL and not modes.any():
            self._quiet_s += len(modes) / tick_hz
            return
        edges = np.flatnonzero(np.diff(modes, prepend=self._mode))
        for start, end in zip([0, *edges], [*edges, len(modes)], strict=True):
            self._spell(int(modes[start]) if end > start else self._mode, (end - start) / tick_hz)

    def _spell(self, mode: int, duration_s: float) -> None:
        """Counts a time in one mode."""
        if mode != self._mode:
            self.interventions += self._mode == Mode.NORMAL
            self.holds += mode == Mode.HOLD
            if mode == Mode.REFLEX:
                self.reflexes += 1
                self.bursts += self._quiet_s > BURST_GAP_S
                self._quiet_s = 0.0
        self._mode = mode
        if mode >= Mode.REFLEX:
            self.recovery_s += duration_s
            self._quiet_s = 0.0
            return
        self._quiet_s += duration_s
        self.soft_s += duration_s if mode == Mode.SOFT else 0.0

    def as_info(self) -> dict[str, float]:
        """Returns the entries of a step's `info`: of the whole episode so far."""
        names = ("interventions", "reflexes", "bursts", "holds", "recovery_s", "soft_s")
        return {name: getattr(self, name) for name in names}
