"""Limits, tool and reset must let a task's actions through: stiffness, increments, gripper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.envs.acceptance import require_acceptable_actions, require_acceptable_reset, shortest_time_s
from robot_rl.envs.make import make_env
from robot_rl.envs.reset import ResetConfig
from robot_rl.tasks.peg_insertion import PegInsertion
from tests.robot_rl.env_tools import act, limited


def test_a_chosen_stiffness_is_executed_and_one_beyond_the_limits_is_refused_at_once() -> None:
    task = PegInsertion()
    names = ("dx", "dy", "dz", "drz", "k_translation", "k_rotation")
    task.action = replace(task.action, active=names, stiffness_factor=1.5)
    env = make_env(task, seed=0)
    env.reset(seed=0)
    for wish in (0.5, -1.0):
        executed = act(env, k_translation=wish, k_rotation=-wish)[-1]["action_executed"]
        np.testing.assert_allclose(executed[7:], [wish, -wish], atol=1e-6)
    task.action = replace(task.action, stiffness_factor=3.0)
    with pytest.raises(UserError, match=r"expected stiffness within .* for every action, got \[1800"):
        make_env(task)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"max_acceleration_m_s2": 1.0},
            "largest increment, 0.0165 m, within one decision of 0.1 s, got 0.257 s: raise max_speed_m_s or "
            "max_acceleration_m_s2 in the task's chain_config, or lower ActionSpec.translation_m",
        ),
        ({"max_speed_m_s": 0.2}, "0.0165 m, within one decision of 0.1 s, got 0.102 s"),
        ({"max_angular_speed_rad_s": 1.0}, "0.104 rad, within .* 0.124 s: raise max_angular_.*ActionSpec.rotation_rad"),
    ],
)
def test_an_increment_that_no_decision_reaches_is_refused_at_once(changes: dict[str, float], line: str) -> None:
    with pytest.raises(UserError, match=line):
        make_env(limited(**changes))


@pytest.mark.parametrize(
    "task",
    [
        PegInsertion(),
        PegInsertion("tight"),
        PegInsertion(tilt=False),
        PegInsertion(stiffness_action=True),
    ],
    ids=["default", "tight", "tilt=false", "stiffness_action"],
)
def test_the_insertion_reaches_what_its_actions_ask_for(task: PegInsertion) -> None:
    require_acceptable_actions(task)
    require_acceptable_reset(task, ResetConfig())


def test_the_shortest_time_is_that_of_full_acceleration_and_full_braking() -> None:
    assert shortest_time_s(0.01, 1.0, 1.0) == pytest.approx(0.2)
    assert shortest_time_s(1.0, 0.5, 1.0) == pytest.approx(0.5 + 1.5 + 0.5), (
        "half a second up, one and a half, half down"
    )
    assert shortest_time_s(0.0, 1.0, 1.0) == 0.0


def test_a_stiffness_of_the_reset_that_the_task_refuses_is_refused_at_once() -> None:
    task = limited(stiffness_max=(800.0, 800.0, 800.0, 60.0, 60.0, 60.0))
    with pytest.raises(
        UserError, match=r"expected the reset's stiffness within .*got \[1000.*reset_config=ResetConfig"
    ):
        make_env(task)
    env = make_env(task, reset_config=ResetConfig(stiffness=(800.0,) * 3 + (30.0,) * 3))
    _, info = env.reset(seed=0)
    assert info["reset_attempts"] == 1
