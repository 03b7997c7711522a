"""A decision that pressed or twisted too hard is named in info; what follows is the task's to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.envs.make import make_env
from robot_rl.envs.sensing import peak_force, peak_norms
from robot_rl.tasks.base import PEAK_WINDOW_TICKS
from robot_rl.tasks.peg_insertion import PegInsertion
from tests.robot_rl.env_tools import act


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_peaks_of_force_and_moment_are_those_of_either_alone(seed: int, ticks: int) -> None:
    wrench = np.random.default_rng(seed).normal(size=(ticks, 6)) * [5.0, 5.0, 5.0, 0.1, 0.1, 0.1]
    force_n, moment_nm = peak_norms(wrench)
    assert force_n == peak_force(wrench[:, :3])
    assert moment_nm == peak_force(wrench[:, 3:])
    means = [wrench[i : i + PEAK_WINDOW_TICKS].mean(axis=0) for i in range(max(1, ticks - PEAK_WINDOW_TICKS + 1))]
    assert moment_nm == pytest.approx(max(np.linalg.norm(mean[3:]) for mean in means))


@pytest.mark.parametrize(("limit", "value"), [("max_force_n", 5.0), ("max_moment_nm", 0.05)])
def test_an_impact_is_a_violation_and_a_push_only_above_the_limit_and_neither_ends_an_insertion(
    limit: str, value: float
) -> None:
    task = PegInsertion()
    env = make_env(task, seed=0, teleport=True)
    env.reset(seed=4)
    assert (task.max_force_n, task.max_moment_nm) == (80.0, 3.0)
    infos: list[Any] = [act(env, dz=1.0)[-1] for _ in range(20)]
    assert any(info["violation"] for info in infos), "it came down on the plate at full speed"
    assert infos[-1]["violation"] is False, "and then presses with 8 N"
    setattr(task, limit, value)
    *_, terminated, truncated, info = act(env, dz=1.0)
    assert info["violation"] is True
    assert info["peak_force_n"] > 5.0
    assert not (terminated or truncated)
