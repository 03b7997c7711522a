"""What several commands share: workplaces, agents and policies from a configuration, and the parts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from robot_rl.metrics import read_metrics
from robot_rl.runs import read_json
from robot_rl.training.workplace import ArmWorkplace, Workplace, make_workplace

BASE_FILE = "policy.safetensors"


def workplace_for(config: Mapping[str, Any], seed: int) -> Workplace:
    """Returns a workplace as a run's configuration asks.

    `config` holds task, variant, env_id, robot, history, images and task_config; those not given take their defaults.
    """
    return make_workplace(
        config["task"],
        variant=config.get("variant", "default"),
        env_id=config.get("env_id"),
        robot=config.get("robot", "mujoco"),
        seed=seed,
        history=int(config.get("history", 0)),
        images=bool(config.get("images", False)),
        task_config=config.get("task_config") or {},
    )


def one_thread() -> None:
    """Lets torch use one core: on two cores the other one belongs to the simulator or the motor process."""
    from robot_rl.learning.torch_setup import prepare_torch

    prepare_torch(1)


def read_setup(run: Path) -> dict[str, Any]:
    """Returns the configuration with which a run was made. Raises UserError if the folder is no run."""
    path = run / "config.json"
    if not path.is_file():
        cure = "give the out of pretrain, finetune or quickstart"
        raise UserError(f"expected a run folder with config.json at {run}, found none: {cure}")
    return read_json(path)


def former_evaluation(run: Path, name: str, step: int, episodes: int) -> dict[str, Any] | None:
    """Returns the record of an evaluation that is done already, None if there is none of this name, step and size."""
    for record in reversed(read_metrics(run)):
        if record["kind"] == "eval" and (record.get("name"), record["step"]) == (name, step):
            return record if len(record["episodes"]) == episodes else None
    return None


def agent_options(workplace: Workplace, agent: str) -> dict[str, Any]:
    """Returns the settings that the workplace's task recommends for an agent."""
    return dict(workplace.env.task.agent_options.get(agent, {})) if isinstance(workplace, ArmWorkplace) else {}


def load_base(folder: Path, workplace: Workplace) -> Any:
    """Loads an imitated policy and checks its widths against the workplace."""
    from robot_rl.policies.diffusion import DiffusionPolicy

    path = folder / BASE_FILE
    if not path.is_file():
        cure = f"run robot-rl pretrain out={folder} first"
        raise UserError(f"expected an imitated policy at {path}, found none: {cure}")
    return DiffusionPolicy.load(path, obs_size=workplace.obs_size, action_names=workplace.action_names)


def seed_generator(seed: int, purpose: int) -> np.random.Generator:
    """A generator of its own for each purpose, so that one use does not shift another."""
    return np.random.default_rng([seed, purpose])
