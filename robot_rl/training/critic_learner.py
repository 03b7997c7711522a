"""Trains the safety critic along with a run: every training episode is learned from, a better critic handed over.

In the run folder: `critic/` with the trajectories and every critic that passed its gate, by the number of the training
episode, and `critic.safetensors`, the newest of those. Whoever goes on from a checkpoint finds what there was then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controllers.link import LockstepLink
from robot_rl.envs.layers import reflex_at
from robot_rl.envs.make import chain_of
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, load_critic, save_critic
from robot_rl.safety_critic.online import OnlineCritic
from robot_rl.safety_critic.trajectories import TrajectoryRecorder, episode_path, load_trajectory, save_trajectory
from robot_rl.tasks.base import Task
from robot_rl.training.onlooker import Onlooker
from robot_rl.training.workplace import Outcome

FOLDER = "critic"


class CriticLearner(Onlooker):
    """One critic, learning from one arm in lock-step and handed over to that and to others, such as evaluation's."""

    def __init__(
        self, online: OnlineCritic, task: Task, links: Sequence[LockstepLink], run: Path, stride_ticks: int
    ) -> None:
        """links: the first is the one that trains. run: the run's folder. stride_ticks: as in the offline data."""
        self.online, self.task, self.links, self.run = online, task, links, run
        self.folder, self._limits = run / FOLDER, chain_of(task).critic
        self._start, self._stride = online.critic, stride_ticks
        self._recorder: TrajectoryRecorder | None = None
        self._over = False
        self._saved_episode = 0

    def resume(self, episode: int) -> None:
        """Takes up the trajectories and the critic of that moment, and removes what is later."""
        self.folder.mkdir(exist_ok=True)
        for pattern in ("episode-*", "accepted-*"):
            for path in self.folder.glob(f"{pattern}.safetensors"):
                if number_of(path) > episode:
                    path.unlink()
        for path in sorted(self.folder.glob("episode-*.safetensors")):
            self.online.add(number_of(path), load_trajectory(path, self._limits))
        accepted = sorted(self.folder.glob("accepted-*.safetensors"))
        if accepted:
            self._use(load_critic(accepted[-1]))
        else:
            self.online.critic = self._start
            (self.run / CRITIC_FILE).unlink(missing_ok=True)
        self._saved_episode = episode

    def begin(self) -> None:
        """From here on what the critic sees is kept; the drive of the reset is not."""
        link = self.links[0]
        link.take_features()
        limits = self.task.max_force_n, self.task.max_moment_nm
        tick_s, decision_s = 1.0 / link.robot.rate_hz, 1.0 / self.task.rate_hz
        self._recorder, self._over = TrajectoryRecorder(*limits, tick_s, decision_s, self._stride), False

    def step(self, outcome: Outcome) -> None:
        """Takes the ticks of a decision; a violation ends the trajectory, whatever the episode does."""
        log = self.links[0].take_features()
        if self._recorder is not None:
            self._recorder.add(log)
        self._over = outcome.terminated

    def end(self, episode: int) -> dict[str, Any] | None:
        """Stores the trajectory; after every `every` episodes trains, and hands over what passes the gate."""
        if self._recorder is None:
            return None
        trajectory, self._recorder = self._recorder.finish(self._over), None
        if len(trajectory.features):
            path = episode_path(self.folder, episode)
            save_trajectory(path, trajectory, {"task": self.task.name}, self._limits)
            self.online.add(episode, trajectory)
        every = self.online.config.every
        return None if episode % every else self._update(episode)

    def _update(self, episode: int) -> dict[str, Any]:
        started = time.monotonic()
        figures = self.online.update(seed=episode)
        found = figures.shortcomings()
        if not found:
            save_critic(accepted_path(self.folder, episode), self.online.critic)
            self._use(self.online.critic)
        return {
            "kind": "critic",
            "update": episode // self.online.config.every,
            "accepted": not found,
            "shortcomings": found,
            "version": int(self.online.critic.weights["version"]),
            **figures.as_dict(),
            "critic_s": time.monotonic() - started,
        }

    def _use(self, critic: Critic) -> None:
        """Hands a critic over: weights and thresholds come into use together, at the next reset of each link."""
        self.online.critic = critic
        for link in self.links:
            link.load_critic(critic.weights, reflex_at(link.chain.config.reflex, critic.threshold))
        save_critic(self.run / CRITIC_FILE, critic)

    def saved(self, episode: int) -> None:
        """Removes what neither this checkpoint nor the one before needs any more."""
        needed = self._saved_episode
        former = [path for path in sorted(self.folder.glob("episode-*.safetensors")) if number_of(path) <= needed]
        accepted = [path for path in sorted(self.folder.glob("accepted-*.safetensors")) if number_of(path) <= needed]
        for path in former[: -self.online.config.max_episodes] + accepted[:-1]:
            path.unlink()
        self._saved_episode = episode


def accepted_path(folder: Path, episode: int) -> Path:
    """Returns the file of the critic that passed its gate after this training episode."""
    return folder / f"accepted-{episode:06d}.safetensors"


def number_of(path: Path) -> int:
    """Returns the number of the training episode in a file's name."""
    return int(path.stem.rpartition("-")[2])
