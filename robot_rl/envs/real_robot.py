"""A task on an FR3: what a real robot needs besides the task, and what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.flight.config import FlightConfig
from controllers.realtime import RealtimeConfig
from controllers.robots.franka_config import FrankaConfig, setting_names
from controllers.robots.franka_motor import STALL_TIMEOUT_S, franka_motor
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from data.errors import UserError
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
    if robot != "mujoco":
        raise UserError(f"robot={robot} is not for this command: {why}")


def start_fr3(
    task: Task,
    settings: Mapping[str, Any],
    chain: ChainConfig,
    realtime: RealtimeConfig | None = None,
    supervisor: SupervisorConfig | None = None,
    flight: FlightConfig | None = None,
) -> SharedMemoryLink:
    """Starts the motor process of the FR3 with the task's tool. Raises UserError where the robot is not to be had."""
    config = franka_config(settings)
    if not math.isclose(chain.rate_hz, 1000.0):
        raise UserError(f"an FR3 ticks at 1000 Hz, task {task.name} asks for {chain.rate_hz:g} Hz")
    motor = franka_motor(
        config.motor_name,
        arm=fr3(),
        tool=task.scene().tool,
        robot=config,
        chain=chain,
        realtime=realtime or RealtimeConfig(),
        supervisor=replace(supervisor or SupervisorConfig(), simulated_person=False),
        flight=flight or FlightConfig(),
    )
    return SharedMemoryLink(SharedMemoryLinkConfig(motor, stall_timeout_s=STALL_TIMEOUT_S))
