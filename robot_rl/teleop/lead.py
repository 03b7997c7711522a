"""How far ahead of the measured pose a hand's target lies, so that the arm goes where it was asked to.

An action's increments start from the measured pose (robot_rl/envs/action_map.py). A spring whose target is moved on by
a tenth of a millimetre each time, from wherever the arm is, never overcomes the joints' dry friction: the arm sticks
below full speed. What was asked for and not yet done is therefore added up here, and led by its integral as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.envs.action_map import rotation_vector
from robot_rl.tasks.actions import ActionSpec

Array = NDArray[np.float64]
_GAIN = 0.25
"""Share of what is missing by which the target is led on at each decision."""


class _Part:
    """Translation [m] or rotation [rad], along the stick's direction in the tool's axes."""

    def __init__(self, scale: Array) -> None:
        """scale: the largest increments (3,)."""
        self._scale = scale
        self.forget()

    def forget(self) -> None:
        self._direction, self._missing, self._led = np.zeros(3), 0.0, 0.0

    def of(self, asked: Array, done: Array) -> Array:
        """Returns the lead (3,). asked: for this decision (3,); done: since the last one (3,)."""
        size = float(np.linalg.norm(asked))
        direction = asked / size if size > 0.0 else np.zeros(3)
        kept = float(direction @ self._direction)
        if kept > 0.0:  # what was asked for to one side is not done to another
            self._missing, self._led = kept * self._missing, kept * self._led
        else:  # at rest, turned round, or the first one
            self.forget()
            done = np.zeros(3)
        self._direction = direction
        if size == 0.0:
            return direction
        most = 1.0 / float(np.abs(direction / self._scale).max())
        missing = self._missing + size - float(done @ direction)
        self._missing = min(max(missing, -most), most)
        # both together at most one increment: a tool that was blocked and comes free goes on by that, not by more
        self._led = min(max(self._led + _GAIN * self._missing, 0.0), most - max(self._missing, 0.0))
        lead: Array = max(self._missing + self._led, 0.0) * direction
        return lead


class Lead:
    """The lead along the stick's direction, at most the task's largest increment, as an action is.

    A stick that is reversed or at rest takes nothing along of where it pointed before, and across its direction the arm
    gives way as before: there the target stays at the measured pose.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self._scale = np.array([*spec.translation_m, *(spec.rotation_rad,) * 3])
        self._parts = _Part(self._scale[:3]), _Part(self._scale[3:])
        self._before: Pose | None = None

    def forget(self) -> None:
        """Begins anew from wherever the arm is."""
        self._before = None
        for part in self._parts:
            part.forget()

    def of(self, increment: Array, T_base_tool: Pose) -> Array:
        """Returns the increments (6,), as shares of the largest ones, that do what a stick's increments (6,) ask for.

        Both are in the axes of the measured tool. To be called once a decision.
        """
        asked = increment * self._scale
        before, self._before = self._before or T_base_tool, T_base_tool
        R = T_base_tool.rotation
        went = R.T @ (T_base_tool.position_m - before.position_m)
        turned = rotation_vector(np.ascontiguousarray(before.rotation.T @ R))
        translation, rotation = self._parts
        leads = [translation.of(asked[:3], went), rotation.of(asked[3:], turned)]
        shares: Array = np.concatenate(leads) / self._scale
        return shares
