"""From a device's axes to an action of the task: frames, speed levels, the dead-man and the gripper.

An action's increments are relative to the *measured* tool pose (robot_rl/envs/action_map.py). That is what makes the
clutch free of jumps: with the dead-man released the stick moves nothing, and the next press begins from where the arm
is, however far the hand has moved meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.action_map import rotation_vector
from robot_rl.options import expected_names
from robot_rl.tasks.actions import POSE_NAMES, ActionSpec
from robot_rl.teleop.devices.base import Button, DeviceState

Array = NDArray[np.float64]
FRAMES = ("view", "base", "tool")
LEVELS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Speed levels, as shares of the task's largest increment; the lowest ones are the precise mode."""
_GRIPPER = len(POSE_NAMES)


@dataclass(frozen=True)
class MappingConfig:
    """Which way the stick points."""

    frame: str = "view"
    """`base`: the operator stands behind the base and looks along its x axis; `view`: turned from there by
    view_yaw_rad, as a person or a camera looks at the arm; `tool`: along the tool's own axes."""
    view_yaw_rad: float = 0.0
    """Direction in which the operator looks, about the base's z axis [rad]; 0 is along x. For the frame `view`."""
    rotation_frame: str = "tool"
    """`tool`: twisting turns about the tool's own axes; `same`: about the axes of `frame`. Always about its tip."""
    level: int = 3
    """Speed level at the start, an index of LEVELS."""

    def __post_init__(self) -> None:
        for name, valid in (("frame", FRAMES), ("rotation_frame", ("tool", "same"))):
            if getattr(self, name) not in valid:
                raise UserError(
                    f"{name}={getattr(self, name)} is unknown; {expected_names(getattr(self, name), valid)}"
                )
        if not math.isfinite(self.view_yaw_rad):
            raise UserError(f"view_yaw_rad must be finite, got {self.view_yaw_rad}")
        if not 0 <= self.level < len(LEVELS):
            raise UserError(f"level must be 0..{len(LEVELS) - 1}, got {self.level}")

    def rotation_base_operator(self, rotation_base_tool: Array) -> Array:
        """Returns the operator's axes in the base frame (3, 3)."""
        if self.frame == "tool":
            return rotation_base_tool
        yaw = self.view_yaw_rad if self.frame == "view" else 0.0
        cos, sin = math.cos(yaw), math.sin(yaw)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


class Mapping:
    """Maps a device's state to a whole action (size,) in [-1, 1].

    A full deflection moves by the *same* distance in every direction: the smallest of the active axes' largest
    increments, times the speed level. Axes together are bounded by the unit ball, so that no entry can exceed 1.
    Columns that the task does not let a policy use, and those of stiffness, are 0.
    """

    def __init__(self, spec: ActionSpec, config: MappingConfig | None = None) -> None:
        self.spec, self.config = spec, config or MappingConfig()
        self._active = np.isin(np.arange(spec.size), spec.active_index)
        steps_m = np.array(spec.translation_m)[self._active[:3]]
        self._step_m = float(steps_m.min()) if steps_m.size else 0.0
        self._level, self._opening = self.config.level, 1.0

    @property
    def speed(self) -> float:
        """Share of the task's largest increment that a full deflection asks for."""
        return LEVELS[self._level]

    def begin(self, opening: float = 1.0) -> None:
        """Starts an episode; opening: the gripper's, from -1 (closed) to 1 (open). The speed level stays."""
        self._opening = opening

    def press(self, button: Button) -> bool:
        """Takes a press that changes speed or gripper; returns whether it was one, others mean nothing here."""
        if button in (Button.FASTER, Button.SLOWER):
            step = 1 if button is Button.FASTER else -1
            self._level = min(max(self._level + step, 0), len(LEVELS) - 1)
        elif button in (Button.GRIPPER_OPEN, Button.GRIPPER_CLOSE):
            self._opening = 1.0 if button is Button.GRIPPER_OPEN else -1.0
        else:
            return False
        return True

    def action(self, state: DeviceState, rotation_base_tool: Array) -> NDArray[np.float32]:
        """Returns the action for the tool's measured rotation (3, 3); no increments while the dead-man is released."""
        whole = np.zeros(self.spec.size)
        if state.held:
            operator = self.config.rotation_base_operator(rotation_base_tool)
            to_tool = rotation_base_tool.T @ operator
            moved_m = to_tool @ within_ball(state.axes[:3]) * (self.speed * self._step_m)
            turned = within_ball(state.axes[3:]) * self.speed
            whole[:3] = moved_m / self.spec.translation_m
            whole[3:6] = turned if self.config.rotation_frame == "tool" else to_tool @ turned
        return self._finished(whole)

    def hold(self, T_base_anchor: Pose, T_base_tool: Pose) -> NDArray[np.float32]:
        """Returns the action that leads from the measured pose back to an anchor, by one largest increment at most.

        Increments of 0 would put the target at the measured pose again and again, and the arm would creep.
        """
        whole, R = np.zeros(self.spec.size), T_base_tool.rotation
        whole[:3] = R.T @ (T_base_anchor.position_m - T_base_tool.position_m) / self.spec.translation_m
        whole[3:6] = rotation_vector(np.ascontiguousarray(R.T @ T_base_anchor.rotation)) / self.spec.rotation_rad
        return self._finished(whole)

    def _finished(self, whole: Array) -> NDArray[np.float32]:
        whole[_GRIPPER] = self._opening
        return np.where(self._active, whole, 0.0).clip(-1.0, 1.0).astype(np.float32)


def within_ball(vector: Array) -> Array:
    """Returns a vector (3,) shortened to length 1 where it is longer."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1.0 else vector
