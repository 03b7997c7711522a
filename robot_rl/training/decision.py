"""What really became of a decision: how long it lasted, who acted, what energy it took (a semi-Markov step)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.errors import UserError

INFO_KEYS = ("energy_spent_j", "duration_s", "interrupted", "source")
"""What the info of a step may hold; an environment without safety layers tells none of them."""
_WHOLE_TO = 1e-6
"""A duration this near a whole number of decision periods is taken for one: it is a sum of rounded ticks."""


@dataclass(frozen=True)
class Decision:
    """One decision as it was carried out."""

    steps: float
    """How long it lasted, in decision periods: below 1 where a reflex ended it early."""
    energy_j: float | None
    """Energy that left the controller's tank [J], at least 0; None where the environment does not tell."""
    interrupted: bool
    """Whether a reflex or a hold took the decision away before its end."""
    source: int
    """Who acted for most of it (controllers.types.Source)."""
    preempted: bool
    """Whether it was interrupted and less than half of a decision period was the proposer's own doing."""


def decision_of(info: Mapping[str, Any], rate_hz: float | None, source: int) -> Decision:
    """Returns what a step's `info` tells of the decision that `source` proposed.

    Without `duration_s`, or without a rate (time means nothing then), it lasted one whole period; without `interrupted`
    and `source`, the proposer acted to the end.

    Raises:
        UserError: the energy is not finite or below 0, or the duration is not finite or not above 0.
    """
    energy_j, duration_s = info.get("energy_spent_j"), info.get("duration_s")
    if energy_j is not None and not 0.0 <= float(energy_j) < math.inf:
        raise UserError(f"info energy_spent_j={energy_j} does not fit: expected a finite energy of at least 0 J")
    if duration_s is not None and not 0.0 < float(duration_s) < math.inf:
        raise UserError(f"info duration_s={duration_s} does not fit: expected a finite time above 0 s")
    steps = 1.0 if duration_s is None or rate_hz is None else float(duration_s) * rate_hz
    if abs(steps - round(steps)) < _WHOLE_TO:
        steps = float(max(1, round(steps)))
    acted = int(info.get("source", source))
    interrupted = bool(info.get("interrupted", False))
    preempted = interrupted and (steps < 0.5 or acted != source)
    return Decision(steps, None if energy_j is None else float(energy_j), interrupted, acted, preempted)
