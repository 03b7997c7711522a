"""Kinematics and dynamics of the arm with its tool, by pinocchio.

The equation of motion that these terms belong to: M(q) qdd + C(q, qd) qd + g(q) = tau + J(q)^T F.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose, frozen_vector
from controllers.description.tool import ToolDescription
from controllers.description.urdf import to_urdf
from data.errors import UserError

Array = NDArray[np.float64]

_MAX_STEP_RAD = 0.5
"""Largest change of a joint in one iteration of the inverse kinematics: farther, the linear model means nothing."""

_LATTICE = np.sqrt(np.array([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0]))
"""Multiples of these, modulo 1, spread evenly over a cube without a random generator."""


class UnreachablePoseError(UserError):
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
        if self._joints > len(_LATTICE):
            raise ValueError(f"an arm model takes up to {len(_LATTICE)} joints, got {self._joints}")
        self._lower = arm.lower_rad
        self._upper = arm.upper_rad
        # Views of pinocchio's own memory, taken once: each attribute access would build a new array object.
        self._placement = self._data.oMf[self._frame]
        self._position_view: Array = self._placement.translation
        self._rotation_view: Array = self._placement.rotation
        self._mass_view: Array = self._data.M
        self._bias_view: Array = self._data.nle
        self._gravity_view: Array = self._data.g

    def terms(self, q: Array, qd: Array, out: ModelTerms) -> None:
        """Fills `out` with the terms at joint positions q (n,) [rad] and speeds qd (n,) [rad/s]."""
        model, data = self._model, self._data
        pin.computeAllTerms(model, data, q, qd)
        pin.updateFramePlacement(model, data, self._frame)
        out.position_base_m[:] = self._position_view
        out.rotation_base[:] = self._rotation_view
        out.jacobian[:] = pin.getFrameJacobian(model, data, self._frame, pin.LOCAL_WORLD_ALIGNED)
        out.mass[:] = self._mass_view
        out.gravity_nm[:] = self._gravity_view
        np.subtract(self._bias_view, self._gravity_view, out.coriolis_nm)

    def forward(self, q: ArrayLike) -> Pose:
        """Returns T_base_tool at joint positions q (n,) [rad]."""
        pin.framesForwardKinematics(self._model, self._data, frozen_vector(q, self._joints, "q"))
        return Pose.from_rotation(self._position_view.copy(), self._rotation_view.copy())

    def inverse_kinematics(
        self,
        T_base_tool: Pose,
        q_seed: ArrayLike,
        *,
        tolerance_m: float = 1e-7,
        tolerance_rad: float = 1e-7,
        iterations: int = 100,
        restarts: int = 30,
    ) -> Array:
        """Returns joint positions (n,) [rad] within the limits that put the tool at `T_base_tool`.

        The search starts at `q_seed` (n,), then at the arm's home, then at `restarts` fixed points spread over the
        joint ranges; the first solution wins, so it is near the seed if it can be, and the same each time. Raises
        UnreachablePoseError with the smallest residual if none is found.
        """
        best = (np.inf, np.inf)
        for start in self._starts(frozen_vector(q_seed, self._joints, "q_seed"), restarts):
            q, residual = self._descend(T_base_tool, start, (tolerance_m, tolerance_rad), iterations)
            if residual[0] <= tolerance_m and residual[1] <= tolerance_rad:
                return q
            best = min(best, residual, key=sum)
        raise UnreachablePoseError(
            f"no joint position within the limits reaches {np.round(T_base_tool.position_m, 4).tolist()} m, "
            f"quaternion xyzw {np.round(T_base_tool.quaternion_xyzw, 4).tolist()}: the nearest one found misses by "
            f"{1e3 * best[0]:.3g} mm and {best[1]:.3g} rad; choose a pose nearer to the arm or turn the tool"
        )

    def _starts(self, q_seed: Array, restarts: int) -> Iterator[Array]:
        yield np.clip(q_seed, self._lower, self._upper)
        yield self.arm.home_rad.copy()
        for i in range(1, restarts + 1):
            yield self._lower + (self._upper - self._lower) * np.mod(i * _LATTICE[: self._joints], 1.0)

    def _descend(
        self, wanted: Pose, start: Array, tolerance: tuple[float, float], iterations: int
    ) -> tuple[Array, tuple[float, float]]:
        """Damped least squares within the limits: dq = J^T (J J^T + lambda^2 I)^-1 e, lambda^2 = |e|^2 / 2 + 1e-9.

        e = [p_d - p, log(R_d R^T)] (6,) in base axes. The damping that shrinks with the error keeps steps sane near
        singularities and convergence quadratic near the goal. A joint that would leave its range is held, and the rest
        solve again. Returns q (n,) and the distances [m, rad] that remain.
        """
        q, rotation_wanted = start.copy(), wanted.rotation
        jacobian = np.empty((6, self._joints))
        residual = (np.inf, np.inf)
        for _ in range(iterations):
            pin.computeJointJacobians(self._model, self._data, q)
            pin.updateFramePlacement(self._model, self._data, self._frame)
            e = np.concatenate(
                [wanted.position_m - self._position_view, pin.log3(rotation_wanted @ self._rotation_view.T)]
            )
            residual = (float(np.linalg.norm(e[:3])), float(np.linalg.norm(e[3:])))
            if residual[0] <= tolerance[0] and residual[1] <= tolerance[1]:
                break
            jacobian[:] = pin.getFrameJacobian(self._model, self._data, self._frame, pin.LOCAL_WORLD_ALIGNED)
            q = self._step(q, jacobian, e)
        return q, residual

    def _step(self, q: Array, jacobian: Array, e: Array) -> Array:
        """One damped step from q (n,) that ends within the limits; see `_descend`."""
        damping = (0.5 * float(e @ e) + 1e-9) * np.eye(6)
        free = np.ones(self._joints, dtype=np.bool_)
        for _ in range(self._joints):
            J = jacobian * free  # (6, n): a held joint does not move
            dq = np.clip(J.T @ np.linalg.solve(J @ J.T + damping, e), -_MAX_STEP_RAD, _MAX_STEP_RAD)
            pushed = free & (((q <= self._lower) & (dq < 0.0)) | ((q >= self._upper) & (dq > 0.0)))
            if not pushed.any():
                break
            free &= ~pushed
        stepped: Array = np.clip(q + dq * free, self._lower, self._upper)
        return stepped
