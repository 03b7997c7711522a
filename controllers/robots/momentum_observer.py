"""The external wrench on the tool from joint positions, speeds and torques alone: a momentum observer.

Equation of motion with the motors' gravity compensation left out on both sides, F the wrench of the environment:
M qdd + C qd = tau + J^T F. With the momentum p = M qd and dM/dt = C + C^T follows dp/dt = tau + C^T qd + J^T F, and
r = k (p - p_0 - integral (tau + C^T qd + r) dt) follows J^T F as a first-order filter of rate k (De Luca and Mattone,
"Sensorless robot collision detection and hybrid force/motion control", ICRA 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from controllers.description.arm import ArmDescription
from controllers.description.tool import ToolDescription
from controllers.description.urdf import to_urdf
from controllers.robots.observer_kernels import follow_momentum, wrench_of_torques

Array = NDArray[Any]

_DAMPING = 0.02
"""Of the pseudo-inverse: near a singularity the wrench fades instead of growing without bound."""


class MomentumObserver:
    """Follows the wrench of one arm with its tool, tick by tick. Joint friction counts as an external torque."""

    def __init__(self, arm: ArmDescription, tool: ToolDescription, rate_hz: float, gain_hz: float = 60.0) -> None:
        """gain_hz: rate k of the filter [1/s], above 0 and below the tick's rate; its time constant is 1 / k."""
        if not 0.0 < gain_hz < rate_hz:
            raise ValueError(f"gain_hz must lie between 0 and the tick's rate of {rate_hz:g} Hz, got {gain_hz}")
        self._model = pin.buildModelFromXML(to_urdf(arm, tool))
        self._model.armature = arm.armature_kg_m2
        self._data = self._model.createData()
        self._frame = self._model.getFrameId("tool")
        self._gain = gain_hz
        self._mass: Array = self._data.M  # a view: an attribute access would build a new array object each tick
        self._memory, self._work = np.zeros((3, len(arm.joints))), np.zeros((6, 6))
        self._wrench = np.zeros(6)
        zeros = np.zeros(len(arm.joints))
        self.update(zeros, zeros, zeros, 0.0)  # compiles now: an armed loop must not stand still for that
        self.restart()

    def restart(self) -> None:
        """Begins anew at the next update, from no external torque."""
        self._memory[:] = 0.0

    def update(self, q: Array, qd: Array, tau_nm: Array, elapsed_s: float) -> Array:
        """Returns the wrench (6,) of the environment on the tool about the control point, tool axes [N, Nm].

        q, qd (7,) of this tick; tau_nm (7,) that acted since the last one, without gravity; elapsed_s since then. The
        array is the observer's own, overwritten by the next update.
        """
        pin.computeAllTerms(self._model, self._data, q, qd)
        coriolis = pin.computeCoriolisMatrix(self._model, self._data, q, qd)
        pin.updateFramePlacement(self._model, self._data, self._frame)
        jacobian = pin.getFrameJacobian(self._model, self._data, self._frame, pin.LOCAL)
        follow_momentum(self._mass, coriolis, qd, tau_nm, elapsed_s, self._gain, self._memory)
        wrench_of_torques(jacobian, self._memory[2], _DAMPING, self._work, self._wrench)
        return self._wrench
