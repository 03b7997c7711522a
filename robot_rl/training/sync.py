"""The synchronous trainer: act one step, learn one block, in one process; bit-reproducible and exactly resumable."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from robot_rl.training.settings import EVALUATION_SEED, Counters, StopRequested, TrainSettings
from robot_rl.training.trainer import Trainer

__all__ = ["EVALUATION_SEED", "Counters", "StopRequested", "SyncTrainer", "TrainSettings"]


class SyncTrainer(Trainer):
    """After the warm-up, one block of updates follows each environment step."""

    @cached_property
    def sampler(self) -> Any:
        """Where updates take their batches from."""
        return self.agent.make_sampler(self.replay, self.demos)

    def _learn(self) -> None:
        if self.counters.step < self.settings.warmup:
            return
        begun = time.monotonic()
        self._metrics = self.agent.update(self.sampler)
        self.counters.updates += 1
        self.counters.update_s += time.monotonic() - begun
