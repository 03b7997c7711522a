"""Cartesian impedance law: tau = J^T (K e - D J qd + F) + nullspace + joint-limit repulsion + Coriolis.

Orientation error by the SO(3) logarithm, Jacobian in LOCAL_WORLD_ALIGNED axes, damping from the operational-space
inertia (Khatib 1987): D_ii = 2 zeta sqrt(Lambda_ii K_ii), so that the same damping ratio holds in every configuration.
Gravity is not in here: the drive compensates it.

Joint limits, d the distance to the nearer one: tau_limit = limit_max clip((margin - d) / margin, 0, 1) away from it, as
in crisp_controllers (github.com/utiasDSL/crisp_controllers); torque towards a limit nearer than limit_zeroing is
dropped, as in deoxys_control (github.com/UT-Austin-RPL/deoxys_control).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.types import JOINTS
from safety.compilation import Floats, Record, kernel

IMPEDANCE = np.dtype(
    [
        ("nullspace_stiffness", "f8", JOINTS),
        ("nullspace_damping_ratio", "f8"),
        ("nullspace_max_nm", "f8"),
        ("posture_rad", "f8", JOINTS),
        ("inertia_min", "f8", 6),
        ("inertia_max", "f8", 6),
        ("regularisation", "f8"),
        ("limit_lower_rad", "f8", JOINTS),
        ("limit_upper_rad", "f8", JOINTS),
        ("limit_margin_rad", "f8"),
        ("limit_max_nm", "f8"),
        ("limit_zeroing_rad", "f8"),
        ("limit_stop_rad", "f8"),
    ],
    align=True,
)

WORKSPACE = np.dtype(
    [
        ("cholesky_mass", "f8", (JOINTS, JOINTS)),
        ("half_inverse", "f8", (JOINTS, 6)),  # Y = L^-1 J^T with M = L L^T, so that J M^-1 J^T = Y^T Y
        ("cholesky_task", "f8", (6, 6)),
        ("column", "f8", 6),
        ("wrench", "f8", 6),
        ("joint_a", "f8", JOINTS),
        ("joint_b", "f8", JOINTS),
        ("twist", "f8", 6),
        ("error", "f8", 6),
        ("inertia", "f8", 6),
        ("damping", "f8", 6),
    ],
    align=True,
)
"""Scratch memory of one law: the tick allocates nothing."""


@dataclass(frozen=True)
class ImpedanceConfig:
    """Figures of the law that no command changes."""

    nullspace_stiffness_nm_rad: float = 2.0
    """Spring of the posture task in the nullspace [Nm/rad], >= 0."""
    nullspace_damping_ratio: float = 1.0
    """Damping ratio of the posture task for a unit inertia."""
    nullspace_max_nm: float = 5.0
    """Bound of the posture torque per joint before projection [Nm]."""
    inertia_min: tuple[float, ...] = (0.5, 0.5, 0.5, 0.01, 0.01, 0.01)
    """Lower clamp of the operational-space inertia in the damping rule [kg x3, kg m^2 x3]."""
    inertia_max: tuple[float, ...] = (10.0, 10.0, 10.0, 1.0, 1.0, 1.0)
    """Upper clamp of the operational-space inertia in the damping rule [kg x3, kg m^2 x3]."""
    regularisation: float = 1e-4
    """Added to the diagonal of J M^-1 J^T: bounds Lambda near singularities [1/kg]."""
    limit_margin_rad: float = 0.3
    """Joint-limit repulsion begins at this distance from a limit [rad]."""
    limit_max_nm: float = 5.0
    """Repulsion at the limit itself [Nm]; linear in between."""
    limit_zeroing_rad: float = 0.1
    """Closer than this, torque that points to the limit is dropped [rad]."""
    limit_stop_rad: float = 0.02
    """Closer than this, the chain holds [rad]."""

    def __post_init__(self) -> None:
        if not 0.0 < self.limit_stop_rad < self.limit_zeroing_rad < self.limit_margin_rad:
            raise ValueError(
                "expected 0 < limit_stop_rad < limit_zeroing_rad < limit_margin_rad, got "
                f"{self.limit_stop_rad}, {self.limit_zeroing_rad}, {self.limit_margin_rad}"
            )
        for name in ("nullspace_stiffness_nm_rad", "nullspace_damping_ratio", "nullspace_max_nm", "limit_max_nm"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number >= 0, got {getattr(self, name)}")
        if not self.regularisation > 0.0:
            raise ValueError(f"regularisation must be > 0, got {self.regularisation}")
        low, high = self.inertia_min, self.inertia_max
        if len(low) != 6 or len(high) != 6 or not all(0.0 < a <= b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"expected 0 < inertia_min <= inertia_max in 6 numbers each, got {low} and {high}")

    def to_record(
        self, lower_rad: NDArray[np.float64], upper_rad: NDArray[np.float64], posture_rad: NDArray[np.float64]
    ) -> NDArray[Any]:
        """Returns the () IMPEDANCE record for an arm with these joint limits [rad] and rest posture [rad]."""
        record = np.zeros((), IMPEDANCE)
        record["nullspace_stiffness"] = self.nullspace_stiffness_nm_rad
        for name in IMPEDANCE.names or ():
            if hasattr(self, name):
                record[name] = getattr(self, name)
        record["limit_lower_rad"], record["limit_upper_rad"] = lower_rad, upper_rad
        record["posture_rad"] = posture_rad
        return record


@kernel
def cholesky(A: Floats, L: Floats, n: int, regularisation: float) -> None:
    """L with L L^T = A + regularisation I for a positive definite A (n, n); only the lower triangle is written."""
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j] + (regularisation if i == j else 0.0)
            for k in range(j):
                total -= L[i, k] * L[j, k]
            if i == j:
                L[i, i] = math.sqrt(max(total, 1e-12))
            else:
                L[i, j] = total / L[j, j]


@kernel
def task_inertia(mass: Floats, jacobian: Floats, regularisation: float, work: Record) -> None:
    """Fills work with the factors of Lambda = (J M^-1 J^T + eps I)^-1 and its diagonal in work.inertia (6,)."""
    L = work.cholesky_mass
    Y = work.half_inverse
    C = work.cholesky_task
    cholesky(mass, L, JOINTS, 0.0)
    for c in range(6):  # forward substitution L Y = J^T
        for i in range(JOINTS):
            total = jacobian[c, i]
            for k in range(i):
                total -= L[i, k] * Y[k, c]
            Y[i, c] = total / L[i, i]
    for i in range(6):
        for j in range(i + 1):
            total = 0.0
            for k in range(JOINTS):
                total += Y[k, i] * Y[k, j]
            C[i, j] = total
    cholesky(C, C, 6, regularisation)  # in place: row by row, each entry is read before it is written
    column = work.column
    for c in range(6):  # diag(Lambda)_c = |C^-1 e_c|^2
        total = 0.0
        for i in range(c, 6):
            value = 1.0 if i == c else 0.0
            for k in range(c, i):
                value -= C[i, k] * column[k]
            column[i] = value / C[i, i]
            total += column[i] * column[i]
        work.inertia[c] = total


@kernel
def project_to_nullspace(jacobian: Floats, work: Record, tau: Floats) -> None:
    """tau <- (I - J^T Lambda J M^-1) tau in place: dynamically consistent projector, from task_inertia's factors."""
    L = work.cholesky_mass
    Y = work.half_inverse
    C = work.cholesky_task
    b = work.joint_b
    x = work.column
    for i in range(JOINTS):  # b = L^-1 tau
        total = tau[i]
        for k in range(i):
            total -= L[i, k] * b[k]
        b[i] = total / L[i, i]
    for i in range(6):  # C C^T x = Y^T b = J M^-1 tau
        total = 0.0
        for k in range(JOINTS):
            total += Y[k, i] * b[k]
        for k in range(i):
            total -= C[i, k] * x[k]
        x[i] = total / C[i, i]
    for i in range(5, -1, -1):
        total = x[i]
        for k in range(i + 1, 6):
            total -= C[k, i] * x[k]
        x[i] = total / C[i, i]
    for i in range(JOINTS):
        for c in range(6):
            tau[i] -= jacobian[c, i] * x[c]


