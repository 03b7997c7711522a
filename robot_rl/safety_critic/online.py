"""The critic goes on learning from what was really executed, recovery included; new weights pass the gate first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from controllers.chain import ChainConfig
from robot_rl.safety_critic.calibration import calibrate, rescale
from robot_rl.safety_critic.files import Critic
from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig
from robot_rl.safety_critic.trajectories import Trajectory, split
from safety.risk_critic import stopping_time_s


class OnlineCritic:
    """Gathers trajectories between episodes; `update` trains on old and new ones and measures before it hands over.

    Every `keep_every`-th new trajectory is kept back: scale and gate are judged on what was not learned from.
    """

    def __init__(
        self,
        critic: Critic,
        chain: ChainConfig,
        offline: Sequence[Trajectory],
        config: CriticTrainingConfig | None = None,
        keep_every: int = 4,
    ) -> None:
        """critic: the one in use. chain: of its task. offline: what it was trained on, which it must not forget."""
        self.critic, self.refused = critic, 0
        self._keep_every, self._count = keep_every, 0
        self._config = config or CriticTrainingConfig()
        fit, self._kept = split(offline, 1.0 / keep_every, np.random.default_rng(self._config.seed))
        self._trainer = CriticTrainer(self._config, chain)
        self._trainer.warm_start(critic.weights)
        self._trainer.add(fit)
        self._stopping_time_s = stopping_time_s(chain.limiter, chain.torque.max_rate_nm_s)

    def add(self, trajectory: Trajectory) -> None:
        """Takes the trajectory of an episode that was just executed."""
        self._count += 1
        if self._count % self._keep_every == 0:
            self._kept.append(trajectory)
        else:
            self._trainer.add([trajectory])

    def update(self, updates: int) -> Critic | None:
        """Trains on and returns the new critic, to be handed over before the next episode; None if it does not pass.

        A critic that does not pass is not used: the old one stays, training goes on from the new one, and `refused`
        counts.
        """
        self._trainer.fit(updates)
        weights = self._trainer.weights()
        rescale(weights, self._kept, self._config.time_constant_s)
        calibration = calibrate(weights, self._kept, self._stopping_time_s)
        if calibration.shortcomings():
            self.refused += 1
            return None
        self.critic = replace(self.critic, weights=weights, threshold=calibration.threshold, calibration=calibration)
        return self.critic
