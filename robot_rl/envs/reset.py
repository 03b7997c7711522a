"""Automatic reset through the controller: free the tool, lift it, drive to the drawn start, tare. As on a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from controllers.description.geometry import Pose
from controllers.link import MotorLink
from controllers.types import Command, Source
from data.errors import UserError
from robot_rl.envs.action_map import quaternion_of_vector, rotation_vector
from robot_rl.envs.sensing import measured_pose, peak_force
from robot_rl.tasks.base import Draw, Task
from robot_rl.tasks.resetting import ResetConfig as ResetConfig
from safety.reasons import Reason
from safety.supervisor import Supervisor

_SAY_S = 10.0
"""While a person holds the arm, this often it is said that somebody waits."""
_HELD = "the reset waits: a person holds the arm (supervisor/arm lets it go on)"
NEAR_M = 0.005
"""Near enough to a place on the way to the start [m]."""


class ResetFailedError(UserError):
    """The arm could not be brought to the start: a person must look."""


class ResetLeftError(Exception):
    """Whoever started a reset that waits for a person does not want to wait any longer; the arm stays held."""


@dataclass(frozen=True)
class ResetResult:
    """How a reset went."""

    duration_s: float
    attempts: int
    pull_n: float
    """Largest mean force of one step along the way [N]: what was pulled with."""
    peak_n: float
    """Largest 3 ms mean of the force along the way [N]: impacts of a tool that comes free."""
    wiggles: int
    """Steps of sideways and twisting motion, where a straight pull did not progress."""


def reset_info(result: ResetResult | None, link: MotorLink) -> dict[str, Any]:
    """Returns what an environment's reset tells; result None: the tool was put there.

    A link that has its supervisor in this process also tells how many latches were ended so far without a person.
    """
    found = result or ResetResult(0.0, 0, 0.0, 0.0, 0)
    info = {
        "reset_s": found.duration_s,
        "reset_attempts": found.attempts,
        "reset_kind": "teleport" if result is None else "automatic",
        "reset_pull_n": found.pull_n,
        "reset_peak_n": found.peak_n,
        "reset_wiggles": found.wiggles,
    }
    supervisor = getattr(link, "supervisor", None)
    if isinstance(supervisor, Supervisor):
        info |= {"recoveries_automatic": supervisor.automatic, "recoveries_simulated": supervisor.simulated}
    return info


class AutomaticReset:
    """Drives any end state to the drawn start over a motor link."""

    def __init__(self, link: MotorLink, task: Task, config: ResetConfig | None = None) -> None:
        self.link, self.task, self.config = link, task, config or task.reset_config()
        self.tell: Callable[[str], None] = partial(print, flush=True)
        """Says a line to whoever watches."""
        self.leave: Callable[[], bool] = lambda: False
        """Asked while it waits for a person: whether to give up."""
        self._leash = np.array(task.chain_config().limiter.leash)
        self._pull_n = self._peak_n = self._elapsed_s = 0.0
        self._wiggles = 0

    def run(
        self,
        draw: Draw,
        rng: np.random.Generator,
        leaving: Pose | None = None,
        when_free: Callable[[Draw], None] | None = None,
    ) -> ResetResult:
        """Frees, lifts, drives, settles. Raises ResetFailedError after the configured number of attempts.

        While a person holds the arm it waits, which counts for nothing, and says so now and then. Raises ResetLeftError
        if it is to give up (`leave`) meanwhile.

        leaving: observed goal of the episode that just ended, whose fixture the tool may still be in (None: `draw`'s).
        when_free is called once the tool is out of it: a simulator then puts the fixtures of the new episode in place.
        """
        self._pull_n = self._peak_n = self._elapsed_s = 0.0
        self._wiggles = 0
        goal = leaving or draw.T_base_goal
        for attempt in range(1, self.config.attempts + 1):
            deadline_s = self._elapsed_s + self.config.timeout_s
            free = self._pull_free(goal, rng, deadline_s)
            if free and when_free is not None:
                when_free(draw)
                when_free, goal = None, draw.T_base_goal
            if free and self._go(draw, deadline_s):
                return ResetResult(self._elapsed_s, attempt, self._pull_n, self._peak_n, self._wiggles)
            self.link.reset()  # ends a latched hold before the next attempt
        raise ResetFailedError(
            f"reset failed {self.config.attempts} times within {self.config.timeout_s:g} s each: the arm holds; "
            "free the tool by hand, then go on"
        )

    def _here(self) -> Pose:
        report = self.link.latest()
        return Pose(report.position_base_m, report.quaternion_base_xyzw)

    def _command(self, target: Pose) -> Any:
        """Lets the arm follow a target for one step; returns the newest REPORT.

        Where a person holds the arm it waits, and does not send the target again: they may have moved the arm since.
        """
        reports = self._step(target)
        if reports[-1]["reason"] == Reason.PERSON_HOLD:
            self._wait_for_person()
            return self.link.step(self.config.step_s)[-1]
        self._elapsed_s += self.config.step_s
        forces_n = reports["wrench_tool"][:, :3]
        self._pull_n = max(self._pull_n, float(np.linalg.norm(forces_n.mean(axis=0))))
        self._peak_n = max(self._peak_n, peak_force(forces_n))
        return reports[-1]

    def _wait_for_person(self) -> None:
        """Waits until a person lets the arm go on. It starts over before: held with no command, it does not latch."""
        self.link.reset()
        said_ns = -(2**62)
        while self.link.step(self.config.step_s)["reason"][-1] == Reason.PERSON_HOLD:
            if self.leave():
                raise ResetLeftError
            if self.link.now_ns() - said_ns > _SAY_S * 1e9:
                said_ns = self.link.now_ns()
                self.tell(_HELD)
        self.link.reset()

    def _step(self, target: Pose) -> Any:
        """Sends a target; returns the REPORT records of one step."""
        self.link.send(
            Command(
                target.position_m,
                target.quaternion_xyzw,
                np.array(self.config.stiffness),
                duration_s=self.config.step_s,
                source=Source.RESET,
            )
        )
        return self.link.step(self.config.step_s)

    def _pull_free(self, goal: Pose, rng: np.random.Generator, deadline_s: float) -> bool:
        """Pulls along the free direction, targets ahead of the measured pose; wiggles when that leads nowhere."""
        config, free = self.config, self.task.free_direction_goal()
        axis = goal.rotation @ free
        best_m, stuck_s, here = -np.inf, 0.0, self._here()
        while self._elapsed_s < deadline_s:
            height_m = float(axis @ (here.position_m - goal.position_m))
            if height_m >= config.lift_m:
                return True
            stuck_s = 0.0 if height_m > best_m + config.progress_m else stuck_s + config.step_s
            best_m = max(best_m, height_m)
            offset, turn = axis * config.pull_m, np.zeros(3)
            if stuck_s > config.patience_s:
                self._wiggles += 1
                side = rng.uniform(-1.0, 1.0, 3)
                offset = offset + (side - axis * (axis @ side)) * config.wiggle_m
                turn = free * rng.uniform(-1.0, 1.0) * config.wiggle_rad
            target = here.compose(Pose(quaternion_xyzw=quaternion_of_vector(turn)))
            here = measured_pose(self._command(Pose(here.position_m + offset, target.quaternion_xyzw)))
        return False

    def _go(self, draw: Draw, deadline_s: float) -> bool:
        if not (self._round(draw, deadline_s) and self._approach(draw, deadline_s)):
            return False
        return self._drive(draw.T_base_start, deadline_s)

    def _round(self, draw: Draw, deadline_s: float) -> bool:
        """Drives through the task's way-points that still lie between here and the start, each to within NEAR_M."""
        path = way_to(self.task.reset_waypoints(), self._here(), draw.T_base_start)
        return all(self._drive(waypoint, deadline_s, NEAR_M) for waypoint in path)

    def _approach(self, draw: Draw, deadline_s: float) -> bool:
        """Drives to roughly over the start, so that the last way leads straight down where the tool came up."""
        if self.config.approach_m == 0.0:
            return True
        start = draw.T_base_start
        up = draw.T_base_goal.rotation @ self.task.free_direction_goal()
        over = Pose(start.position_m + self.config.approach_m * up, start.quaternion_xyzw)
        return self._drive(over, deadline_s, NEAR_M)

    def _drive(self, start: Pose, deadline_s: float, tolerance_m: float | None = None) -> bool:
        """Sends the start as the target until the arm stands there; the reference limiter sets the pace.

        A spring alone stops short by friction / stiffness. An arm that rests outside the tolerance is therefore led on
        by an integral of the error, bounded well within the leash.
        """
        config = self.config
        tolerance_m = tolerance_m or config.tolerance_m
        bound, creep = config.creep_max * self._leash, np.zeros(6)
        target, resting_s = start, 0.0
        while self._elapsed_s < deadline_s:
            report = self._command(target)
            here = measured_pose(report)
            distance_m, angle_rad = start.distance(here)
            resting = float(np.linalg.norm(report["twist_base"][:3])) < config.settle_m_s
            if resting and distance_m < tolerance_m and angle_rad < config.tolerance_rad:
                return True
            resting_s = resting_s + config.step_s if resting else 0.0
            if resting_s > config.creep_s:
                turn = rotation_vector(start.rotation @ here.rotation.T)
                error = np.concatenate([start.position_m - here.position_m, turn])
                creep = np.clip(creep + config.creep_share * error, -bound, bound)
                turned = Pose(quaternion_xyzw=quaternion_of_vector(creep[3:])).compose(start)
                target = Pose(start.position_m + creep[:3], turned.quaternion_xyzw)
        return False


def way_to(waypoints: tuple[Pose, ...], here: Pose, start: Pose) -> tuple[Pose, ...]:
    """Returns the way-points to drive through: in the direction whose end is nearer to the start, from the nearest on.

    A tool that stands nearer to the start than to any way-point needs none.
    """
    if not waypoints:
        return ()

    def apart_m(pose: Pose, other: Pose) -> float:
        return float(np.linalg.norm(pose.position_m - other.position_m))

    forward = apart_m(waypoints[-1], start) <= apart_m(waypoints[0], start)
    path = waypoints if forward else waypoints[::-1]
    distances_m = [apart_m(waypoint, here) for waypoint in path]
    nearest = int(np.argmin(distances_m))
    return () if apart_m(here, start) < distances_m[nearest] else path[nearest:]
