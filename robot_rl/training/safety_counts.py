"""What the safety layers did in an episode, and the rates of an evaluation; docs/reports.md defines each figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class SafetyCounts:
    """Figures of one episode. Environments without safety layers, such as most of Gymnasium's, tell none of them."""

    violation: bool = False
    """Whether a decision exceeded a force limit of the task."""
    interventions: int = 0
    """How often the reflex arbiter left NORMAL."""
    reflexes: int = 0
    bursts: int = 0
    """Groups of reflexes that followed each other closely."""
    holds: int = 0
    recovery_s: float = 0.0
    """Time in REFLEX, HOLD and STOP."""
    soft_s: float = 0.0
    """Time in SOFT."""
    lowest_tank_j: float | None = None
    """Lowest energy in the tank at the end of a decision [J]; None while no passivity ledger runs."""
    smallest_granted: float | None = None
    """Smallest share that the ledger granted of a move or torque; None while none runs."""
    held: bool = False
    """Whether the motor chain latched, which ends an episode."""

    def add(self, info: Mapping[str, Any]) -> None:
        """Takes over what a step of RobotEnv tells; its counts and times are those of the episode so far."""
        self.violation |= bool(info["violation"])
        self.held |= bool(info.get("held", False))
        for name in ("interventions", "reflexes", "bursts", "holds"):
            setattr(self, name, int(info.get(name, 0)))
        for name in ("recovery_s", "soft_s"):
            setattr(self, name, float(info.get(name, 0.0)))
        tank_j = float(info.get("tank_energy_j", math.nan))
        if not math.isnan(tank_j):
            self.lowest_tank_j = _lower(self.lowest_tank_j, tank_j)
            self.smallest_granted = _lower(self.smallest_granted, float(info.get("granted", 1.0)))


def _lower(known: float | None, value: float) -> float:
    return value if known is None else min(known, value)


def safety_summary(counts: Sequence[SafetyCounts | None], successes: int) -> dict[str, Any]:
    """Returns the rates of an evaluation, {} unless each of its episodes told what the safety layers did."""
    told = [entry for entry in counts if entry is not None]
    if not told or len(told) < len(counts):
        return {}
    violations = sum(entry.violation for entry in told)
    means = ("interventions", "reflexes", "bursts", "holds", "recovery_s", "soft_s")
    summary = {
        "violation_rate": violations / len(told),
        "successes_per_violation": successes / (violations + 1),
        "latch_rate": sum(entry.held for entry in told) / len(told),
        **{f"mean_{name}": float(np.mean([getattr(entry, name) for entry in told])) for name in means},
    }
    for name in ("lowest_tank_j", "smallest_granted"):
        values = [value for entry in told if (value := getattr(entry, name)) is not None]
        summary |= {name: min(values)} if values else {}
    return summary
