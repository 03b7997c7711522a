"""What a run says of its safety layers: at its start, in its folder, and in its closing line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_rl.envs.layer_table import layer_table, unarmed
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of
from robot_rl.runs import note_critic, note_safety_layers
from robot_rl.tasks.registry import make_task

NO_CRITIC = (
    "WARNING: no safety critic: the reflex arbiter has nothing to act on; make one with robot-rl safety collect, train "
    "and calibrate, then give safety_config.critic_file=<its critic.safetensors>"
)


def say_layers(config: Mapping[str, Any]) -> None:
    """Says in one line on standard error which safety layers an arm task runs with, and in another if none sees risk.

    config: task, variant, robot, task_config and safety_config, as for `workplace_for`. Nothing is said of task=gym.
    """
    table = layers_of(config)
    if not table:
        return
    print("safety layers: " + ", ".join(f"{name} ({state})" for name, state in table.items()), file=sys.stderr)
    if unarmed(table):
        print(NO_CRITIC, file=sys.stderr, flush=True)


def note_layers(folder: Path, config: Mapping[str, Any]) -> None:
    """Keeps in a run's folder which safety layers and which critic it runs with; nothing for task=gym.

    Raises UserError where the run was begun with another critic.
    """
    if table := layers_of(config):
        critic = layers_from(config.get("safety_config") or {}).load_critic()
        if critic is not None:
            note_critic(folder, critic.sha256, critic.threshold)
        note_safety_layers(folder, table)


def layers_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the state of each safety layer by its name; {} for task=gym, which has none."""
    if config["task"] == "gym":
        return {}
    task = make_task(config["task"], config.get("variant", "default"), config.get("task_config") or {})
    layers = layers_from(config.get("safety_config") or {})
    return layer_table(chain_of(task, layers), layers, lockstep=config.get("robot") != "fr3")


def safety_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an evaluation that a command prints of its safety layers; {} where they are not known."""
    names = ("violation_rate", "successes_per_violation", "mean_reflexes", "mean_recovery_s", "latch_rate")
    return {name: summary[name] for name in names if name in summary}


def safety_words(summary: Mapping[str, Any]) -> str:
    """The same as the end of a line: `, violations in 3% of them, 0.2 reflexes each`."""
    if "violation_rate" not in summary:
        return ""
    return f", violations in {summary['violation_rate']:.0%} of them, {summary['mean_reflexes']:.2g} reflexes each"
