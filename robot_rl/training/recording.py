"""Runs an episode with an operator or with anything that acts, and records it whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.types import Source
from data.builder import EpisodeBuilder
from data.episode import Episode, Step
from data.spec import StoreSpec
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Draw
from robot_rl.training.evaluation import Acting, EpisodeMeter, EpisodeRecord
from robot_rl.training.workplace import Outcome, Workplace


class Operator(Protocol):
    """Who demonstrates."""

    def reset(self) -> None:
        """Forgets the last episode."""

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        """Returns a whole action (size,)."""


@runtime_checkable
class Attending(Protocol):
    """An operator who is a person: not every frame is of their making, and they may call the task done."""

    source: int
    """Who moved the arm in the newest action."""

    def verdict(self) -> bool | None:
        """True where the newest decision did the task, False where it spoilt it, None without a verdict."""


def record_episode(
    env: RobotEnv, operator: Operator, spec: StoreSpec, seed: int, source: int = Source.SCRIPTED
) -> tuple[Episode, EpisodeRecord]:
    """Returns the recorded episode of this seed and its figures.

    source: who demonstrates; an Attending operator says so itself, frame by frame.
    """
    builder = EpisodeBuilder(spec)
    observation, info = env.reset(seed=seed)
    operator.reset()
    attending = operator if isinstance(operator, Attending) else None
    meter = EpisodeMeter(seed, info, env.task.rate_hz)
    builder.start(observation, info["stamp_ns"], {"q_rad": info["q_rad"]})
    while True:
        action = operator.act(observation, env.task.action.size)
        env.source = source = source if attending is None else attending.source
        observation, reward, terminated, truncated, after = env.step(action)
        verdict = None if attending is None else attending.verdict()
        if verdict is not None:  # a person's verdict is the end of the task, whatever the task itself says
            reward, terminated, truncated, after = float(verdict), True, False, {**after, "success": verdict}
        executed = after["action_executed"]
        builder.add(
            Step(
                observation,
                action,
                executed,
                reward,
                terminated,
                truncated,
                int(after.get("source", source)),
                after["stamp_ns"],
                {"q_rad": after["q_rad"], **_told(after)},
            )
        )
        # inactive columns are recorded as 0 executed, which is no limiter's doing
        wished = action * np.isin(np.arange(len(action)), env.task.action.active_index)
        meter.add(
            Outcome(np.zeros(0, np.float32), reward, terminated, truncated, executed, after["success"], after),
            wished,
            source,
        )
        if terminated or truncated:
            break
    record = meter.finish() if verdict is None else replace(meter.finish(), success=verdict, end="marked")
    return builder.finish(record.success, {**record.as_dict(), **_drawn(env.draw)}), record


def _drawn(draw: Draw) -> dict[str, Any]:
    """What chance decided, for the record and for replaying the episode."""
    fixtures = {name: _seven(pose) for name, pose in draw.fixtures.items()}
    return {"fixtures": fixtures, "draw": draw.info, "T_base_goal": _seven(draw.T_base_goal)}


def _seven(pose: Pose) -> list[float]:
    """Position and quaternion xyzw."""
    return [*pose.position_m.tolist(), *pose.quaternion_xyzw.tolist()]


def _told(info: Mapping[str, Any]) -> dict[str, np.float64]:
    """What the environment tells of energy and duration, as extras of the recorded step."""
    return {name: np.float64(info[name]) for name in ("energy_spent_j", "duration_s") if name in info}


def record_acting(
    workplace: Workplace, actor: Acting, spec: StoreSpec, seed: int, deterministic: bool = False
) -> tuple[Episode, EpisodeRecord]:
    """Returns the recorded episode of this seed in any workplace, and its figures.

    actor: an agent, or any object with its three methods `begin_episode`, `prepare` and `act`.
    spec: what `workplace.store_spec` returns.
    """
    builder, rng = EpisodeBuilder(spec), np.random.default_rng([seed, 12])
    obs, info = workplace.reset(seed)
    actor.begin_episode()
    meter = EpisodeMeter(seed, info, workplace.rate_hz)
    builder.start(workplace.observation, info["stamp_ns"])
    while True:
        proposal = actor.act(obs, actor.prepare(obs, rng), deterministic)
        outcome = workplace.step(proposal.action, proposal.source)
        truncated = outcome.truncated and not outcome.terminated
        wished, executed = workplace.whole_action(proposal.action), workplace.whole_action(outcome.executed)
        builder.add(
            Step(
                workplace.observation, wished, executed, outcome.reward, outcome.terminated, truncated,
                int(outcome.info.get("source", proposal.source)), outcome.info["stamp_ns"], _told(outcome.info),
            )
        )  # fmt: skip
        meter.add(outcome, proposal.action, proposal.source)
        obs = outcome.obs
        if outcome.terminated or outcome.truncated:
            break
    record = meter.finish()
    return builder.finish(record.success, record.as_dict()), record
