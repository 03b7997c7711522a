"""A task on an FR3, or behind the topics of a controller node: what it needs besides the task, what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.flight.config import FlightConfig
from controllers.realtime import RealtimeConfig
from controllers.robots.franka_config import FrankaConfig, setting_names
from controllers.robots.franka_motor import STALL_TIMEOUT_S, franka_motor
from controllers.robots.names import SIMULATED
from controllers.shared_memory_link import SharedMemoryLinkConfig
from data.errors import UserError
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.reset import ResetConfig
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.base import Task
from safety.supervision import SupervisorConfig


def franka_config(settings: Mapping[str, Any]) -> FrankaConfig:
    """Returns what `robot_config.<key>=<value>` asks for. Raises UserError for an unknown key or a wrong value."""
    known = list(setting_names())
    for key in settings:
        if key not in known:
            raise UserError(f"unknown setting robot_config.{key}; {expected_names(key, known)}")
    if "ip" not in settings:
        raise UserError("robot=fr3 needs the address of its control box: robot_config.ip=172.16.0.2")
    try:
        return FrankaConfig(**as_declared(FrankaConfig, settings))
    except ValueError as error:
        raise UserError(f"robot_config.{error}") from error


def refuse_real_robot(robot: str, why: str) -> None:
    """Raises UserError where a command runs in simulation only. why: a clause that says so and what to do instead."""
    if robot not in SIMULATED:
        raise UserError(f"robot={robot} is not for this command: {why}")


def fr3_link_config(
    task: Task,
    settings: Mapping[str, Any],
    chain: ChainConfig,
    realtime: RealtimeConfig,
    supervisor: SupervisorConfig,
    flight: FlightConfig | None = None,
) -> SharedMemoryLinkConfig:
    """Returns the motor process of the FR3 with the task's tool. Raises UserError for settings that do not fit."""
    config = franka_config(settings)
    if not math.isclose(chain.rate_hz, 1000.0):
        raise UserError(f"an FR3 ticks at 1000 Hz, task {task.name} asks for {chain.rate_hz:g} Hz")
    motor = franka_motor(
        config.motor_name,
        arm=fr3(),
        tool=task.scene().tool,
        robot=config,
        chain=chain,
        realtime=realtime,
        supervisor=replace(supervisor, simulated_person=False),
        flight=flight or FlightConfig(),
    )
    return SharedMemoryLinkConfig(motor, stall_timeout_s=STALL_TIMEOUT_S)


def make_over_topics(
    task: Task,
    chain: ChainConfig,
    layers: SafetyLayers,
    settings: Mapping[str, Any],
    reset_config: ResetConfig | None,
    images: bool = False,
) -> RobotEnv:
    """Returns the environment of a task behind a controller node, see ros_nodes.environment.

    That room comes after this one, so that it is looked up by name, as a plug-in is. Raises UserError without ROS 2.
    """
    try:
        environment = import_module("ros_nodes.environment")
    except ImportError as error:
        cure = "install the extra [ros], or source the distribution on a robot PC; robot-rl doctor tells"
        raise UserError(f"robot=ros needs ROS 2, which cannot be imported ({error}): {cure}") from error
    env: RobotEnv = environment.make(task, chain, layers, settings, reset_config, images)
    return env
