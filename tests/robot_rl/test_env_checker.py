"""Each check finds the environment that was broken for it, and says why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from data.errors import UserError
from robot_rl.envs.checker import check_env
from robot_rl.envs.make import make_env
from robot_rl.tasks.peg_insertion import PegInsertion


class Small(gymnasium.Env[Any, Any]):
    """A sound environment of one number; `break_it` spoils (observation, reward, terminated, truncated, info)."""

    def __init__(self, break_it: Callable[[list[Any], int], None] = lambda result, step: None, limit: int = 5) -> None:
        self.action_space: Any = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space: Any = spaces.Dict({"state": spaces.Box(-10.0, 10.0, (1,), np.float32)})
        self.break_it, self.limit, self.clock = break_it, limit, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        self.clock += 1
        return {"state": np.zeros(1, np.float32)}, {"stamp_ns": self.clock, "reset_kind": "automatic"}

    def step(self, action: Any) -> Any:
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise UserError("an action needs 2 finite numbers")
        self.count += 1
        self.clock += 1
        info = {"action_executed": action, "stamp_ns": self.clock, "success": False}
        result = [{"state": np.zeros(1, np.float32)}, 0.0, False, self.count >= self.limit, info]
        self.break_it(result, self.count)
        return tuple(result)


def spoil(index: int, value: Any) -> Callable[[list[Any], int], None]:
    def break_it(result: list[Any], step: int) -> None:
        if isinstance(value, dict) and index == 4:
            result[4].update(value)
        else:
            result[index] = value

    return break_it


BROKEN: dict[str, list[tuple[int, Any, str]]] = {
    "observations_fit_the_space": [
        (0, {"state": np.full(1, np.nan, np.float32)}, "is not finite"),
        (0, {"state": np.full(1, 11.0, np.float32)}, "leaves its bounds"),
        (0, {"state": np.zeros(1)}, "is float64"),
        (0, {"other": np.zeros(1, np.float32)}, "the space names"),
    ],
    "results_have_plain_types": [(1, float("nan"), "reward at step 0"), (3, np.bool_(False), "truncated at step 0")],
    "there_is_a_time_limit": [(3, False, "no end within 50 steps")],
    "executed_action_is_told": [
        (4, {"action_executed": None}, "no action_executed"),
        (4, {"action_executed": np.full(2, 3.0, np.float32)}, "action_executed at step 0 is"),
    ],
    "stamps_rise": [(4, {"stamp_ns": 7}, "does not rise"), (4, {"stamp_ns": None}, "is missing")],
    "success_is_told": [(4, {"success": None}, "no bool 'success'")],
}


def test_sound_environments_have_no_findings() -> None:
    assert check_env(Small()) == []
    assert check_env(make_env(PegInsertion(), seed=0)) == []


@pytest.mark.parametrize(("check", "case"), [(check, case) for check, cases in BROKEN.items() for case in cases])
def test_each_break_is_found_by_its_check(check: str, case: tuple[int, Any, str]) -> None:
    index, value, wrong = case
    findings = check_env(Small(spoil(index, value)), max_steps=50)
    assert check in [finding.check for finding in findings]
    text = next(str(finding) for finding in findings if finding.check == check)
    assert wrong in text
    assert "Why it matters: " in text
    assert "Cure: " in text


def test_both_ends_at_once_are_found() -> None:
    def break_it(result: list[Any], step: int) -> None:
        result[2] = result[3] = step >= 3

    assert [finding.check for finding in check_env(Small(break_it))] == ["ends_are_exclusive"]


def test_an_unnamed_reset_is_found() -> None:
    env = Small()
    plain = env.reset
    env.reset = lambda **kwargs: (plain(**kwargs)[0], {"stamp_ns": 0})  # type: ignore[method-assign]
    assert "reset_is_named" in [finding.check for finding in check_env(env)]


def test_wrong_spaces_are_found_before_anything_moves() -> None:
    env = Small()
    env.action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
    env.observation_space = spaces.Dict(
        {"state": spaces.Box(-np.inf, np.inf, (1,), np.float32), "image_a": spaces.Box(0, 1, (4, 4), np.float32)}
    )
    assert {str(finding).split(".")[0] for finding in check_env(env)} == {
        "action_space_is_unit_box: action bounds are -2",
        "observation_space_is_dict_of_boxes: 'state' has no finite bounds",
        "observation_space_is_dict_of_boxes: 'image_a' is float32 (4, 4)",
    }
    assert env.clock == 0


def test_an_environment_that_swallows_nan_is_found() -> None:
    class Careless(Small):
        def step(self, action: Any) -> Any:
            return super().step(np.nan_to_num(np.resize(action, 2)))

    assert [finding.check for finding in check_env(Careless())] == ["bad_actions_are_refused"]


def test_an_episode_that_breaks_down_is_a_finding_not_a_crash() -> None:
    def break_it(result: list[Any], step: int) -> None:
        raise KeyError("plate")

    assert "an episode ended with KeyError: 'plate'" in str(check_env(Small(break_it))[0])


class LeakyTask(PegInsertion):
    """Asks the simulator where the hole really is, and lets the policy see it."""

    world: Any = None
    axis = 0

    def observe(self, sensed: Any, draw: Any, previous_action: Any) -> Any:
        observation = super().observe(sensed, draw, previous_action)
        observation["state"][0] = self.world.data.mocap_pos[0][self.axis]
        return observation


@pytest.mark.parametrize("axis", range(3))
def test_a_task_that_tells_the_truth_is_found(axis: int) -> None:
    env = make_env(LeakyTask(), seed=0)
    env.task.world, env.task.axis = env.world, axis  # type: ignore[attr-defined]
    findings = check_env(env)
    assert [finding.check for finding in findings] == ["truth_stays_hidden"]
    assert f"'state' after a reset changes with the true {'xyz'[axis]}" in findings[0].wrong


class LeakyJudge(PegInsertion):
    """Rewards by the simulator's truth, which shows nowhere but in the reward."""

    world: Any = None

    def judge(self, sensed: Any, draw: Any) -> Any:
        return replace(super().judge(sensed, draw), reward=float(self.world.data.mocap_quat[0][3]))


def test_a_judge_that_knows_the_truth_is_found() -> None:
    env = make_env(LeakyJudge(), seed=0)
    env.task.world = env.world  # type: ignore[attr-defined]
    (finding,) = check_env(env)
    assert (finding.check, finding.wrong[:30]) == ("truth_stays_hidden", "'reward' in free air changes w")


class SameTask(PegInsertion):
    """Draws from nowhere."""

    def draw(self, rng: np.random.Generator) -> Any:
        return super().draw(np.random.default_rng(0))


def test_a_task_that_ignores_the_seed_is_found() -> None:
    findings = check_env(make_env(SameTask(), seed=0))
    assert [finding.wrong for finding in findings] == ["two seeds drew the same start"]
