"""A task that moves a gripper: what is executed, seen and stored of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from controllers.description.gripper import FingerDescription
from controllers.description.scene import Scene
from controllers.description.tool import parallel_gripper_tool
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Draw, Sensed
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.training.recording import record_episode


def grip(env: RobotEnv, wish: float) -> Any:
    action = np.zeros(env.task.action.size, np.float32)
    action[env.task.action.names.index("gripper")] = wish
    return env.step(action)


class GrippingTask(PegInsertion):
    """The insertion's moves with a tool that can open, or with the peg that cannot; the opening is seen."""

    def __init__(self, gripper_range_m: tuple[float, float] | None, *more: str) -> None:
        super().__init__()
        self.action = replace(self.action, active=(*self.action.active, *more))
        self.gripper_range_m = gripper_range_m

    def scene(self) -> Scene:
        whole = super().scene()
        if self.gripper_range_m is None:
            return whole
        tool = replace(parallel_gripper_tool(self.gripper_range_m), fingers=FingerDescription(beyond_m=0.0))
        return replace(whole, tool=tool)

    def observation_space(self) -> spaces.Dict:
        opening = spaces.Box(-0.01, 0.1, (1,), np.float32)
        return spaces.Dict({**super().observation_space().spaces, "gripper_m": opening})

    def observe(self, sensed: Sensed, draw: Draw, previous_action: Any) -> Any:
        seen = super().observe(sensed, draw, previous_action)
        return {**seen, "gripper_m": np.array([sensed.gripper_m], np.float32)}


def test_the_gripper_moves_as_commanded_and_is_seen_to() -> None:
    env = make_env(GrippingTask((0.0, 0.08), "gripper"), seed=0, teleport=True)
    observation, _ = env.reset(seed=0)
    assert observation["gripper_m"] == pytest.approx(0.08, abs=1e-5)
    for wish, opening_m in ((-1.0, 0.0), (0.5, 0.06), (1.0, 0.08)):
        before_m = observation["gripper_m"][0]
        observation, *_, info = grip(env, wish)
        assert info["action_executed"][6] == pytest.approx(wish, abs=1e-6), "at once"
        moved_m = abs(observation["gripper_m"][0] - before_m)
        assert moved_m == pytest.approx(0.01, abs=1e-3), "while the fingers are on their way at 0.1 m/s"
        for _ in range(9):
            observation, *_, info = grip(env, wish)
        assert observation["gripper_m"] == pytest.approx(opening_m, abs=1e-5)
        assert env.observation_space.contains(observation)
        assert info["action_executed"][6] == pytest.approx(wish, abs=1e-6)


def test_what_bounds_the_opening_stands_in_the_executed_action() -> None:
    env = make_env(GrippingTask((0.0, 0.08), "gripper"), seed=0, teleport=True)
    env.reset(seed=0)
    env.link.chain.config_record["gripper_range_m"] = (0.02, 0.06)  # type: ignore[attr-defined]  # a narrower chain
    for wish, executed in ((-1.0, -0.5), (1.0, 0.5), (0.2, 0.2)):
        assert grip(env, wish)[-1]["action_executed"][6] == pytest.approx(executed, abs=1e-6)


class Closing:
    """Closes half way and opens again, over and over."""

    def reset(self) -> None:
        self._step = 0

    def act(self, observation: Any, size: int) -> Any:
        self._step += 1
        action = np.zeros(size, np.float32)
        action[6] = -0.5 if self._step // 8 % 2 == 0 else 0.75
        return action


def test_an_episode_stores_the_gripper_as_commanded_as_executed_and_as_seen() -> None:
    env = make_env(GrippingTask((0.0, 0.08), "gripper"), seed=0, teleport=True)
    observations = {key: ArraySpec(space.shape or (), "float32") for key, space in env.observation_space.items()}
    spec = StoreSpec("gripping", "open and close", "mujoco", 10.0, observations, env.task.action.names, (), {})
    episode, _ = record_episode(env, Closing(), spec, seed=0)
    wished, executed = episode.action_proposed[:, 6], episode.action_executed[:, 6]
    assert set(wished.tolist()) == {-0.5, 0.75}
    np.testing.assert_allclose(executed, wished, atol=1e-6)
    seen_m = episode.observations["gripper_m"][:, 0]
    assert (seen_m.min(), seen_m.max()) == (pytest.approx(0.02, abs=1e-4), pytest.approx(0.08, abs=1e-4))
    assert seen_m[15] == pytest.approx(0.07, abs=1e-4), "open again after eight decisions"


def test_a_gripper_that_the_policy_does_not_have_is_left_alone_and_recorded_as_0() -> None:
    env = make_env(GrippingTask((0.0, 0.08)), seed=0, teleport=True)
    env.reset(seed=0)
    observation, *_, info = grip(env, -1.0)
    assert info["action_executed"][6] == 0.0
    assert np.isnan(env.link.latest().proposed_gripper_m) and np.isnan(env.link.latest().executed_gripper_m)
    assert observation["gripper_m"] == pytest.approx(0.08, abs=1e-5)


def test_an_action_for_a_gripper_that_the_tool_lacks_is_refused_at_once() -> None:
    with pytest.raises(
        UserError, match="expected a tool with a gripper .*, got square_peg without: set gripper_range_m"
    ):
        make_env(GrippingTask(None, "gripper"))
