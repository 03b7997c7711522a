"""What the experiments on the safety layers claim, and whether the published episodes bear it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]
_WORDS = {"violation": "violations", "energy_violation": "energy violations"}

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Claim:
    """That one cell has far fewer violations than another, and about the same success."""

    text: str
    cell: str
    against: str
    kind: str = "violation"
    """What is counted: violation or energy_violation."""
    ratio: float = 0.2
    """Share of the other cell's rate that may be left."""
    success_loss: float = 0.0
    """Points of success that it may cost."""


def verdict(claim: Claim, rows: list[Row]) -> str | None:
    """Returns whether a claim holds over all episodes of both cells, with the figures; None where a cell is missing."""
    rates = [_rate(rows, cell, kind) for cell in (claim.cell, claim.against) for kind in (claim.kind, "success")]
    if any(rate is None for rate in rates):
        return None
    own, own_success, other, other_success = (float(rate or 0.0) for rate in rates)
    points = 100.0 * (own_success - other_success)
    allowed = f"at most {claim.success_loss:.0f} less" if claim.success_loss else "no less"
    holds = other > 0.0 and own <= claim.ratio * other + _ROUNDING and points >= -claim.success_loss - _ROUNDING
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows if row["cell"] == claim.cell}))
    return (
        f"**{'Holds' if holds else 'Does not hold'}**: {claim.text}. {_WORDS[claim.kind].capitalize()} {own:.1%} "
        f"({claim.cell}) against {other:.1%} ({claim.against}), of which at most {claim.ratio:.0%} may be left; "
        f"success {points:+.0f} points, {allowed} allowed; seeds {seeds}, means without their intervals."
    )


def _rate(rows: list[Row], cell: str, name: str) -> float | None:
    values = [value for row in rows if row["cell"] == cell for value in row["trials"][name]]
    return float(np.mean(values)) if values else None
