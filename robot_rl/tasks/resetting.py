"""Settings of the automatic reset: a task may bring its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.errors import UserError


@dataclass(frozen=True)
class ResetConfig:
    """Bounds and figures of the automatic reset."""

    stiffness: tuple[float, ...] = (1000.0, 1000.0, 1000.0, 30.0, 30.0, 30.0)
    """Stiffness while resetting [N/m x3, Nm/rad x3]; with the leash it bounds the pull on a jammed tool."""
    step_s: float = 0.05
    """Time between commands [s]."""
    lift_m: float = 0.008
    """The tool counts as free when it is this far above the goal plane [m]."""
    approach_m: float = 0.0
    """The start is approached along the free direction from this far [m]; 0: straight from where the tool came free."""
    pull_m: float = 0.012
    """Target ahead of the measured pose while pulling free [m]."""
    patience_s: float = 0.3
    """Time without progress before the wiggle begins [s]."""
    progress_m: float = 0.0002
    """A rise of less than this is no progress [m]."""
    wiggle_m: float = 0.004
    """Sideways amplitude of the wiggle when a straight pull does not progress [m]."""
    wiggle_rad: float = 0.03
    """Twist amplitude of the wiggle [rad]."""
    tolerance_m: float = 0.002
    """Arrived: within this of the start [m]."""
    tolerance_rad: float = 0.02
    """Arrived: within this of the start [rad]."""
    settle_m_s: float = 0.02
    """Arrived: slower than this [m/s]."""
    creep_s: float = 0.3
    """At rest outside the tolerance for this long, the target is moved on against the joints' friction [s]."""
    creep_share: float = 0.2
    """Share of the remaining error by which the target is moved on at each step, in [0, 1]."""
    creep_max: float = 0.5
    """Bound of that offset as a share of the leash, in [0, 1]."""
    timeout_s: float = 8.0
    """One attempt lasts at most this long [s]."""
    attempts: int = 3
    """Attempts before the reset gives up and asks for a person, >= 1."""

    def __post_init__(self) -> None:
        if len(self.stiffness) != 6 or not all(0.0 < value < np.inf for value in self.stiffness):
            raise UserError(f"reset: stiffness needs 6 finite numbers > 0, got {self.stiffness}")
        for name in ("step_s", "lift_m", "pull_m", "tolerance_m", "tolerance_rad", "settle_m_s", "timeout_s"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise UserError(f"reset: {name} must be a finite number > 0, got {getattr(self, name)}")
        for name in ("patience_s", "progress_m", "wiggle_m", "wiggle_rad", "creep_s", "approach_m"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise UserError(f"reset: {name} must be a finite number >= 0, got {getattr(self, name)}")
        for name in ("creep_share", "creep_max"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"reset: {name} must be a number in [0, 1], got {getattr(self, name)}")
        if self.attempts < 1:
            raise UserError(f"reset: attempts must be 1 or more, got {self.attempts}")
