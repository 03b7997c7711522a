"""A whole small workplace to train in: a point on a line that shall come to 0, behind a limiter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.episode import Episode
from data.spec import ArraySpec, StoreSpec
from robot_rl.agents.base import AgentSpec
from robot_rl.agents.registry import make_agent
from robot_rl.envs.featuriser import Featuriser
from robot_rl.training.settings import TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.workplace import F32, Outcome

torch.set_num_threads(1)
TINY: dict[str, Any] = {"hidden": (16, 16), "batch_size": 16}
LIMIT = 0.5
"""What the limiter lets through of an action."""


class Line:
    """x moves by at most 0.05 a step. Success within 0.1 of 0; after `length` steps the time is up."""

    obs_size = 2
    featuriser = Featuriser({"state": 2})
    action_names: tuple[str, ...] = ("dx",)
    rate_hz: float | None = 10.0

    def __init__(self, restorable: bool = True, length: int = 12) -> None:
        self.restorable, self.length = restorable, length
        self.observation: dict[str, NDArray[Any]] = {}
        self.x, self.t, self.seeds, self.wear = 0.0, 0, list[int](), 0.0
        """wear: carried over from episode to episode, as the joints' angles of an arm are."""

    def _see(self) -> F32:
        self.observation = {"state": np.array([self.x, self.wear], np.float32)}
        return self.observation["state"]

    def reset(self, seed: int) -> tuple[F32, dict[str, Any]]:
        self.seeds.append(seed)
        self.x, self.t = float(np.random.default_rng(seed).uniform(0.3, 0.6)), 0
        return self._see(), {"reset_s": 2.0, "reset_attempts": 1, "reset_kind": "automatic", "stamp_ns": 0}

    def leave_resets(self, wished: Callable[[], bool]) -> None:
        self.leave = wished

    def step(self, action: F32, source: int = 0) -> Outcome:
        executed = np.clip(action, -LIMIT, LIMIT).astype(np.float32)
        self.x += 0.1 * float(executed[0])
        self.wear = 0.9 * self.wear + 0.1 * float(abs(executed[0]))
        self.t += 1
        success = abs(self.x) < 0.1
        info = {"stamp_ns": self.t}
        return Outcome(self._see(), float(success), success, self.t >= self.length, executed, success, info)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        assert self.restorable
        return {"wear": np.array([self.wear])}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        assert self.restorable
        self.wear = float(snapshot["wear"][0])

    def demonstrations(self, episode: Episode) -> tuple[F32, F32]:
        return episode.observations["state"], episode.action_executed

    def whole_action(self, action: F32) -> F32:
        return action

    def store_spec(self, robot: str, config: dict[str, Any]) -> StoreSpec:
        return StoreSpec("line", "come to 0", robot, 10.0, {"state": ArraySpec((2,), "float32")}, ("dx",), (), config)

    def check_store(self, spec: StoreSpec) -> None:
        spec.require(task="line", action_names=self.action_names)

    def close(self) -> None:
        pass


class PoorBase:
    """A base policy on chunks of four that steps towards 0, moved by its noise."""

    horizon, execute = 4, 1

    def __init__(self, obs_size: int = 2, action_size: int = 1) -> None:
        self.obs_size, self.action_size = obs_size, action_size

    def base(self, obs: F32, noise: F32, n: int) -> F32:
        shaped = noise.reshape(len(obs), n, self.horizon, self.action_size)
        chunks: F32 = np.clip(0.5 * shaped - obs[:, None, None, :1], -1, 1).astype(np.float32)
        return chunks


def line_trainer(
    folder: Path,
    *,
    restorable: bool = True,
    workplace: Line | None = None,
    evaluation: Line | None = None,
    log: Any = None,
    keys: Any = None,
    agent: str = "rlpd",
    **changes: Any,
) -> SyncTrainer:
    """A trainer of a few seconds at most."""
    figures: dict[str, Any] = {"steps": 120, "warmup": 20, "eval_every": 40, "eval_episodes": 3, "checkpoint_every": 30}
    settings = TrainSettings(**figures | changes)
    learner = make_agent(agent, AgentSpec(2, 1), TINY, PoorBase() if agent != "rlpd" else None, settings.seed)
    write = (lambda record: None) if log is None else log
    where = workplace or Line(restorable)
    return SyncTrainer(learner, where, evaluation or Line(), None, folder, settings, write, keys=keys)


def seeds_of(trainer: SyncTrainer) -> list[int]:
    """The episodes of a trainer on a line, in order."""
    assert isinstance(trainer.workplace, Line)
    return trainer.workplace.seeds
