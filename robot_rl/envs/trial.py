"""A trial episode on which the environment's checks look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

Env = gymnasium.Env[Any, Any]
Found = tuple[str, str, str]
"""What is wrong, why it matters, what to do."""


@dataclass(frozen=True)
class StepResult:
    """What one step of the trial episode gave."""

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Mapping[str, Any]


@dataclass
class Trial:
    """One episode of small random actions, run to its end, on which most checks look."""

    env: Env
    first: Any
    reset_info: Mapping[str, Any]
    steps: list[StepResult]


def run_trial(env: Env, seed: int, max_steps: int) -> Trial:
    """Runs one episode of actions half as large as allowed, drawn from `seed`, at most max_steps long."""
    rng = np.random.default_rng(seed)
    first, info = env.reset(seed=seed)
    trial = Trial(env, first, info, [])
    box = env.action_space
    while len(trial.steps) < max_steps:
        action = (0.5 * rng.uniform(-1.0, 1.0, box.shape or ())).astype(np.float32)
        result = StepResult(*env.step(action))
        trial.steps.append(result)
        if result.terminated or result.truncated:
            break
    return trial
