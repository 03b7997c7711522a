"""From tick reports to what a decision knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.tasks.base import PEAK_WINDOW_TICKS, Sensed

WRENCH_WINDOW_S = 0.05
"""The wrench of an observation is the mean over this time: single samples are noise."""


def peak_force(forces_n: NDArray[np.float64]) -> float:
    """Returns the largest norm of the moving means over PEAK_WINDOW_TICKS of forces (n, 3) [N]; of all if n is less."""
    return peak_norms(forces_n)[0]


def peak_norms(vectors: NDArray[np.float64]) -> list[float]:
    """`peak_force` of each three columns of (n, 3 m): of a wrench (n, 6) that of force [N] and moment [Nm]."""
    if len(vectors) < PEAK_WINDOW_TICKS:
        means = vectors.mean(axis=0, keepdims=True)
    else:
        last = len(vectors) - PEAK_WINDOW_TICKS + 1
        means = sum(vectors[first : first + last] for first in range(PEAK_WINDOW_TICKS)) / PEAK_WINDOW_TICKS
    squares = np.square(means)
    return [math.sqrt(squares[:, i : i + 3].sum(axis=1).max()) for i in range(0, squares.shape[1], 3)]


def measured_pose(report: Any) -> Pose:
    """Returns the measured pose of a REPORT record. Raises UserError if the robot's state was not finite."""
    _require_finite(report)
    return Pose(report["position_base_m"], report["quaternion_base_xyzw"])


def _require_finite(report: Any) -> None:
    """A single sum suffices: NaN and infinity survive it."""
    total = report["q_rad"].sum() + report["qd_rad_s"].sum() + report["wrench_tool"].sum()
    total += report["position_base_m"].sum() + report["quaternion_base_xyzw"].sum()
    if not np.isfinite(total):
        raise UserError(
            "expected finite numbers from the robot, got one that is not: the motor chain has let go and latched; "
            "check the robot, then reset"
        )


def granted_share(reports: NDArray[Any]) -> float:
    """Returns the smallest share that the passivity ledger granted of anything; 1 where none runs."""
    shares = [reports[name].min() for name in ("stiffness_share", "reference_share", "active_share", "gate_share")]
    return float(np.fmin(1.0, np.fmin.reduce(shares)))


def lowest_energy(reports: NDArray[Any]) -> float:
    """Returns the smallest sum of tank and spring of any tick [J], which the ledger's bound T + V >= 0 is about.

    NaN where no ledger runs.
    """
    return float(np.fmin.reduce(reports["tank_energy_j"] + reports["spring_energy_j"]))


def sense_reports(reports: NDArray[Any], rate_hz: float) -> Sensed:
    """Condenses the REPORT records (n,) of one decision, ticked at rate_hz.

    Raises UserError if the newest holds a number that is not finite.
    """
    last = reports[-1]
    pose = measured_pose(last)
    wrench = reports["wrench_tool"]
    peak_force_n, peak_moment_nm = peak_norms(wrench)
    window = max(1, round(WRENCH_WINDOW_S * rate_hz))
    return Sensed(
        stamp_ns=int(last["stamp_ns"]),
        T_base_tool=pose,
        rotation_base_tool=pose.rotation,
        twist_base=last["twist_base"].copy(),
        wrench_tool=wrench[-window:].mean(axis=0),
        peak_force_n=peak_force_n,
        peak_moment_nm=peak_moment_nm,
        T_base_reference=Pose(last["executed_position_base_m"], last["executed_quaternion_base_xyzw"]),
        q_rad=last["q_rad"].copy(),
        gripper_m=float(last["gripper_m"]),
        reasons=frozenset(reports["reason"].tolist()),
        tank_energy_j=float(last["tank_energy_j"]),
        lowest_energy_j=lowest_energy(reports),
        energy_spent_j=float(last["energy_spent_j"]),
        granted=granted_share(reports),
        risk=float(np.fmax.reduce(reports["risk"])),
        mode=int(last["mode"]),
    )


def spent_since(before: Sensed, after: Sensed) -> dict[str, float]:
    """`energy_spent_j`: energy that left the tank between two decisions [J]; nothing where no ledger runs."""
    spent_j = after.energy_spent_j - before.energy_spent_j
    return {} if math.isnan(spent_j) else {"energy_spent_j": max(spent_j, 0.0)}
