"""What several tests of the peg environment do: act by names, narrow the limits, start over the true hole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from controllers.description.geometry import Pose
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion

TIP_DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def act(env: RobotEnv, **values: float) -> Any:
    action = np.zeros(env.task.action.size, np.float32)
    for name, value in values.items():
        action[env.task.action.names.index(name)] = value
    return env.step(action)


def limited(**changes: Any) -> PegInsertion:
    """The insertion under other limits of the reference."""
    task = PegInsertion()
    config = task.chain_config()
    task.chain_config = lambda: replace(config, limiter=replace(config.limiter, **changes))  # type: ignore[method-assign]
    return task


def start_over_the_true_hole(env: RobotEnv, seed: int) -> None:
    """Resets to an episode whose observed hole is the true one."""
    draw = PegInsertion().draw(np.random.default_rng(seed))
    true = Pose(draw.T_base_goal.position_m, draw.T_base_goal.compose(Pose(quaternion_xyzw=TIP_DOWN)).quaternion_xyzw)
    start = draw.T_base_goal.compose(Pose(np.array([0.0, 0.0, -0.010])))
    env.reset(seed=seed, options={"draw": replace(draw, fixtures={"plate": true}, T_base_start=start)})
