"""From an action to a target pose, and back from what the chain executed to an action."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.tasks.actions import POSE_NAMES, ActionSpec
from robot_rl.tasks.base import Sensed

Array = NDArray[np.float64]


class ActionMap:
    """Both directions for one episode's observed goal: `target` and its inverse `executed`.

    Increments are those of the tool frame: p_target = p + R a_xyz s_t; the rotation is stated in goal axes,
    R_target = R_goal exp(m log(R_goal^T R) + a_r s_r), where the mask m is 0 for rotations that the task holds itself
    (inactive columns): those return to the observed goal's.
    """

    def __init__(self, spec: ActionSpec, T_base_goal: Pose) -> None:
        self.spec, self._goal = spec, T_base_goal
        self._R_goal_base = T_base_goal.rotation.T.copy()
        self._mask = np.zeros(spec.size)
        self._mask[spec.active_index] = 1.0

    def target(self, before: Sensed, action: Array) -> tuple[Pose, Array]:
        """Returns the target pose of an action (size,) in [-1, 1], and the action without its inactive entries."""
        spec, mask = self.spec, self._mask
        whole = action * mask
        position = before.T_base_tool.position_m + before.rotation_base_tool @ (whole[:3] * spec.translation_m)
        measured = rotation_vector(self._R_goal_base @ before.rotation_base_tool)
        turn = measured * mask[3:6] + whole[3:6] * spec.rotation_rad
        quaternion = self._goal.compose(Pose(quaternion_xyzw=quaternion_of_vector(turn))).quaternion_xyzw
        return Pose(position, quaternion), whole

    def executed(self, before: Sensed, after: Sensed, proposed: Array, stiffness: Array | None = None) -> Array:
        """Returns the action (size,) that would have asked for the executed reference, clipped to [-1, 1].

        stiffness: the executed one (6,), needed where the policy chooses it; columns without an executed quantity are
        taken from `proposed`, inactive ones are 0.
        """
        spec, reference = self.spec, after.T_base_reference
        executed = proposed.copy()
        moved = reference.position_m - before.T_base_tool.position_m
        executed[:3] = before.rotation_base_tool.T @ moved / spec.translation_m
        turned = rotation_vector(self._R_goal_base @ reference.rotation)
        turned -= rotation_vector(self._R_goal_base @ before.rotation_base_tool)
        executed[3:6] = turned / spec.rotation_rad
        if stiffness is not None and spec.stiffness_factor is not None:
            first = len(POSE_NAMES) + 1
            ratio = stiffness[[0, 3]] / np.array(spec.stiffness)[[0, 3]]
            executed[first : first + 2] = np.log(ratio) / np.log(spec.stiffness_factor)
        return np.clip(executed * self._mask, -1.0, 1.0)


def rotation_vector(R: Array) -> Array:
    """log3 of a rotation matrix (3, 3) whose angle is below pi: (3,) [rad]."""
    vector = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) * 0.5
    sine = float(np.sqrt(vector @ vector))
    if sine < 1e-9:
        return vector
    angle = float(np.arctan2(sine, 0.5 * (R[0, 0] + R[1, 1] + R[2, 2] - 1.0)))
    return vector * (angle / sine)


def quaternion_of_vector(w: Array) -> Array:
    """exp of a rotation vector (3,) as a unit quaternion (4,) xyzw."""
    angle = float(np.sqrt(w @ w))
    scale = 0.5 if angle < 1e-9 else np.sin(0.5 * angle) / angle
    return np.array([w[0] * scale, w[1] * scale, w[2] * scale, np.cos(0.5 * angle)])