@kernel
def joint_margin(q: Floats, config: Record) -> float:
    """Distance of the nearest joint to its limit [rad]."""
    nearest = math.inf
    for i in range(JOINTS):
        nearest = min(nearest, q[i] - config.limit_lower_rad[i], config.limit_upper_rad[i] - q[i])
    return nearest


@kernel
def tool_twist(jacobian: Floats, qd: Floats, twist: Floats) -> None:
    """twist (6,) <- J qd [m/s, rad/s]."""
    for c in range(6):
        velocity = 0.0
        for i in range(JOINTS):
            velocity += jacobian[c, i] * qd[i]
        twist[c] = velocity


@kernel
def repulsion(q: Floats, config: Record, tau: Floats) -> None:
    """Adds the joint-limit repulsion to tau (7,), drops what points to a near limit."""
    for i in range(JOINTS):
        low = q[i] - config.limit_lower_rad[i]
        high = config.limit_upper_rad[i] - q[i]
        distance = min(low, high)
        sign = 1.0 if low < high else -1.0
        if distance < config.limit_zeroing_rad and tau[i] * sign < 0.0:
            tau[i] = 0.0
        share = min(1.0, max(0.0, (config.limit_margin_rad - distance) / config.limit_margin_rad))
        tau[i] += sign * share * config.limit_max_nm


