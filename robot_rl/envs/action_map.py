"""From an action to a target pose, and back from what the chain executed to an action."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.tasks.actions import POSE_NAMES, ActionSpec
from robot_rl.tasks.base import Sensed
from safety import so3

Array = NDArray[np.float64]


class ActionMap:
    """Both directions for one episode's observed goal: `target` and its inverse `executed`.

    Increments are those of the tool frame: p_target = p + R a_xyz s_t; the rotation is stated in goal axes,
    R_target = R_goal exp(m log(R_goal^T R) + a_r s_r), where the mask m is 0 for rotations that the task holds itself
    (inactive columns): those return to the observed goal's.
    """

    def __init__(self, spec: ActionSpec, T_base_goal: Pose) -> None:
        self.spec = spec
        self._R_goal_base = T_base_goal.rotation.T.copy()
        x, y, z, w = T_base_goal.quaternion_xyzw.tolist()
        self._goal: so3.Quaternion = (x, y, z, w)
        self._mask = np.zeros(spec.size)
        self._mask[spec.active_index] = 1.0

    def target(self, before: Sensed, action: Array) -> tuple[Pose, Array]:
        """Returns the target pose of an action (size,) in [-1, 1], and the action without its inactive entries."""
        spec, mask = self.spec, self._mask
        whole = action * mask
        position = before.T_base_tool.position_m + before.rotation_base_tool @ (whole[:3] * spec.translation_m)
        measured = rotation_vector(self._R_goal_base @ before.rotation_base_tool)
        turn = measured * mask[3:6] + whole[3:6] * spec.rotation_rad
        x, y, z = turn.tolist()
        quaternion = so3.multiply(self._goal, so3.exp((x, y, z)))
        return Pose(position, np.array(quaternion)), whole

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
        return (executed * self._mask).clip(-1.0, 1.0)


def rotation_vector(R: Array) -> Array:
    """log3 of a rotation matrix (3, 3), C-contiguous: (3,) [rad]."""
    return np.array(so3.log(so3.from_matrix(R)))


def quaternion_of_vector(w: Array) -> Array:
    """exp of a rotation vector (3,) as a unit quaternion (4,) xyzw."""
    x, y, z = w.tolist()
    return np.array(so3.exp((x, y, z)))
