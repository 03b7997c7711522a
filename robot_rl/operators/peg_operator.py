"""Scripted people who insert a peg by feel, and lack what people lack: the true place, quick nerves, a steady hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.tasks.peg_insertion import STATE_SCALE

Array = NDArray[np.float64]

TOUCH_N = 2.0
"""Push along the peg above which it stands on something [N]."""


@dataclass(frozen=True)
class OperatorConfig:
    """How good the operator is."""

    delay_steps: int = 1
    """Decisions between sensing and acting."""
    motor_noise: float = 0.14
    """Standard deviation of the hand's tremble, in action units, correlated over about three decisions."""


class PegOperator(ABC):
    """Delay and tremble around a plan in goal axes, which sees position [m], rotation [rad] and wrench [N, Nm]."""

    def __init__(self, rng: np.random.Generator, config: OperatorConfig | None = None) -> None:
        self.config, self.rng = config or OperatorConfig(), rng
        self.reset()

    def reset(self) -> None:
        """Forgets the last episode."""
        self._delayed: deque[Array] = deque(maxlen=self.config.delay_steps + 1)
        self._tremble = np.zeros(6)
        self.begin()

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,) for an observation."""
        self._delayed.append(observation["state"].astype(np.float64) / STATE_SCALE)
        state = self._delayed[0]
        wish = self.plan(state[:3], state[3:6], state[12:18])
        shares = np.array([1.0, 1.0, 0.5, 0.5, 0.5, 0.5])
        self._tremble = 0.7 * self._tremble + 0.7 * self.config.motor_noise * shares * self.rng.normal(size=6)
        whole = np.zeros(size)
        whole[:6] = np.clip(wish + self._tremble, -1.0, 1.0)
        return whole.astype(np.float32)

    @abstractmethod
    def begin(self) -> None:
        """Begins an episode."""

    @abstractmethod
    def plan(self, position: Array, rotation: Array, wrench: Array) -> Array:
        """Returns the wished action (6,) for position (3,), rotation (3,) and wrench (6,)."""


class TiltingOperator(PegOperator):
    """Tilts the peg so that a corner leads, feels with it for the hole's corner, then raises the peg and pushes."""

    TILT = 0.1 * np.array([-0.7071, 0.7071])
    """Rotation about x and y [rad] that lowers the corner at (-x, -y)."""
    ABOVE = np.array([0.004, 0.004])
    """Where the leading corner surely is inside the hole, whatever the observed place hides [m]."""
    CORNER_N = 2.2
    """Push of both walls at which the corner is found [N]."""

    def begin(self) -> None:
        """Starts with the approach."""
        self._enter(self._approach)

    def _enter(self, phase: Any) -> None:
        self._phase, self._steps = phase, 0

    def plan(self, position: Array, rotation: Array, wrench: Array) -> Array:
        """The present phase's wish; a phase that takes too long starts over."""
        self._steps += 1
        action = np.zeros(6)
        action[5] = -rotation[2] / 0.04
        self._phase(action, position, rotation, wrench)
        return action

    def _approach(self, action: Array, position: Array, rotation: Array, wrench: Array) -> None:
        away, turn = self.ABOVE - position[:2], self.TILT - rotation[:2]
        ready = np.abs(away).max() < 0.002 and np.abs(turn).max() < 0.03
        touching = wrench[2] < -TOUCH_N
        action[:2], action[3:5] = away / 0.004, turn / 0.04
        action[2] = 0.6 if ready else -0.5 if touching else np.clip((-0.004 - position[2]) / 0.012, -1.0, 1.0)
        if touching and ready:
            self._enter(self._feel)

    def _feel(self, action: Array, position: Array, rotation: Array, wrench: Array) -> None:
        action[:2], action[2], action[3:5] = -0.7, 0.35, (self.TILT - rotation[:2]) / 0.04
        if wrench[:2].min() > self.CORNER_N and self._steps > 2:
            self._enter(self._raise)
        elif position[:2].min() < -0.006 or self._steps > 15:
            self._enter(self._approach)

    def _raise(self, action: Array, position: Array, rotation: Array, wrench: Array) -> None:
        action[:2], action[2], action[3:5] = -0.3, 0.5, -rotation[:2] / 0.04
        if np.abs(rotation[:2]).max() < 0.02:
            self._enter(self._push)
        elif self._steps > 8:
            self._enter(self._approach)

    def _push(self, action: Array, position: Array, rotation: Array, wrench: Array) -> None:
        action[:2], action[2], action[3:5] = 0.05 * wrench[:2], 0.9, -rotation[:2] / 0.04
        if position[2] < 0.002 and self._steps > 8:
            self._enter(self._approach)


class LeaningOperator(PegOperator):
    """Never tilts: comes down over the observed hole and leans towards the side on which the support is missing."""

    MOMENT_NM = 0.04
    """Moment at which the operator is fully sure of the side [Nm]."""

    def begin(self) -> None:
        """Starts to wander in a drawn direction."""
        self._wander = self.rng.uniform(0.0, 2.0 * np.pi)

    def plan(self, position: Array, rotation: Array, wrench: Array) -> Array:
        """In the hole: give way and push; on the plate: lean and wander; above it: come down."""
        action = np.zeros(6)
        action[5] = -rotation[2] / 0.06
        if position[2] > 0.003:
            action[:2], action[2] = 0.15 * wrench[:2], 1.0
        elif wrench[2] < -TOUCH_N:  # the support pushes at its middle: the tip's moment points to the free side
            lean = np.clip(np.array([-wrench[4], wrench[3]]) / self.MOMENT_NM, -1.0, 1.0)
            self._wander += 0.6
            action[:2] = 0.6 * lean + 0.2 * np.array([np.cos(self._wander), np.sin(self._wander)])
            action[:2] -= 0.08 * np.clip(position[:2] / 0.004, -2.0, 2.0) ** 3  # never far from where it seemed to be
            action[2] = 0.6
        else:
            action[:2], action[2] = -position[:2] / 0.008, 0.7
        return action
