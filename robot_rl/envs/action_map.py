"""From an action to a target pose and a gripper opening, and back from what the chain executed to an action."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.tasks.actions import FIRST_STIFFNESS, POSE_NAMES, ActionSpec
from robot_rl.tasks.base import Sensed
from safety import so3

Array = NDArray[np.float64]

_GRIPPER = len(POSE_NAMES)
"""The gripper's column; those of the stiffness follow."""
_ROUNDS, _CLOSE_RAD = 20, 1e-13
"""Each round of `executed` leaves a share of about half the turn [rad] of what is missing: a few suffice."""


class ActionMap:
    """Both directions for one episode's observed goal: `target` and its inverse `executed`.

    Increments are those of the measured tool frame: p_target = p + R a_xyz s_t, R_target = R exp(a_r s_r). Rotations
    that the task holds itself (inactive columns) then return to the observed goal's: with r = log(R_goal^T R_target)
    and 0 in the mask m for those, the target becomes R_goal exp(m r). Gripper: -1 is closed, 1 is open.
    """

    def __init__(self, spec: ActionSpec, T_base_goal: Pose, gripper_range_m: tuple[float, float] | None = None) -> None:
        """gripper_range_m: the tool's closed and open width; None where it has no gripper."""
        self.spec, self.gripper_range_m = spec, gripper_range_m
        self._goal = _quaternion(T_base_goal.quaternion_xyzw)
        self._mask = np.zeros(spec.size)
        self._mask[spec.active_index] = 1.0
        self._turns = np.flatnonzero(self._mask[3:6])

    def target(self, before: Sensed, action: Array) -> tuple[Pose, Array]:
        """Returns the target pose of an action (size,) in [-1, 1], and the action without its inactive entries."""
        spec = self.spec
        whole = action * self._mask
        position = before.T_base_tool.position_m + before.rotation_base_tool @ (whole[:3] * spec.translation_m)
        turned = so3.multiply(_measured(before), so3.exp(_vector(whole[3:6] * spec.rotation_rad)))
        if self._turns.size < 3:
            held = np.zeros(3)
            held[self._turns] = self._from_goal(turned)[self._turns]
            turned = so3.multiply(self._goal, so3.exp(_vector(held)))
        return Pose(position, np.array(turned)), whole

    def gripper_m(self, whole: Array) -> float:
        """Returns the opening that a whole action asks for [m]; NaN, which leaves it alone, unless a policy has it."""
        if self.gripper_range_m is None or self._mask[_GRIPPER] == 0.0:
            return float("nan")
        closed_m, open_m = self.gripper_range_m
        return closed_m + 0.5 * (float(whole[_GRIPPER]) + 1.0) * (open_m - closed_m)

    def executed(self, before: Sensed, after: Sensed, proposed: Array, report: Any = None) -> Array:
        """Returns the action (size,) that would have asked for the executed reference, clipped to [-1, 1].

        report: the newest REPORT record, which tells stiffness and gripper; without it, and where it knows no opening,
        those columns are taken from `proposed`. Inactive columns are 0.
        """
        spec, reference = self.spec, after.T_base_reference
        executed = proposed.copy()
        moved = reference.position_m - before.T_base_tool.position_m
        executed[:3] = before.rotation_base_tool.T @ moved / spec.translation_m
        executed[3:6] = self._turn(_measured(before), _quaternion(reference.quaternion_xyzw)) / spec.rotation_rad
        if report is not None and self.gripper_range_m is not None:
            closed_m, open_m = self.gripper_range_m
            followed_m, measured_m = float(report["executed_gripper_m"]), float(report["gripper_m"])
            opening_m = measured_m if math.isnan(followed_m) else followed_m
            if not math.isnan(opening_m):
                executed[_GRIPPER] = 2.0 * (opening_m - closed_m) / (open_m - closed_m) - 1.0
        if report is not None:
            executed[FIRST_STIFFNESS:] = spec.stiffness_action(report["executed_stiffness"])
        return (executed * self._mask).clip(-1.0, 1.0)

    def _turn(self, measured: so3.Quaternion, reference: so3.Quaternion) -> Array:
        """Returns the rotation (3,) [rad] in tool axes, 0 in held axes, that leads from the measured to the reference.

        With all rotations active it is log(R^T R_reference). Otherwise Newton's method solves for the active entries of
        log(R_goal^T R exp(turn)), with the slope d log(R exp(d)) = Jr^-1(log R) d (Sola et al., "A micro Lie theory",
        eq. 144), which neglects the turn itself.
        """
        turn, active = np.zeros(3), self._turns
        if active.size == 3:
            return np.array(so3.log(so3.multiply(so3.conjugate(measured), reference)))
        if active.size == 0:
            return turn
        wanted = self._from_goal(reference)[active]
        for _ in range(_ROUNDS):
            reached = self._from_goal(so3.multiply(measured, so3.exp(_vector(turn))))
            missing = wanted - reached[active]
            if np.abs(missing).max() < _CLOSE_RAD:
                break
            slope = inverse_right_jacobian(reached)[np.ix_(active, active)]
            turn[active] += np.linalg.lstsq(slope, missing, rcond=None)[0]
        return turn

    def _from_goal(self, rotation: so3.Quaternion) -> Array:
        """log(R_goal^T R): (3,) [rad]."""
        return np.array(so3.log(so3.multiply(so3.conjugate(self._goal), rotation)))


def inverse_right_jacobian(w: Array) -> Array:
    """Jr^-1(w) (3, 3) = I + [w]/2 + c [w]^2, c = 1/|w|^2 - cot(|w|/2) / (2 |w|); w (3,) a rotation vector [rad]."""
    angle = float(np.sqrt(w @ w))
    share = 1.0 / 12.0 if angle < 1e-3 else 1.0 / angle**2 - 0.5 / (angle * np.tan(0.5 * angle))
    cross = np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])
    jacobian: Array = np.eye(3) + 0.5 * cross + share * (cross @ cross)
    return jacobian


def rotation_vector(R: Array) -> Array:
    """log3 of a rotation matrix (3, 3), C-contiguous: (3,) [rad]."""
    return np.array(so3.log(so3.from_matrix(R)))


def quaternion_of_vector(w: Array) -> Array:
    """exp of a rotation vector (3,) as a unit quaternion (4,) xyzw."""
    return np.array(so3.exp(_vector(w)))


def _vector(values: Array) -> so3.Vector:
    x, y, z = values.tolist()
    return x, y, z


def _quaternion(values: Array) -> so3.Quaternion:
    x, y, z, w = values.tolist()
    return x, y, z, w


def _measured(sensed: Sensed) -> so3.Quaternion:
    return _quaternion(sensed.T_base_tool.quaternion_xyzw)
