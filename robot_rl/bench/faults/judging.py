"""What is read off the reports of a fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.reasons import Reason

Array = NDArray[Any]
_SETTLE_TICKS = 300
"""A hold drops the spring: for this long the arm may give way to what pressed on it."""
_AVERAGE_TICKS = 20
MAX_MOTION_M = 1e-3
"""After that it counts as motion if the tool moves farther than this."""
MAX_STEP_NM = 0.5 + 1e-9
FORCE_GROWTH_N = 2.0


@dataclass
class Outcome:
    """What one repeat of a fault showed."""

    measured: float
    """To be compared with the fault's limit, in its unit."""
    motion_m: float = 0.0
    """Farthest motion after a hold [m]."""
    failures: list[str] = field(default_factory=list)
    """What else was not as expected."""
    forbidden: bool = False
    """Whether one of these is nothing that a stall of the machine excuses."""

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a failure."""
        if not holds:
            self.failures.append(otherwise)

    def forbid(self, holds: bool, otherwise: str) -> None:
        """Notes a failure that no stall of the machine excuses."""
        self.expect(holds, otherwise)
        self.forbidden |= not holds


def first(condition: Array) -> int:
    """Index of the first true element, the length if there is none."""
    return int(np.argmax(condition)) if condition.any() else len(condition)


def delay_ms(reports: Array, condition: Array, since_ns: int) -> float:
    """Time from `since_ns` to the first report that meets the condition [ms]; infinite if none does."""
    index = first(condition)
    if index == len(reports):
        return float("inf")
    return max(float(reports["stamp_ns"][index] - since_ns) * 1e-6, 0.0)


def motion_after_hold(reports: Array) -> float:
    """Motion after the first hold of the reports, until it ends [m]: of the reference, and of the tool at rest."""
    holds = (reports["reason"] >= Reason.HOLD) & (reports["reason"] != Reason.JOINT_LIMIT)
    begin = first(holds)
    end = begin + first(~holds[begin:])
    if begin == len(reports):
        return 0.0
    reference = reports["executed_position_base_m"][begin:end]
    tool = reports["position_base_m"][begin + _SETTLE_TICKS : end]
    moved = np.linalg.norm(reference - reference[0], axis=1).max()
    if len(tool):
        moved = max(moved, np.linalg.norm(tool - tool[0], axis=1).max())
    return float(moved)


def force_n(reports: Array) -> Array:
    """Force on the tool, averaged over 20 ticks (n - 19,) [N]."""
    mean = np.ones(_AVERAGE_TICKS) / _AVERAGE_TICKS
    axes = [np.convolve(reports["wrench_tool"][:, axis], mean, "valid") for axis in range(3)]
    return np.linalg.norm(axes, axis=0)  # type: ignore[no-any-return]


def judge_torque(outcome: Outcome, reports: Array, max_torque_nm: Array) -> None:
    """Whatever happens: finite torques within their bound and their rate."""
    tau = reports["tau_executed_nm"]
    outcome.forbid(bool(np.isfinite(tau).all()), "a torque was not finite")
    outcome.forbid(bool((np.abs(tau) <= max_torque_nm + 1e-9).all()), "a torque exceeded its bound")
    follows = np.diff(reports["tick"]) == 1
    steps = np.abs(np.diff(tau, axis=0))[follows]
    outcome.forbid(not len(steps) or bool(steps.max() <= MAX_STEP_NM), "a torque changed by more than 0.5 Nm in a tick")


def judge_force(outcome: Outcome, reports: Array, before_n: float) -> None:
    """The force does not grow."""
    growth_n = float(force_n(reports).max()) - before_n
    outcome.expect(growth_n <= FORCE_GROWTH_N, f"the force grew by {growth_n:.1f} N")
