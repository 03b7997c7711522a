"""`robot-rl safety collect`: what the critic sees while a scripted operator works, and when a limit was violated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from controllers.link import LockstepLink
from data.errors import UserError
from robot_rl.config import TRAINING_SEEDS_BELOW
from robot_rl.config_critic import SafetyCollectConfig
from robot_rl.envs.make import chain_of, make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.metrics import progress
from robot_rl.runs import RunFolder
from robot_rl.safety_critic.exploration import ExploringLink
from robot_rl.safety_critic.trajectories import (
    Trajectory,
    TrajectoryRecorder,
    episode_path,
    load_trajectory,
    save_trajectory,
)
from robot_rl.tasks.registry import make_task


def run(config: SafetyCollectConfig) -> dict[str, Any]:
    """Records until the folder holds `episodes`; each is on the disk before the next begins.

    Returns episodes, violations, samples and the folder's path.
    """
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder:
        env = make_env(make_task(config.task, config.variant, config.task_config), seed=config.seed)
        try:
            _fill(folder.path, env, config)
        finally:
            env.close()
        limits = chain_of(env.task).critic
        found = [load_trajectory(episode_path(folder.path, number), limits) for number in range(config.episodes)]
    violations = sum(trajectory.violated for trajectory in found)
    print(f"{config.out}: {len(found)} episodes, {violations} of them ended with a violation")
    samples = sum(len(trajectory.features) for trajectory in found)
    return {"episodes": len(found), "violations": violations, "samples": samples, "out": str(folder.path)}


def _fill(folder: Path, env: RobotEnv, config: SafetyCollectConfig) -> None:
    with progress(config.episodes, "collect", unit="episode") as bar:
        for number in range(config.episodes):
            path = episode_path(folder, number)
            if not path.is_file():
                rng = np.random.default_rng([config.seed, number, 21])
                seed = (config.seed * 1000 + number) % TRAINING_SEEDS_BELOW  # never one of an evaluation
                trajectory = record_trajectory(env, rng, seed, config.stride, config.interruptions)
                about = {"task": config.task, "variant": config.variant}
                save_trajectory(path, trajectory, about, chain_of(env.task).critic)
            bar.update(1)


def record_trajectory(
    env: RobotEnv, rng: np.random.Generator, seed: int, stride_ticks: int, interruptions: bool
) -> Trajectory:
    """Runs the episode of this seed with the task's scripted operator; it ends with the first violation.

    Raises UserError where nobody wrote an operator for the task, or where the environment does not run in lock-step:
    only there is every tick kept.
    """
    link = env.link.link if isinstance(env.link, ExploringLink) else env.link
    if not isinstance(link, LockstepLink):
        raise UserError("what the critic sees is recorded in lock-step only: leave realtime off")
    task, operator = env.task, env.task.operator(rng)
    decision_s = 1.0 / task.rate_hz
    recorder = TrajectoryRecorder(
        task.max_force_n, task.max_moment_nm, 1.0 / link.robot.rate_hz, decision_s, stride_ticks
    )
    env.link = link
    observation, _ = env.reset(seed=seed)
    if interruptions:
        env.link = ExploringLink(link, rng)
    operator.reset()
    link.take_features()
    try:
        while True:
            observation, _, terminated, truncated, _ = env.step(operator.act(observation, task.action.size))
            if recorder.add(link.take_features()) or terminated or truncated:
                return recorder.finish(terminated, seed)
    finally:
        env.link = link
