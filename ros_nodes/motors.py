"""From a node's parameters to the motor process that it shall own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controllers.description.fr3 import fr3
from controllers.realtime import ORDINARY, RealtimeConfig, choose_core
from controllers.robots.names import SIMULATED
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from data.errors import UserError
from robot_rl.envs.layer_table import layer_table
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of, simulated_link
from robot_rl.envs.real_robot import fr3_link_config
from robot_rl.tasks.base import Task
from ros_nodes.config import ControllerConfig
from ros_nodes.environment import fingerprint


def link_config(config: ControllerConfig, task: Task, name: str) -> SharedMemoryLinkConfig:
    """Returns the motor process of a controller node and how to deal with it. Raises UserError for wrong settings."""
    layers = layers_from(config.safety_config)
    chain, supervisor = chain_of(task, layers), layers.supervisor_config(lockstep=False)
    watched = replace(supervisor.heartbeats, supervisor_required=config.needs_supervisor)
    supervisor = replace(supervisor, heartbeats=watched)
    realtime = RealtimeConfig(core=choose_core(-1)) if config.realtime else ORDINARY
    if config.robot == "fr3":
        if config.motor:
            raise UserError(
                f"motor={config.motor} is for simulated arms: an FR3 has a name of its own, after its address"
            )
        return fr3_link_config(task, config.robot_config, chain, realtime, supervisor)
    if config.robot_config:
        raise UserError(f"robot_config goes with robot=fr3, got {', '.join(config.robot_config)}")
    return simulated_link(
        config.robot,
        name,
        arm=fr3(),
        scene=task.scene(),
        chain=chain,
        seed=config.seed,
        realtime=realtime,
        supervisor=supervisor,
    )


def about_arm(config: ControllerConfig, task: Task) -> dict[str, Any]:
    """Returns what whoever commands the arm must agree on with its node."""
    layers = layers_from(config.safety_config)
    chain = chain_of(task, layers)
    return {
        "task": task.name,
        "variant": config.variant,
        "simulated": config.robot in SIMULATED,
        "layers": layer_table(chain, layers),
        "fingerprint": fingerprint(task, chain),
    }


def load_critic(config: ControllerConfig, link: SharedMemoryLink) -> None:
    """Puts the safety critic of `safety_config.critic_file` into use, if one is named. Raises UserError if refused."""
    critic = layers_from(config.safety_config).load_critic()
    if critic is not None:
        link.load_critic(critic.weights)
        link.reset()  # which puts them into use