@kernel
def active_terms(q: Floats, qd: Floats, wrench: Floats, terms: Floats, config: Record, work: Record) -> float:
    """First half of the law: inertia, twist and the posture torque N tau_posture, left in work.joint_a.

    Returns the power [W] of the terms that are neither spring nor damper: F_ff and the posture torque.
    """
    jacobian, mass = terms[2], terms[3]
    task_inertia(mass, jacobian, config.regularisation, work)
    tool_twist(jacobian, qd, work.twist)
    posture = work.joint_a
    for i in range(JOINTS):
        gain = config.nullspace_stiffness[i]
        wish = gain * (config.posture_rad[i] - q[i]) - 2.0 * config.nullspace_damping_ratio * math.sqrt(gain) * qd[i]
        posture[i] = min(config.nullspace_max_nm, max(-config.nullspace_max_nm, wish))
    project_to_nullspace(jacobian, work, posture)
    power_w = 0.0
    for c in range(6):
        power_w += wrench[c] * work.twist[c]
    for i in range(JOINTS):
        power_w += posture[i] * qd[i]
    return power_w


@kernel
def impedance_law(
    q: Floats,
    error: Floats,
    stiffness: Floats,
    damping_ratio: float,
    wrench: Floats,
    active_share: float,
    terms: Floats,
    config: Record,
    work: Record,
    tau: Floats,
) -> None:
    """tau (7,) [Nm] <- J^T (K e - D J qd + s F) + s N tau_posture + C qd + tau_limit, after `active_terms`.

    error (6,): limited pose error [m, rad], base axes; stiffness (6,); wrench (6,): feed-forward on the environment;
    active_share: s in [0, 1];
    terms = (position (3,), rotation (3, 3), jacobian (6, 7), mass (7, 7), coriolis (7,)).
    """
    jacobian, coriolis = terms[2], terms[4]
    for c in range(6):
        inertia = min(config.inertia_max[c], max(config.inertia_min[c], work.inertia[c]))
        work.damping[c] = 2.0 * damping_ratio * math.sqrt(inertia * stiffness[c])
        spring = stiffness[c] * error[c]
        work.wrench[c] = spring - work.damping[c] * work.twist[c] + active_share * wrench[c]
    for i in range(JOINTS):
        total = active_share * work.joint_a[i] + coriolis[i]
        for c in range(6):
            total += jacobian[c, i] * work.wrench[c]
        tau[i] = total
    repulsion(q, config, tau)
