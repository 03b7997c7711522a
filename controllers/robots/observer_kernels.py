"""The arithmetic of the momentum observer, compiled."""

from __future__ import annotations

import math

from safety.compilation import Floats, kernel


@kernel
def follow_momentum(
    mass: Floats, coriolis: Floats, qd: Floats, tau: Floats, elapsed_s: float, gain: float, memory: Floats
) -> None:
    """One step of the observer. mass, coriolis (n, n); memory (3, n): started, integral, residual r."""
    n = qd.size
    for i in range(n):
        momentum, flow = 0.0, tau[i]
        for j in range(n):
            momentum += mass[i, j] * qd[j]
            flow += coriolis[j, i] * qd[j]
        if memory[0, i] == 0.0:
            memory[0, i], memory[1, i], memory[2, i] = 1.0, momentum, 0.0
        else:
            memory[1, i] += elapsed_s * (flow + memory[2, i])
            memory[2, i] = gain * (momentum - memory[1, i])


@kernel
def wrench_of_torques(jacobian: Floats, torque: Floats, damping: float, work: Floats, wrench: Floats) -> None:
    """wrench (6,) = (J J^T + damping^2 1)^-1 J torque, by Cholesky. jacobian (6, n); work (6, 6)."""
    for i in range(6):
        wrench[i] = 0.0
        for k in range(torque.size):
            wrench[i] += jacobian[i, k] * torque[k]
        for j in range(i + 1):
            total = damping * damping if i == j else 0.0
            for k in range(torque.size):
                total += jacobian[i, k] * jacobian[j, k]
            for k in range(j):
                total -= work[i, k] * work[j, k]
            work[i, j] = math.sqrt(total) if i == j else total / work[j, j]
    for i in range(6):
        for k in range(i):
            wrench[i] -= work[i, k] * wrench[k]
        wrench[i] /= work[i, i]
    for i in range(5, -1, -1):
        for k in range(i + 1, 6):
            wrench[i] -= work[k, i] * wrench[k]
        wrench[i] /= work[i, i]
