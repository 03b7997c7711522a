"""A scripted operator of taught tasks: straight to the goal, trembling, yielding where it is pressed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_parts import turn_of

Array = NDArray[np.float64]

_YIELD = 0.5
"""Share of an increment given up along a force as large as the largest push."""
_NEAR_M = 0.006
"""From here on the operator presses, where success asks for a force [m]."""


class StraightOperator:
    """Acts on the state of a TaughtTask alone, as a policy does."""

    def __init__(self, rng: np.random.Generator, config: TaughtConfig, state_scale: Array, motor_noise: float) -> None:
        """state_scale (31,): of the task's observation. motor_noise: in action units."""
        self.rng, self.config, self.scale, self.motor_noise = rng, config, state_scale, motor_noise
        self._tremble = np.zeros(6)

    def reset(self) -> None:
        """Forgets the last episode."""
        self._tremble = np.zeros(6)

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,) for an observation."""
        state = observation["state"].astype(np.float64) / self.scale
        wish = self._wish(state[:3], state[3:6], state[12:15])
        self._tremble = 0.6 * self._tremble + 0.8 * self.motor_noise * self.rng.normal(size=6)
        shares = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
        whole = np.zeros(size)
        whole[:6] = np.clip(wish + shares * self._tremble, -1.0, 1.0)
        return whole.astype(np.float32)

    def _wish(self, position: Array, turn: Array, force: Array) -> Array:
        """Action (6,) for position (3,) [m] and turn (3,) [rad] in the goal frame, and force (3,) [N] in tool axes."""
        action = self.config.action
        into_tool = Pose(np.zeros(3), turn_of(-turn)).rotation
        step = into_tool @ -position - self._pressing(position, force, into_tool)
        largest = np.array(action.translation_m)
        step = step + _YIELD * largest * np.clip(force / max(action.push_n(), 1.0), -1.0, 1.0) * self._yields()
        return np.concatenate([np.clip(step / largest, -1.0, 1.0), np.clip(-turn / action.rotation_rad, -1.0, 1.0)])

    def _yields(self) -> float:
        return 0.0 if self.config.success.force_n is not None and self.config.success.force_n[0] > 0.0 else 1.0

    def _pressing(self, position: Array, force: Array, into_tool: Array) -> Array:
        """Minus the increment (3,), tool axes, that presses with the middle of the wanted forces; 0 far away."""
        wanted = self.config.success.force_n
        if wanted is None or wanted[0] == 0.0 or float(np.linalg.norm(position)) > _NEAR_M:
            return np.zeros(3)
        free = into_tool @ np.array(self.config.free_direction_goal)
        stiffness = np.array(self.config.action.stiffness[:3])
        pressed: Array = free * float(np.mean(wanted)) / stiffness
        return pressed
