"""A scripted person who inserts a peg by feel: imperfect only through what a person lacks too (place, delay, a steady hand)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.tasks.peg_insertion import STATE_SCALE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PegOperatorConfig:
    """How good the operator is."""

    delay_steps: int = 3
    """Decisions between sensing and acting."""
    motor_noise: float = 0.6
    """Standard deviation of the hand's tremble, in action units, correlated over about three decisions."""
    press: float = 0.5
    """Push into the plate while searching, in action units."""
    gain: float = 0.8
    """Sideways action per full sense of side."""
    moment_nm: float = 0.04
    """Moment at which the operator is fully sure of the side [Nm]."""


class PegOperator:
    """Comes down over the observed hole, leans towards the side on which the support is missing, pushes when it gives way."""

    def __init__(self, rng: np.random.Generator, config: PegOperatorConfig | None = None) -> None:
        self.config, self._rng = config or PegOperatorConfig(), rng
        self.reset()

    def reset(self) -> None:
        """Forgets the last episode."""
        self._delayed: deque[Array] = deque(maxlen=self.config.delay_steps + 1)
        self._tremble = np.zeros(4)
        self._wander = self._rng.uniform(0.0, 2.0 * np.pi)

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,) for an observation."""
        self._delayed.append(observation["state"].astype(np.float64) / STATE_SCALE)
        state = self._delayed[0]
        config = self.config
        position, wrench = state[:3], state[12:18]
        action = np.zeros(4)
        inside, touching = position[2] > 0.003, wrench[2] < -2.0
        action[3] = -state[5] / 0.04
        if inside:  # give way to side forces, push on
            action[:2] = 0.20 * wrench[:2]
            action[2] = 1.0
        elif touching:  # the support pushes at its middle: the tip's moment points to the free side
            lean = np.clip(np.array([-wrench[4], wrench[3]]) / config.moment_nm, -1.0, 1.0)
            self._wander += 0.6
            action[:2] = config.gain * lean + 0.25 * np.array([np.cos(self._wander), np.sin(self._wander)])
            action[:2] -= 0.1 * np.clip(position[:2] / 0.004, -2.0, 2.0) ** 3  # never far from where the hole seemed to be
            action[2] = config.press
        else:
            action[:2] = -0.8 * position[:2] / 0.006
            action[2] = 0.7
        self._tremble = 0.7 * self._tremble + 0.7 * config.motor_noise * self._rng.normal(size=4) * [1.0, 1.0, 0.5, 1.0]
        whole = np.zeros(size)
        whole[[0, 1, 2, 5]] = np.clip(action + self._tremble, -1.0, 1.0)
        return whole.astype(np.float32)
