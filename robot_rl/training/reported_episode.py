"""One episode of an arm that somebody else commands, with pictures of the same moments, ready for an episode store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.builder import EpisodeBuilder
from data.episode import Episode, Step
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec
from robot_rl.envs.capabilities import with_pictures
from robot_rl.tasks.base import Task
from robot_rl.training.evaluation import EpisodeMeter
from robot_rl.training.listening import Decided, ReportedDecisions, Reports
from robot_rl.training.workplace import Outcome

Pictures = Mapping[str, NDArray[Any]]
Look = Callable[[int, bool], tuple[Pictures, Mapping[str, float]] | None]
"""look(stamp_ns, last): pictures by observation key, and the age of each camera's [s]; None while a nearer one may
still come, which with `last` none does. Raises UserError where what there is is too old."""
NO_SEED = -1
"""Nobody drew such an episode."""


def reported_spec(task: Task, robot: str, cameras: tuple[str, ...], config: Mapping[str, Any]) -> StoreSpec:
    """Returns the description of a store for reported episodes with these cameras of the task's scene.

    Raises UserError for a camera that the scene does not have.
    """
    there = {camera.name: camera for camera in task.scene().cameras}
    unknown = [name for name in cameras if name not in there]
    if unknown:
        raise UserError(f"task {task.name} has the cameras {', '.join(there) or 'none'}, got {', '.join(unknown)}")
    space = with_pictures(task, tuple(there[name] for name in cameras))
    observations = {
        key: ArraySpec(tuple(item.shape or ()), np.dtype(item.dtype).name) for key, item in space.spaces.items()
    }
    return StoreSpec(task.name, task.text, robot, task.rate_hz, observations, task.action.names, cameras, dict(config))


class ReportedEpisode:
    """Collects one episode; what it holds grows with the task's `max_steps` and no further."""

    def __init__(self, task: Task, spec: StoreSpec, T_base_goal: Pose, reports: Reports, look: Look) -> None:
        """reports: the REPORT records (n,) up to the beginning, of the last 50 ms at least. See ReportedDecisions."""
        self._decisions = ReportedDecisions(task, T_base_goal, reports)
        self._builder, self._look, self._goal = EpisodeBuilder(spec), look, T_base_goal
        self._meter = EpisodeMeter(NO_SEED, {}, task.rate_hz)
        self._active = np.isin(np.arange(task.action.size), task.action.active_index)
        self._unseen: deque[Decided | None] = deque([None])  # None: the beginning
        self._held: tuple[Decided, Pictures, Mapping[str, float]] | None = None
        self._committed = 0

    @property
    def over(self) -> bool:
        """Whether the task has ended it: done, failed, latched, or `max_steps` are over."""
        return self._decisions.over

    @property
    def settled(self) -> bool:
        """Whether every decision so far has its pictures."""
        return not self._unseen

    @property
    def steps(self) -> int:
        """Returns the number of decisions so far."""
        return self._committed + (self._held is not None) + sum(item is not None for item in self._unseen)

    def add(self, reports: Reports) -> None:
        """Takes the REPORT records (n,) that came next. Raises UserError where the episode cannot be kept."""
        for decided in self._decisions.add(reports):
            self._unseen.append(decided)
        self.settle()

    def settle(self, last: bool = False) -> None:
        """Gives those decisions their pictures for which they are settled. Raises UserError where one is too old."""
        while self._unseen:
            decided = self._unseen[0]
            seen = self._look(self._decisions.stamp_ns if decided is None else decided.stamp_ns, last)
            if seen is None:
                return
            self._unseen.popleft()
            self._place(decided, *seen)

    def _place(self, decided: Decided | None, pictures: Pictures, ages_s: Mapping[str, float]) -> None:
        if decided is None:
            first = self._decisions
            extras = {"q_rad": first.q_rad, **_ages(ages_s)}
            self._builder.start({**first.observation, **pictures}, first.stamp_ns, extras)
            return
        if self._held is not None:
            self._commit(*self._held)
        self._held = decided, pictures, ages_s  # the last one waits: a person's verdict may change its end

    def _commit(self, decided: Decided, pictures: Pictures, ages_s: Mapping[str, float]) -> None:
        info = decided.info
        told: dict[str, Any] = {
            name: np.float64(info[name]) for name in ("energy_spent_j", "duration_s") if name in info
        }
        self._builder.add(
            Step(
                {**decided.observation, **pictures},
                decided.proposed,
                decided.executed,
                decided.reward,
                decided.terminated,
                decided.truncated,
                decided.source,
                decided.stamp_ns,
                {"q_rad": info["q_rad"], **told, **_ages(ages_s)},
            )
        )
        outcome = Outcome(
            np.zeros(0, np.float32), decided.reward, decided.terminated, decided.truncated, decided.executed,
            info["success"], info,
        )  # fmt: skip
        self._meter.add(outcome, decided.proposed * self._active, decided.source)
        self._committed += 1

    def finish(self, verdict: bool | None, info: Mapping[str, Any]) -> Episode:
        """Returns the episode. A person's verdict ends the task, whatever the task itself says; None: they say nothing.

        info: what else to keep with it. Raises UserError for an episode without a decision or with a stale picture.
        """
        self.settle(last=True)
        if self._held is None:
            raise UserError("the episode ended before its first decision was over: there is nothing to keep")
        decided, pictures, ages_s = self._held
        if verdict is not None:
            told = {**decided.info, "success": verdict}
            decided = replace(decided, reward=float(verdict), terminated=True, truncated=False, info=told)
        self._commit(decided, pictures, ages_s)
        record = self._meter.finish()
        if verdict is not None:
            record = replace(record, success=verdict, end="marked")
        goal = [*self._goal.position_m.tolist(), *self._goal.quaternion_xyzw.tolist()]
        ticks = [self._decisions.first_tick, self._decisions.last_tick]
        made = {"T_base_goal": goal, "ticks": ticks, "lost_reports": self._decisions.lost_reports}
        return self._builder.finish(record.success, {**record.as_dict(), "fixtures": {}, "draw": {}, **made, **info})


def _ages(ages_s: Mapping[str, float]) -> dict[str, np.float64]:
    return {f"image_age_s_{name}": np.float64(age_s) for name, age_s in ages_s.items()}
