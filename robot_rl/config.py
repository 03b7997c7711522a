"""What each command can be told: one dataclass a command, one sentence a field.

The command line composes them with hydra (`robot-rl finetune steps=2000 agent_config.utd=4`); programs may construct
them directly. Paths are texts relative to the working folder; `~` stands for the home folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robot_rl.config_teleop import (
    HUMAN,
    HUMAN_CONFIG,
    HUMANS,
    ROBOT,
    ROBOT_CONFIG,
    ROBOTS,
    SOURCES,
    TELEOP_CONFIG,
)
from robot_rl.options import REQUIRED, Config, option

MODES = ("sync", "async")
TRAINING_SEEDS_BELOW = 1_000_000
"""Seeds of collection and training stay below; evaluation episodes draw from this number upwards, so the two never
meet."""

_TASK = "Name of the task; `robot-rl tasks` lists them."
_VARIANT = "Variant of the task, such as `tight`; `robot-rl tasks` lists them."
_SEED = "Seed of everything random in this run."
_FRESH = "Refuse to start unless `out` is absent or empty (otherwise an existing `out` is resumed)."
_SAFETY_CONFIG = (
    "Layers between policy and motors, all on by default: `safety_config.<layer>=<value>`, such as ledger=off."
)
_TASK_CONFIG = "Further settings of the task, key by key: `task_config.<key>=<value>`; the task checks them."


def seed_option() -> Any:
    """The field of the seed of everything random."""
    return option(0, _SEED, low=0, high=TRAINING_SEEDS_BELOW - 1)


def task_option(default: Any = REQUIRED) -> Any:
    """The field of the name of a task."""
    return option(default, _TASK)


def variant_option() -> Any:
    """The field of the variant of a task."""
    return option("default", _VARIANT)


def robot_option() -> Any:
    """The field of the what moves the arm."""
    return option("mujoco", ROBOT, choices=ROBOTS)


def _mode() -> Any:
    sentence = "`sync` is bit-reproducible in one process; `async` runs actor and learner apart."
    return option("sync", sentence, choices=MODES)


def _history() -> Any:
    return option(0, "Past observations that the policy sees beside the newest one.", low=0, high=20)


def _fresh() -> Any:
    return option(False, _FRESH, may_change=True)


@dataclass
class CollectConfig(Config):
    """Record demonstrations into an episode store."""

    out: str = option(REQUIRED, "Episode store to write or to go on with, such as demos.zarr.")
    task: str = task_option()
    source: str = option("scripted", "Who demonstrates: a scripted operator, or a person at a device.", choices=SOURCES)
    episodes: int = option(20, "Episodes that the store shall hold in the end.", low=1, may_change=True)
    variant: str = variant_option()
    images: bool = option(False, "Record the task's cameras as well (needs EGL; slower).")
    realtime: bool = option(False, "Run the arm at the pace of the clock, in a motor process of its own.")
    robot: str = robot_option()
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    seed: int = seed_option()
    fresh: bool = _fresh()
    teleop_config: dict[str, Any] = option({}, TELEOP_CONFIG)
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)
    safety_config: dict[str, Any] = option({}, _SAFETY_CONFIG)


@dataclass
class PretrainConfig(Config):
    """Imitate the successful demonstrations with a diffusion policy."""

    data: str = option(REQUIRED, "Episode store with the demonstrations.")
    out: str = option(REQUIRED, "Run folder for the policy, its normaliser, metrics and configuration.")
    task: str = task_option()
    variant: str = variant_option()
    eval_episodes: int = option(100, "Evaluation episodes after training; 0 for none.", low=0, may_change=True)
    history: int = _history()
    robot: str = robot_option()
    seed: int = seed_option()
    fresh: bool = _fresh()
    policy_config: dict[str, Any] = option({}, "Settings of the policy: `policy_config.<key>=<value>`; it checks them.")
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)
    safety_config: dict[str, Any] = option({}, _SAFETY_CONFIG)


@dataclass
class FinetuneConfig(Config):
    """Learn online, with automatic resets, from demonstrations and optionally from an imitated base policy."""

    out: str = option(REQUIRED, "Run folder for checkpoints, replay, metrics and configuration.")
    task: str = task_option()
    data: str | None = option(None, "Episode store with demonstrations, mixed half and half into every batch.")
    base: str | None = option(None, "Run folder of `pretrain`, for agents that fine-tune a base policy.")
    agent: str = option("rlpd", "Name of the learner, such as rlpd, residual, expo, dsrl.")
    steps: int = option(20_000, "Environment steps in the end.", unit="steps", low=1, may_change=True)
    mode: str = _mode()
    variant: str = variant_option()
    env_id: str | None = option(None, "With task=gym: any id of gymnasium.make, or `Module:Id`.")
    eval_every: int = option(
        500, "Environment steps between evaluations; 0 for none.", unit="steps", low=0, may_change=True
    )
    eval_episodes: int = option(50, "Episodes of each evaluation during training.", low=1, may_change=True)
    final_episodes: int = option(100, "Episodes of the last evaluation.", low=1, may_change=True)
    warmup: int = option(300, "Environment steps before the first update.", unit="steps", low=1)
    checkpoint_every: int = option(500, "Environment steps between checkpoints.", unit="steps", low=1, may_change=True)
    reflex_penalty: float | None = option(
        None,
        "Taken from the learned reward of a decision of which a reflex left the policy less than half; by default the "
        "task's own.",
        low=0.0,
    )
    history: int = _history()
    robot: str = robot_option()
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    seed: int = seed_option()
    fresh: bool = _fresh()
    agent_config: dict[str, Any] = option(
        {}, "Settings of the agent: `agent_config.<key>=<value>`, such as utd=4; it checks them."
    )
    pacing_config: dict[str, Any] = option(
        {}, "With mode=async, how far actor and learner may drift apart: `pacing_config.<key>=<value>`, checked."
    )
    critic_config: dict[str, Any] = option(
        {}, "Training the safety critic along: `critic_config.<key>=<value>`, such as every=20 (episodes); checked."
    )
    human: str = option("none", HUMAN, choices=HUMANS)
    human_config: dict[str, Any] = option({}, HUMAN_CONFIG)
    teleop_config: dict[str, Any] = option({}, TELEOP_CONFIG)
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)
    safety_config: dict[str, Any] = option({}, _SAFETY_CONFIG)


@dataclass
class EvaluateConfig(Config):
    """Run the newest checkpoint of a run on evaluation episodes that training never saw."""

    run: str = option(REQUIRED, "Run folder of `finetune` or `pretrain`.")
    episodes: int = option(100, "Evaluation episodes.", low=1)
    deterministic: bool = option(True, "Act without exploration noise.")
    safety_config: dict[str, Any] = option({}, "Layers other than those of the run: `safety_config.<layer>=<value>`.")
    robot: str | None = option(None, "Backend that moves the arm; by default the run's own.", choices=ROBOTS)
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    human: str = option("none", HUMAN, choices=HUMANS)
    human_config: dict[str, Any] = option({}, HUMAN_CONFIG)
    teleop_config: dict[str, Any] = option({}, TELEOP_CONFIG)
    seed: int = option(TRAINING_SEEDS_BELOW, "First seed of the evaluation episodes.", low=TRAINING_SEEDS_BELOW)


@dataclass
class ReportConfig(Config):
    """Write report.html of a run: one self-contained file."""

    run: str = option(REQUIRED, "Run folder.")


@dataclass
class TasksConfig(Config):
    """List what can be trained."""


@dataclass
class CheckConfig(Config):
    """Check a task's environment: each finding says what is wrong, why it matters and what to do."""

    task: str = task_option()
    variant: str = variant_option()
    robot: str = robot_option()
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    seed: int = seed_option()
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)
    safety_config: dict[str, Any] = option({}, _SAFETY_CONFIG)


