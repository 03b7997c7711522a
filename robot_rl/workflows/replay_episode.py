"""`robot-rl data replay`: a recorded episode's executed actions once more, and how far the arm strays from its path.

The arm first drives to where the episode began. The actions are then played one by one, whatever the task says of them:
increments from the measured pose, open loop. Contacts that went otherwise, or another fixture, therefore show as a
growing deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controllers.arm_model import ArmModel
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.types import Source
from data.episode import Episode
from data.errors import UserError
from data.spec import StoreSpec
from data.store import EpisodeStore
from robot_rl.config_teleop import DataReplayConfig
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Draw
from robot_rl.tasks.registry import make_task


@dataclass(frozen=True)
class Deviation:
    """Largest distance between the recorded and the replayed tool, over all decisions played."""

    position_m: float
    angle_rad: float
    at_step: int
    """Decision after which the position was farthest off."""
    end_m: float
    """Distance after the last decision played."""


def run(config: DataReplayConfig) -> dict[str, Any]:
    """Replays one episode; prints and returns the deviation."""
    with EpisodeStore.open(Path(config.path).expanduser()) as store:
        if not config.episode < len(store):
            raise UserError(f"{config.path} holds {len(store)} episodes, numbered from 0: there is no {config.episode}")
        spec, episode = store.spec, store[config.episode]
    env = _environment(config, spec, episode)
    try:
        path, played, stopped = _play(env, episode)
        found = deviation(recorded_path(env, episode), path)
    finally:
        env.close()
    ended = f"; the arm was stopped after {played} of {len(episode)}" if stopped else ""
    largest = f"largest deviation {1e3 * found.position_m:.1f} mm (after decision {found.at_step})"
    rest = f"{found.angle_rad:.3f} rad, {1e3 * found.end_m:.1f} mm at the end{ended}"
    print(f"episode {config.episode}: {played} decisions, {largest} and {rest}")
    return {**vars(found), "decisions": played, "recorded": len(episode), "ok": not stopped}


def _environment(config: DataReplayConfig, spec: StoreSpec, episode: Episode) -> RobotEnv:
    """Returns the environment of the store's task. Raises UserError where store and task do not fit."""
    if config.task is not None:
        spec.require(task=config.task, where=config.path)
    if "q_rad" not in episode.extras or "T_base_goal" not in episode.info:
        raise UserError(
            f"episode {config.episode} of {config.path} lacks joint angles or the goal, without which its start is not "
            "known: only what `robot-rl collect` of this version recorded can be replayed"
        )
    made = spec.config
    task = make_task(spec.task, str(made.get("variant", "default")), made.get("task_config") or {})
    spec.require(action_names=task.action.names, rate_hz=task.rate_hz, where=config.path)
    layers = layers_from({**(made.get("safety_config") or {}), **config.safety_config})
    return make_env(task, robot=config.robot, robot_config=config.robot_config, realtime=config.realtime, layers=layers)


def _play(env: RobotEnv, episode: Episode) -> tuple[list[Pose], int, bool]:
    """Returns the path of the tool, how many decisions were played, and whether the arm was stopped meanwhile."""
    env.reset(seed=int(episode.info["seed"]), options={"draw": _draw_of(env, episode)})
    env.source = Source.SCRIPTED
    path, stopped = [env.sensed.T_base_tool], False
    for action in episode.action_executed:
        *_, info = env.step(action)
        path.append(env.sensed.T_base_tool)
        stopped = bool(info["held"])
        if stopped:
            break
    return path, len(path) - 1, stopped


def _draw_of(env: RobotEnv, episode: Episode) -> Draw:
    """What chance had decided, with the start where the recorded arm really stood."""
    fixtures = {name: _pose(values) for name, values in episode.info.get("fixtures", {}).items()}
    start = recorded_path(env, episode)[0]
    return Draw(fixtures, _pose(episode.info["T_base_goal"]), start, dict(episode.info.get("draw", {})))


def _pose(values: list[float]) -> Pose:
    return Pose(np.array(values[:3]), np.array(values[3:]))


def recorded_path(env: RobotEnv, episode: Episode) -> list[Pose]:
    """Returns T_base_tool (T + 1) of a recorded episode, by its joint angles."""
    model = ArmModel(fr3(), env.task.scene().tool)
    return [model.forward(q) for q in np.asarray(episode.extras["q_rad"], np.float64)]


def deviation(recorded: list[Pose], replayed: list[Pose]) -> Deviation:
    """Compares the paths decision by decision, as far as the shorter one goes."""
    distances = [there.distance(here) for there, here in zip(recorded, replayed, strict=False)]
    positions_m = [distance_m for distance_m, _ in distances]
    worst = int(np.argmax(positions_m))
    return Deviation(positions_m[worst], max(angle for _, angle in distances), worst, positions_m[-1])
