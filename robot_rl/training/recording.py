"""Runs an episode with an operator or a policy and records it whole."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.types import Source
from data.builder import EpisodeBuilder
from data.episode import Episode, Step
from data.spec import StoreSpec
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.training.evaluation import EpisodeMeter, EpisodeRecord
from robot_rl.training.workplace import Outcome


class Operator(Protocol):
    """Who demonstrates."""

    def reset(self) -> None:
        """Forgets the last episode."""

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,)."""


def record_episode(env: RobotEnv, operator: Operator, spec: StoreSpec, seed: int, source: int = Source.SCRIPTED) -> tuple[Episode, EpisodeRecord]:
    """Returns the recorded episode of this seed and its figures."""
    builder = EpisodeBuilder(spec)
    observation, info = env.reset(seed=seed)
    operator.reset()
    env.source = source
    meter = EpisodeMeter(seed, info, env.task.rate_hz)
    builder.start(observation, info["stamp_ns"], {"q_rad": info["q_rad"]})
    while True:
        action = operator.act(observation, env.task.action.size)
        observation, reward, terminated, truncated, after = env.step(action)
        executed = after["action_executed"]
        builder.add(
            Step(observation, action, executed, reward, terminated, truncated, source, after["stamp_ns"], {"q_rad": after["q_rad"]})
        )
        # inactive columns are recorded as 0 executed, which is no limiter's doing
        wished = action * np.isin(np.arange(len(action)), env.task.action.active_index)
        meter.add(Outcome(np.zeros(0, np.float32), reward, terminated, truncated, executed, after["success"], after), wished, source)
        if terminated or truncated:
            break
    record = meter.finish()
    fixtures = {name: [*pose.position_m.tolist(), *pose.quaternion_xyzw.tolist()] for name, pose in env.draw.fixtures.items()}
    return builder.finish(record.success, {**record.as_dict(), "fixtures": fixtures, "draw": info["draw"]}), record
