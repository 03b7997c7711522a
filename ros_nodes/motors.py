"""From a node's parameters to the motor process that it shall own."""

from __future__ import annotations

from typing import Any

from controllers.description.fr3 import fr3
from controllers.flight.config import FlightConfig
from controllers.motor_config import MotorConfig, mujoco_motor
from controllers.realtime import RealtimeConfig, choose_core
from controllers.shared_memory_link import SharedMemoryLink
from robot_rl.envs.layer_table import layer_table
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task
from ros_nodes.config import ControllerConfig
from ros_nodes.environment import fingerprint

ORDINARY = RealtimeConfig(priority=0, core=-2, lock_memory=False)
"""Without the measures against late ticks: for machines that are shared."""


def motor_config(config: ControllerConfig, name: str) -> MotorConfig:
    """Returns the motor process of a controller node. Raises UserError for settings that fit no arm."""
    task = make_task(config.task, config.variant, config.task_config)
    layers = layers_from(config.safety_config)
    return mujoco_motor(
        name,
        arm=fr3(),
        scene=task.scene(),
        chain=chain_of(task, layers),
        seed=config.seed,
        realtime=RealtimeConfig(core=choose_core(-1)) if config.realtime else ORDINARY,
        supervisor=layers.supervisor_config(lockstep=False),
        flight=FlightConfig(),
    )


def about_arm(config: ControllerConfig, task: Task) -> dict[str, Any]:
    """Returns what whoever commands the arm must agree on with its node."""
    layers = layers_from(config.safety_config)
    chain = chain_of(task, layers)
    return {
        "task": task.name,
        "variant": config.variant,
        "simulated": config.robot == "mujoco",
        "layers": layer_table(chain, layers),
        "fingerprint": fingerprint(task, chain),
    }


def load_critic(config: ControllerConfig, link: SharedMemoryLink) -> None:
    """Puts the safety critic of `safety_config.critic_file` into use, if one is named. Raises UserError if refused."""
    critic = layers_from(config.safety_config).load_critic()
    if critic is not None:
        link.load_critic(critic.weights)
        link.reset()  # which puts them into use
