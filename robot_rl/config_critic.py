"""What `robot-rl safety collect|train|calibrate|evaluate` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robot_rl.config import TRAINING_SEEDS_BELOW
from robot_rl.options import REQUIRED, Config, option

_TASK_CONFIG = "Further settings of the task: `task_config.<key>=<value>`; the task checks them."


@dataclass
class SafetyCollectConfig(Config):
    """Record what the safety critic sees while a scripted operator works, up to the first violation of each episode."""

    out: str = option(REQUIRED, "Folder for the episodes; one that was begun is gone on with.")
    task: str = option(REQUIRED, "Name of the task; `robot-rl tasks` lists them.")
    variant: str = option("default", "Variant of the task; its `heldout` one, if it has one, for calibrate.")
    episodes: int = option(300, "Episodes that the folder shall hold in the end.", low=1, may_change=True)
    interruptions: bool = option(True, "Interrupt the operator now and then by what a reflex would do.")
    stride: int = option(2, "Every how many ticks a sample is kept.", unit="ticks", low=1, high=20)
    seed: int = option(0, "Seed of episodes, operator and interruptions.", low=0, high=TRAINING_SEEDS_BELOW - 1)
    fresh: bool = option(False, "Refuse to start unless `out` is absent or empty.", may_change=True)
    task_config: dict[str, Any] = option({}, _TASK_CONFIG)


@dataclass
class SafetyTrainConfig(Config):
    """Train a safety critic on collected episodes, and choose its threshold on a part that it did not learn from."""

    data: str = option(REQUIRED, "Folder of `safety collect`.")
    out: str = option(REQUIRED, "Run folder for the critic.")
    also: list[str] = option([], "Further folders of `safety collect` on the same task.")
    held_back: float = option(0.25, "Share of the episodes kept for scale and threshold.", low=0.05, high=0.9)
    seed: int = option(0, "Seed of networks, batches and of the split.", low=0, high=TRAINING_SEEDS_BELOW - 1)
    fresh: bool = option(False, "Refuse to start unless `out` is absent or empty.", may_change=True)
    critic_config: dict[str, Any] = option(
        {}, "Settings of the training: `critic_config.<key>=<value>`, such as updates=3000; checked."
    )


@dataclass
class SafetyCalibrateConfig(Config):
    """Measure a critic on episodes that nothing was learned from, and store the result in it: the gate to its use."""

    critic: str = option(REQUIRED, "File critic.safetensors of `safety train`.")
    data: str = option(REQUIRED, "Folder of `safety collect`, of mazes or episodes that training never saw.")
    also: list[str] = option([], "Further folders of `safety collect` on the same task.")


@dataclass
class SafetyEvaluateConfig(Config):
    """Show what a critic is worth on some episodes: recall, false reflexes, calibration error, reliability diagram."""

    critic: str = option(REQUIRED, "File critic.safetensors of `safety train`.")
    data: str = option(REQUIRED, "Folder of `safety collect`.")
    out: str | None = option(None, "HTML file to write; by default beside the critic, critic.html.")
