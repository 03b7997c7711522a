"""Automatic reset through the controller: free the tool, lift it, drive to the drawn start, tare. As on a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.link import MotorLink
from controllers.types import Command, Source
from data.errors import UserError
from robot_rl.tasks.base import Draw, Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResetConfig:
    """Bounds and figures of the automatic reset."""

    stiffness: tuple[float, ...] = (1000.0, 1000.0, 1000.0, 30.0, 30.0, 30.0)
    """Stiffness while resetting [N/m x3, Nm/rad x3]; with the leash it bounds the pull on a jammed tool."""
    step_s: float = 0.05
    """Time between commands [s]."""
    lift_m: float = 0.005
    """The tool counts as free when it is this far above the goal plane [m]."""
    pull_m: float = 0.012
    """Target ahead of the measured pose while pulling free [m]."""
    wiggle_m: float = 0.004
    """Sideways amplitude of the wiggle when a straight pull does not progress [m]."""
    wiggle_rad: float = 0.03
    """Twist amplitude of the wiggle [rad]."""
    tolerance_m: float = 0.002
    """Arrived: within this of the start [m]."""
    tolerance_rad: float = 0.02
    """Arrived: within this of the start [rad]."""
    settle_m_s: float = 0.02
    """Arrived: slower than this [m/s]."""
    timeout_s: float = 8.0
    """One attempt lasts at most this long [s]."""
    attempts: int = 3
    """Attempts before the reset gives up and asks for a person."""


class ResetFailedError(UserError):
    """The arm could not be brought to the start: a person must look."""


@dataclass(frozen=True)
class ResetResult:
    """How a reset went."""

    duration_s: float
    attempts: int
    pull_n: float
    """Largest force along the way, 3 ms mean [N]."""


class AutomaticReset:
    """Drives any end state to the drawn start over a motor link."""

    def __init__(self, link: MotorLink, task: Task, config: ResetConfig | None = None) -> None:
        self.link, self.task, self.config = link, task, config or ResetConfig()
        self._peak_n = 0.0
        self._elapsed_s = 0.0

    def run(
        self,
        draw: Draw,
        rng: np.random.Generator,
        leaving: Pose | None = None,
        when_free: Callable[[Draw], None] | None = None,
    ) -> ResetResult:
        """Frees, lifts, drives, settles. Raises ResetFailedError after the configured number of attempts.

        leaving: observed goal of the episode that just ended, whose fixture the tool may still be stuck in (None: that of `draw`).
        when_free is called once the tool is out of the old fixture: a simulator then puts the fixtures of the new episode in place.
        """
        self._peak_n = self._elapsed_s = 0.0
        goal = leaving or draw.T_base_goal
        for attempt in range(1, self.config.attempts + 1):
            deadline_s = self._elapsed_s + self.config.timeout_s
            free = self._pull_free(goal, rng, deadline_s)
            if free and when_free is not None:
                when_free(draw)
                when_free = None
            if free and self._drive(draw.T_base_start, deadline_s):
                return ResetResult(self._elapsed_s, attempt, self._peak_n)
            self.link.reset()  # ends a latched hold before the next attempt
        raise ResetFailedError(
            f"reset failed {self.config.attempts} times within {self.config.timeout_s:g} s each: the arm holds; free the tool by hand, then go on"
        )

    def _command(self, target: Pose) -> None:
        self.link.send(
            Command(
                target.position_m,
                target.quaternion_xyzw,
                np.array(self.config.stiffness),
                duration_s=self.config.step_s,
                source=Source.RESET,
            )
        )
        reports = self.link.step(self.config.step_s)
        self._elapsed_s += self.config.step_s
        forces = reports["wrench_tool"][:, :3]
        count = len(forces) // 3 * 3
        if count:
            means = forces[:count].reshape(-1, 3, 3).mean(axis=1)
            self._peak_n = max(self._peak_n, float(np.linalg.norm(means, axis=1).max()))

    def _measured(self) -> Pose:
        report = self.link.latest()
        return Pose(report.position_base_m, report.quaternion_base_xyzw)

    def _pull_free(self, goal: Pose, rng: np.random.Generator, deadline_s: float) -> bool:
        """Pulls along the free direction, the targets always ahead of the measured pose; wiggles when it does not progress."""
        free = self.task.free_direction_goal()
        axis = goal.rotation @ free
        best_m, stuck_s = -np.inf, 0.0
        while self._elapsed_s < deadline_s:
            here = self._measured()
            height_m = float(axis @ (here.position_m - goal.position_m))
            if height_m >= self.config.lift_m:
                return True
            stuck_s = 0.0 if height_m > best_m + 2e-4 else stuck_s + self.config.step_s
            best_m = max(best_m, height_m)
            offset, turn = axis * self.config.pull_m, np.zeros(3)
            quaternion = here.quaternion_xyzw
            if stuck_s > 0.3:
                side = rng.uniform(-1.0, 1.0, 3)
                offset = offset + (side - axis * (axis @ side)) * self.config.wiggle_m
                turn = free * rng.uniform(-1.0, 1.0) * self.config.wiggle_rad
            half = np.append(0.5 * turn, 1.0)
            self._command(Pose(here.position_m + offset, (Pose(np.zeros(3), quaternion).compose(Pose(np.zeros(3), half / np.linalg.norm(half)))).quaternion_xyzw))
        return False

    def _drive(self, start: Pose, deadline_s: float) -> bool:
        """Sends the start as the target until the arm stands there; the reference limiter sets the pace."""
        while self._elapsed_s < deadline_s:
            self._command(start)
            distance_m, angle_rad = start.distance(self._measured())
            speed = float(np.linalg.norm(self.link.latest().twist_base[:3]))
            if distance_m < self.config.tolerance_m and angle_rad < self.config.tolerance_rad and speed < self.config.settle_m_s:
                return True
        return False