@dataclass
class DataConfig(Config):
    """Look at an episode store, check it, or recover it."""

    path: str = option(REQUIRED, "Episode store, such as demos.zarr, or a bag of the recorder node.")


@dataclass
class PlayConfig(Config):
    """Write a film strip and plots of episodes as one HTML file."""

    path: str = option(REQUIRED, "Episode store, such as demos.zarr.")
    out: str | None = option(None, "HTML file to write; by default beside the store, with the ending .html.")
    episodes: list[int] = option(
        [], "Numbers of the episodes; by default the first success and the first failure.", low=0
    )
    frames: int = option(8, "Pictures of each episode's film strip.", low=1, high=60)


@dataclass
class ExperimentConfig(Config):
    """Run a grid of runs, resumable cell by cell, and write its tables and curves."""

    name: str = option(REQUIRED, "Name of the experiment.")
    out: str = option("runs/experiments", "Folder that holds the cells' run folders.")
    results: str = option("docs/results", "Folder for the resulting tables and figures.")
    seeds: list[int] = option([0, 1, 2], "Seeds of each cell.", low=0, high=TRAINING_SEEDS_BELOW - 1)
    cells: list[str] = option([], "Only the cells whose names are given; by default all.")


@dataclass
class QuickstartConfig(Config):
    """Collect, imitate, evaluate, fine-tune, evaluate again and report, in one go."""

    out: str | None = option(None, "Run folder; by default runs/<stamp>-quickstart.")
    task: str = task_option("peg_insertion")
    variant: str = variant_option()
    agent: str = option("residual", "Name of the learner that fine-tunes the imitated policy.")
    mode: str = _mode()
    episodes: int = option(20, "Demonstrations of the scripted operator.", low=1)
    steps: int = option(6_000, "Environment steps of fine-tuning.", unit="steps", low=1, may_change=True)
    eval_every: int = option(500, "Environment steps between evaluations.", unit="steps", low=0, may_change=True)
    eval_episodes: int = option(20, "Episodes of each evaluation during training.", low=1, may_change=True)
    final_episodes: int = option(
        100, "Episodes of the evaluations before and after fine-tuning.", low=1, may_change=True
    )
    history: int = _history()
    critic: bool = option(
        True,
        "First make a safety critic for tasks that say how, unless safety_config.critic_file names one.",
    )
    ablation: bool = option(True, "Fine-tune an untrained base as well, for a third of the steps.", may_change=True)
    robot: str = robot_option()
    seed: int = seed_option()
    fresh: bool = _fresh()
    agent_config: dict[str, Any] = option({}, "Settings of the agent: `agent_config.<key>=<value>`; it checks them.")
    policy_config: dict[str, Any] = option({}, "Settings of the policy: `policy_config.<key>=<value>`; it checks them.")
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)
    safety_config: dict[str, Any] = option({}, _SAFETY_CONFIG)


@dataclass
class DoctorConfig(Config):
    """Check what is here, what is missing, and what to do about it."""
