"""Kinematics and dynamics of the arm with its tool, by pinocchio.

The equation of motion that these terms belong to: M(q) qdd + C(q, qd) qd + g(q) = tau + J(q)^T F.
"""

from __future__ import annotations

import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose, frozen_vector
from controllers.description.tool import ToolDescription
from controllers.description.urdf import to_urdf

Array = NDArray[np.float64]


class UnreachablePoseError(ValueError):
    """No joint position within the limits puts the tool at the wished pose."""


class ModelTerms:
    """What one tick needs of the model: preallocated, C-contiguous float64 arrays that `ArmModel.terms` fills."""

    __slots__ = ("coriolis_nm", "gravity_nm", "jacobian", "mass", "position_base_m", "rotation_base")

    def __init__(self, joints: int = 7) -> None:
        self.position_base_m: Array = np.zeros(3)
        """Control point in the base frame, (3,)."""
        self.rotation_base: Array = np.eye(3)
        """Axes of the tool in the base frame, (3, 3)."""
        self.jacobian: Array = np.zeros((6, joints))
        """Twist of the control point [m/s, rad/s] in base axes = J qd, (6, n); pinocchio's LOCAL_WORLD_ALIGNED."""
        self.mass: Array = np.eye(joints)
        """Joint-space inertia with the motors' inertia, symmetric, (n, n) [kg m^2]."""
        self.coriolis_nm: Array = np.zeros(joints)
        """C(q, qd) qd without gravity, (n,)."""
        self.gravity_nm: Array = np.zeros(joints)
        """g(q), the torque that holds arm and tool at rest, (n,)."""


class ArmModel:
    """Model of one arm with one tool. Not for use by two threads at once: it holds pinocchio's work memory."""

    def __init__(self, arm: ArmDescription, tool: ToolDescription) -> None:
        self.arm = arm
        self.tool = tool
        self._model = pin.buildModelFromXML(to_urdf(arm, tool))
        self._model.armature = arm.armature_kg_m2
        self._data = self._model.createData()
        self._frame = self._model.getFrameId("tool")
        self._joints = len(arm.joints)
        self._lower = arm.lower_rad
        self._upper = arm.upper_rad
        # Views of pinocchio's own memory, taken once: each attribute access would build a new array object.
        self._placement = self._data.oMf[self._frame]
        self._mass_view: Array = self._data.M
        self._bias_view: Array = self._data.nle
        self._gravity_view: Array = self._data.g

    def terms(self, q: Array, qd: Array, out: ModelTerms) -> None:
        """Fills `out` with the terms at joint positions q (n,) [rad] and speeds qd (n,) [rad/s]."""
        model, data = self._model, self._data
        pin.computeAllTerms(model, data, q, qd)
        pin.updateFramePlacement(model, data, self._frame)
        out.position_base_m[:] = self._placement.translation
        out.rotation_base[:] = self._placement.rotation
        out.jacobian[:] = pin.getFrameJacobian(model, data, self._frame, pin.LOCAL_WORLD_ALIGNED)
        out.mass[:] = self._mass_view
        out.gravity_nm[:] = self._gravity_view
        np.subtract(self._bias_view, self._gravity_view, out.coriolis_nm)

    def forward(self, q: ArrayLike) -> Pose:
        """Returns T_base_tool at joint positions q (n,) [rad]."""
        pin.framesForwardKinematics(self._model, self._data, frozen_vector(q, self._joints, "q"))
        return Pose.from_rotation(self._placement.translation.copy(), self._placement.rotation.copy())
