"""The critic goes on learning from what was really executed, recovery included; new weights pass the gate first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from controllers.chain import ChainConfig
from data.errors import UserError
from robot_rl.safety_critic.calibration import Calibration, calibrate, rescale, time_constant_of
from robot_rl.safety_critic.files import Critic
from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig
from robot_rl.safety_critic.trajectories import Trajectory, split
from safety.risk_critic import stopping_time_s


@dataclass(frozen=True)
class OnlineConfig:
    """How `finetune` trains the safety critic on: `critic_config.<key>=<value>`."""

    every: int = 0
    """Training episodes from one update to the next; 0: the critic stays as it is."""
    updates: int = 500
    """Gradient steps of each update."""
    learning_rate: float = 3e-4
    """Step size of Adam at the beginning of an update."""
    data: tuple[str, ...] | None = None
    """Folders of `safety collect` that it must not forget; None: those that it was trained on."""
    keep_every: int = 4
    """Every such episode is kept back for scale, threshold and gate, at least 2."""
    max_episodes: int = 400
    """Newest episodes that are learned from and judged by, those of `data` not counted."""

    def __post_init__(self) -> None:
        lowest = {"every": 0, "updates": 1, "keep_every": 2, "max_episodes": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise UserError(f"critic_config.{name}={getattr(self, name)} does not fit: expected at least {low}")
        if not 0.0 < self.learning_rate < math.inf:
            raise UserError(
                f"critic_config.learning_rate={self.learning_rate} does not fit: expected a finite number above 0"
            )
        if self.data is not None and not self.data:
            raise UserError("critic_config.data is empty: name folders of safety collect, or leave it out")


class OnlineCritic:
    """Gathers trajectories between episodes; `update` trains on old and new ones and measures before it hands over.

    Each update departs from the critic in use and from the trajectories there are, and from nothing else: who has both
    again, goes on to the same numbers.
    """

    def __init__(
        self,
        critic: Critic,
        chain: ChainConfig,
        offline: Sequence[Trajectory],
        config: OnlineConfig | None = None,
        training: CriticTrainingConfig | None = None,
        held_back: float = 0.25,
        split_seed: int = 0,
    ) -> None:
        """critic: the one in use. chain: of its task. offline: what it was trained on, which it must not forget.

        held_back, split_seed: with which its training split them, so that it is judged by what it never learned from.
        Raises UserError where no violation is kept back to judge by.
        """
        self.critic, self.config = critic, config or OnlineConfig()
        self._chain = chain
        self._training = replace(
            training or CriticTrainingConfig(),
            learning_rate=self.config.learning_rate,
            time_constant_s=time_constant_of(critic.weights),
        )
        self._fit, self._kept = split(offline, held_back, np.random.default_rng(split_seed))
        if not any(trajectory.violated for trajectory in self._kept):
            raise UserError("expected episodes with violations among those kept back of critic_config.data, got none")
        self._gathered: dict[int, Trajectory] = {}
        self._stopping_time_s = stopping_time_s(chain.limiter, chain.torque.max_rate_nm_s)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the training episodes that it now learns from or is judged by."""
        return sorted(self._gathered)

    def add(self, number: int, trajectory: Trajectory) -> None:
        """Takes the trajectory of the training episode of this number; beyond `max_episodes` the oldest is let go."""
        self._gathered[number] = trajectory
        for old in self.numbers[: -self.config.max_episodes]:
            del self._gathered[old]

    def update(self, seed: int = 0) -> Calibration:
        """Trains and measures. A critic that passes the gate is from now on `critic`, otherwise that one stays.

        Returns what was measured on the trajectories kept back. seed: of this update's batches.
        """
        learned = [one for number, one in sorted(self._gathered.items()) if not self._is_kept(number)]
        kept = self._kept + [one for number, one in sorted(self._gathered.items()) if self._is_kept(number)]
        trainer = CriticTrainer(replace(self._training, seed=self._training.seed + seed), self._chain)
        trainer.warm_start(self.critic.weights)
        trainer.add([*self._fit, *learned])
        trainer.fit(self.config.updates)
        weights = trainer.weights()
        rescale(weights, kept, self._training.time_constant_s)
        figures = calibrate(weights, kept, self._stopping_time_s)
        if not figures.shortcomings():
            about = {
                **self.critic.about,
                "online": {"episode": max(self._gathered, default=0), "learned": len(learned)},
            }
            self.critic = replace(
                self.critic, weights=weights, threshold=figures.threshold, calibration=figures, about=about
            )
        return figures

    def _is_kept(self, number: int) -> bool:
        return number % self.config.keep_every == 0
