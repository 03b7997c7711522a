"""What several commands share: workplaces, agents and policies from a configuration, and the parts of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.metrics import read_metrics
from robot_rl.runs import read_json
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task
from robot_rl.training.workplace import ArmWorkplace, Workplace, make_workplace

BASE_FILE = "policy.safetensors"
FLIGHTS = "flights"
ADOPTED_FILE = "base.safetensors"
EVALUATION_WORLD = 500_000


def workplace_for(config: Mapping[str, Any], seed: int) -> Workplace:
    """Returns a workplace as a run's configuration asks.

    `config` holds task, variant, env_id, robot, robot_config, history, task_config and safety_config; those not given
    take their defaults. Latches leave their flights in the run's folder `out`, if it has one.
    """
    return make_workplace(
        config["task"],
        variant=config.get("variant", "default"),
        env_id=config.get("env_id"),
        robot=config.get("robot", "mujoco"),
        robot_config=config.get("robot_config") or {},
        seed=seed,
        history=int(config.get("history", 0)),
        task_config=config.get("task_config") or {},
        safety_config=config.get("safety_config") or {},
        flights=Path(config["out"]).expanduser() / FLIGHTS if config.get("out") else None,
    )


def evaluation_workplace(config: Mapping[str, Any]) -> Workplace:
    """Returns the workplace for a run's evaluations, whose world has other random numbers than the training's."""
    return workplace_for(config, config["seed"] + EVALUATION_WORLD)


def require_judge(workplace: Workplace) -> None:
    """Raises UserError where only a person's key marks success, and nobody sits at a terminal to press it."""
    task = workplace.env.task if isinstance(workplace, ArmWorkplace) else None
    if task is not None and task.judged_by_person and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UserError(
            f"task {task.name} is judged by a person: run this in a terminal and press s for success or f for failure, "
            "or give its file a success rule of its own"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch use one core, quickly: on two cores the other one belongs to the simulator or the motor process."""
    from robot_rl.learning.torch_setup import quick_torch  # late: torch takes seconds to import

    with quick_torch():
        yield


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


def resolve_agent_options(
    task: str, variant: str, agent: str, given: Mapping[str, Any], task_config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns an agent's settings: those that the task was measured to learn well with, those given winning.

    Done before a run's configuration is stored, so that config.json holds what was really used.
    """
    if task == "gym":
        from robot_rl.training.gym_workplace import AGENT_OPTIONS

        recommended: Mapping[str, Any] = AGENT_OPTIONS.get(agent, {})
    else:
        recommended = make_task(task, variant, task_config).agent_options.get(agent, {})
    return {**recommended, **given}


def resolve_reflex_penalty(
    task: str, variant: str, given: float | None, task_config: Mapping[str, Any] | None = None
) -> float:
    """Returns what a reflex costs: what was given, else what the task says. Stored as `resolve_agent_options`."""
    if given is not None:
        return given
    return Task.reflex_penalty if task == "gym" else make_task(task, variant, task_config).reflex_penalty


def policy_file(folder: Path) -> Path:
    """Returns the file of the imitated policy in an `out` of pretrain. Raises UserError if there is none."""
    path = folder / BASE_FILE
    if not path.is_file():
        cure = f"run robot-rl pretrain out={folder} first"
        raise UserError(f"expected an imitated policy at {path}, found none: {cure}")
    return path


def load_base(path: Path, workplace: Workplace) -> Any:
    """Loads an imitated policy and checks its observation keys, widths and action names against the workplace."""
    from robot_rl.policies.diffusion import DiffusionPolicy

    keys = tuple(workplace.featuriser.keys)
    return DiffusionPolicy.load(path, workplace.obs_size, workplace.action_names, keys)


def adopt_base(source: Path, run: Path, workplace: Workplace) -> Path:
    """Copies an imitated policy into a run, which from then on depends on nothing outside of its folder.

    Raises UserError if the run has begun on another policy: what its replay caches belongs to that one.
    """
    own, given = run / ADOPTED_FILE, source / BASE_FILE
    if own.is_file() and not given.is_file():
        return own  # the run depends on nothing outside
    content = policy_file(source).read_bytes()
    if own.is_file() and own.read_bytes() != content:
        raise UserError(f"{run} was begun on another base policy than {given}: choose another out")
    load_base(given, workplace)  # tells what does not fit before anything is kept
    if not own.is_file():
        write_atomic(own, content)
    return own


def seed_generator(seed: int, purpose: int) -> np.random.Generator:
    """A generator of its own for each purpose, so that one use does not shift another."""
    return np.random.default_rng([seed, purpose])
