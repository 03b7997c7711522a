"""What `robot-rl finetune` needs to train the safety critic along with the agent, from `critic_config`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controllers.link import LockstepLink
from data.errors import UserError
from robot_rl.agents.base import config_from
from robot_rl.envs.layers import layers_from
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.runs import CONFIG_FILE
from robot_rl.safety_critic.files import CRITIC_FILE, Critic
from robot_rl.safety_critic.online import OnlineConfig, OnlineCritic
from robot_rl.safety_critic.training import CriticTrainingConfig
from robot_rl.safety_critic.trajectories import Trajectory
from robot_rl.training.critic_learner import CriticLearner
from robot_rl.training.onlooker import Onlooker
from robot_rl.training.workplace import ArmWorkplace, Workplace
from robot_rl.workflows.safety_data import read_collection, require_fitting, resolved


def critic_learner(config: Mapping[str, Any], run: Path, workplace: Workplace, evaluation: Workplace) -> Onlooker:
    """Returns who trains the critic of a run's configuration along, or who does nothing where nobody asked for it.

    Raises UserError where it is asked for and cannot be: mode=async, no critic, no arm in lock-step, other data.
    """
    settings: OnlineConfig = config_from(OnlineConfig, config.get("critic_config") or {}, "critic")
    if settings.every == 0:
        return Onlooker()
    if config["mode"] != "sync":
        raise UserError("critic_config.every trains the safety critic between episodes, with mode=sync only")
    critic = layers_from(config.get("safety_config") or {}).load_critic()
    if critic is None:
        raise UserError(
            "critic_config.every trains a safety critic on: give safety_config.critic_file=<of safety train>"
        )
    envs = [lockstep_env(place) for place in (workplace, evaluation)]
    folders = data_folders(settings, critic)
    if folders is None:
        return Onlooker()
    links, offline = [link for _, link in envs], offline_episodes(folders, critic)
    trained = critic.about.get("training", {})
    online = OnlineCritic(
        critic,
        links[0].chain.config,
        offline,
        settings,
        config_from(CriticTrainingConfig, {**trained.get("critic_config", {}), "seed": config["seed"]}, "critic"),
        held_back=float(trained.get("held_back", 0.25)),
        split_seed=int(trained.get("seed", 0)),
    )
    stride_ticks = max(1, round(offline[0].interval_s * links[0].robot.rate_hz))
    return CriticLearner(online, envs[0][0].task, links, run, stride_ticks)


def lockstep_env(workplace: Workplace) -> tuple[RobotEnv, LockstepLink]:
    """Returns environment and link of an arm in lock-step. Raises UserError for anything else.

    Only there is every tick kept, and only there do thresholds change along with the weights.
    """
    env = workplace.env if isinstance(workplace, ArmWorkplace) else None
    if env is None or not isinstance(env.link, LockstepLink):
        raise UserError("critic_config.every needs an arm in lock-step, where every tick is kept; leave it at 0 here")
    return env, env.link


def data_folders(settings: OnlineConfig, critic: Critic) -> list[Path] | None:
    """Returns the folders of what the critic learned from; None, after one line, where its file's own are gone."""
    if settings.data is not None:
        return [resolved(folder) for folder in settings.data]
    trained = critic.about.get("training", {})
    folders = [Path(folder).expanduser() for folder in (trained.get("data", ""), *trained.get("also", []))]
    missing = [str(folder) for folder in folders if not (folder / CONFIG_FILE).is_file()]
    if missing:
        print(
            f"the safety critic is not trained on: what it learned from is no longer at {missing[0] or 'any place'}; "
            "give critic_config.data=[<folders of safety collect>]"
        )
        return None
    return folders


def offline_episodes(folders: list[Path], critic: Critic) -> list[Trajectory]:
    """Returns the episodes of all folders.

    Raises UserError for episodes of another task or with other limits than the critic's, or if there are none.
    """
    collections = [read_collection(str(folder)) for folder in folders]
    for collection in collections:
        require_fitting(critic, "the run's critic", collection)
    return [one for collection in collections for one in collection.episodes]


def own_critic(run: Path) -> dict[str, Any]:
    """Returns the entry of `safety_config` that names a run's own newest critic, nothing where it has none."""
    path = run / CRITIC_FILE
    return {"critic_file": str(path)} if path.is_file() else {}
