"""What a training run is told, what it counts, and how it says that it was stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from data.errors import UserError
from robot_rl.config import TRAINING_SEEDS_BELOW, FinetuneConfig
from robot_rl.tasks.base import Task

EVALUATION_SEED = TRAINING_SEEDS_BELOW
"""Evaluation episodes take this seed and those that follow; training episodes stay below."""


@dataclass(frozen=True)
class TrainSettings:
    """Figures of a training run that do not belong to the agent; defaults are those of `robot-rl finetune`."""

    steps: int
    """Environment steps in the end, at least 1."""
    seed: int = 0
    """Seed of the training episodes and of what the agent prepares, at least 0."""
    warmup: int = FinetuneConfig.warmup
    """Steps before the first update, at least 1."""
    eval_every: int = FinetuneConfig.eval_every
    """Steps between evaluations; 0 for none."""
    eval_episodes: int = FinetuneConfig.eval_episodes
    """Episodes of an evaluation during training, at least 1."""
    checkpoint_every: int = FinetuneConfig.checkpoint_every
    """Steps between checkpoints, taken at the next end of an episode; at least 1."""
    reflex_penalty: float = Task.reflex_penalty
    """Taken from the stored reward of a decision of which a reflex left the policy less than half; at least 0."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.reflex_penalty < math.inf:
            raise UserError(
                f"reflex_penalty={self.reflex_penalty} does not fit: expected a finite number of at least 0"
            )
        lowest = {"steps": 1, "seed": 0, "warmup": 1, "eval_every": 0, "eval_episodes": 1, "checkpoint_every": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}={getattr(self, name)} does not fit: expected at least {low}")


@dataclass
class Counters:
    """What is counted over the whole run, across resumes. All but the two wall-clock times are reproducible."""

    step: int = 0
    episode: int = 0
    """Training episodes begun."""
    updates: int = 0
    """Blocks of updates."""
    robot_s: float = 0.0
    """Time that the robot spent on decisions."""
    reset_s: float = 0.0
    """Time that the robot spent on resets."""
    train_s: float = 0.0
    """Wall-clock time of acting and learning, without evaluations and pauses."""
    update_s: float = 0.0
    """Wall-clock time of updates."""
    next_eval: int = 0
    next_checkpoint: int = 0
    prepare_rng: list[int] = field(default_factory=list, repr=False)
    """What the agent prepares with, packed."""


WALL_CLOCK = ("train_s", "update_s")
"""Counters that differ from run to run; kept apart, so that equal runs have equal checkpoints."""


class StopRequested(Exception):
    """Somebody asked to stop; everything is saved."""


def episode_seed(seed: int, episode: int) -> int:
    """Returns the seed of a run's training episode: in [0, EVALUATION_SEED), whatever the run's seed is.

    Evaluation never sees an episode of training. Two episodes may share a seed, which does no harm.
    """
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) % EVALUATION_SEED
