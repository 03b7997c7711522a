"""Puts task, robot, link and environment together by name."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from controllers.arm_model import ArmModel
from controllers.cameras.base import Camera
from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.flight.config import FlightConfig
from controllers.link import LockstepLink
from controllers.motor_config import mujoco_motor
from controllers.realtime import RealtimeConfig
from controllers.robots.gazebo.modern import refuse_gz
from controllers.robots.gazebo.prefix import installed
from controllers.robots.gazebo_arm import GazeboArm
from controllers.robots.gazebo_motor import STALL_TIMEOUT_S, gazebo_motor
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.robots.names import SIMULATED
from controllers.robots.rendering import RenderError
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from data.errors import UserError
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.motor_cameras import SimulatedWorld, pictures_of
from robot_rl.envs.pictures import CameraPictures, NoPictures, Pictures
from robot_rl.envs.real_robot import fr3_link_config, make_over_topics
from robot_rl.envs.reset import ResetConfig
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Task


def make_env(
    task: Task,
    *,
    robot: str = "mujoco",
    robot_config: Mapping[str, Any] | None = None,
    seed: int = 0,
    teleport: bool = False,
    images: bool = False,
    cameras: Sequence[Camera] = (),
    sensor: WristSensorConfig | None = None,
    reset_config: ResetConfig | None = None,
    realtime: bool | RealtimeConfig = False,
    layers: SafetyLayers | None = None,
    flights: Path | None = None,
) -> RobotEnv:
    """Returns the environment of a task on a backend, with pictures if `images`.

    cameras: cameras of its scene that run by the clock, not started yet; real time only. Without any, the simulator
    draws: in lock-step as it is asked, in real time by cameras that follow the motor process at 30 Hz.

    teleport: put the tool at the start instead of driving there (benchmarks only). reset_config: settings of the
    automatic reset. realtime: run the arm at the pace of the clock in a motor process of its own, with these measures
    or the default ones (True), instead of in lock-step; close the environment to end the process. layers: the safety
    layers of the motor chain, all of them by default. flights: folder of the flight recorder's files; None: in
    lock-step none are written, in real time they go to the user's own folder.

    robot: `mujoco`, or `gazebo` on a server of its own, which draws no pictures in lock-step. `fr3`: a real one, always
    in a motor process of its own; robot_config: its settings, see controllers.robots.franka_config. A real arm cannot
    be teleported or rendered, and a person looks after each latch.
    `ros`: whatever arm a controller node has, over its topics; robot_config: see ros_nodes.environment. Layers and
    flights are then that node's.

    Raises UserError for a backend that is not there.
    """
    _refuse_unfit(robot, robot_config, teleport=teleport, images=images, cameras=cameras, sensor=sensor)
    if robot == "gazebo" and images and not realtime:
        raise RenderError("robot=gazebo draws no pictures in lock-step: leave images off, or give realtime=true")
    layers = layers or SafetyLayers()
    if robot == "fr3":
        return _on_fr3(task, robot_config or {}, realtime, layers, flights, reset_config, cameras)
    if robot == "ros":
        return make_over_topics(task, chain_of(task, layers), layers, robot_config or {}, reset_config, images)
    if robot == "gz":
        refuse_gz()
    if cameras and not realtime:
        raise UserError("cameras run by the clock, lock-step does not: give realtime=True, or let the simulator draw")
    world, link = _simulated(robot, task, layers, realtime, seed, sensor, flights)
    pictures: Pictures = NoPictures()
    put = _teleport(world, task) if teleport else None
    try:
        _load_critic(layers, link)
        if images or cameras:
            world, pictures = pictures_of(world, link, fr3(), task.scene(), cameras)
        return RobotEnv(task, link, world=world, teleport=put, pictures=pictures, reset_config=reset_config)
    except BaseException:
        pictures.close()
        link.close()
        raise


def _simulated(
    robot: str,
    task: Task,
    layers: SafetyLayers,
    realtime: bool | RealtimeConfig,
    seed: int,
    sensor: WristSensorConfig | None,
    flights: Path | None,
) -> tuple[SimulatedWorld, LockstepLink | SharedMemoryLink]:
    """A simulated arm with the task's scene, and the link to it: in this process, or in one of its own in real time."""
    chain, supervisor = chain_of(task, layers), layers.supervisor_config(lockstep=not realtime)
    if realtime:
        link = _start_motor(
            robot,
            task,
            sensor or WristSensorConfig(),
            chain=chain,
            seed=seed,
            realtime=RealtimeConfig() if realtime is True else realtime,
            supervisor=supervisor,
            flight=FlightConfig(folder=str(flights or "")),
        )
        return link, link
    arm, scene = fr3(), task.scene()
    world = (GazeboArm if robot == "gazebo" else MujocoArm)(arm, scene, sensor, seed)
    try:
        model = ArmModel(arm, scene.tool)
        return world, LockstepLink(world, model, chain, supervisor, _lockstep_flights(flights))
    except BaseException:
        world.stop()
        raise


def _teleport(world: SimulatedWorld, task: Task) -> Callable[[Pose], None]:
    """Returns what puts the tool to a pose without moving there."""
    arm = fr3()
    model = ArmModel(arm, task.scene().tool)
    return lambda T_base_tool: world.teleport(model.inverse_kinematics(T_base_tool, arm.home_rad))


def _load_critic(layers: SafetyLayers, link: LockstepLink | SharedMemoryLink) -> None:
    critic = layers.load_critic()
    if critic is not None:
        link.load_critic(critic.weights)
        link.reset()  # which puts them into use


def _refuse_unfit(
    robot: str,
    robot_config: Mapping[str, Any] | None,
    *,
    teleport: bool,
    images: bool,
    cameras: Sequence[Camera],
    sensor: WristSensorConfig | None,
) -> None:
    """Raises UserError for what a backend does not have."""
    if robot not in (*SIMULATED, "fr3", "ros"):
        raise UserError(f"expected robot=mujoco, gazebo, fr3 or ros, got robot={robot}")
    if robot == "fr3" and (teleport or (images and not cameras) or sensor is not None):
        raise UserError("robot=fr3 is a real arm: it has no teleport, no rendered images and no simulated sensor")
    if robot == "ros" and (teleport or cameras or sensor is not None):
        raise UserError(
            "robot=ros is an arm behind topics: it has no teleport, no cameras and no sensor of its own here"
        )
    if robot in SIMULATED and robot_config:
        raise UserError(f"robot_config goes with robot=fr3 or ros, got {', '.join(robot_config)} with robot={robot}")


def _on_fr3(
    task: Task,
    robot_config: Mapping[str, Any],
    realtime: bool | RealtimeConfig,
    layers: SafetyLayers,
    flights: Path | None,
    reset_config: ResetConfig | None,
    cameras: Sequence[Camera],
) -> RobotEnv:
    """The environment of a task on an FR3: nothing behind the link but the link itself."""
    measures = realtime if isinstance(realtime, RealtimeConfig) else RealtimeConfig()
    supervisor, flight = layers.supervisor_config(lockstep=False), FlightConfig(folder=str(flights or ""))
    link = SharedMemoryLink(fr3_link_config(task, robot_config, chain_of(task, layers), measures, supervisor, flight))
    pictures: Pictures = NoPictures()
    try:
        _load_critic(layers, link)
        if cameras:
            pictures = CameraPictures(link, cameras, task.scene().cameras)
        return RobotEnv(task, link, pictures=pictures, reset_config=reset_config)
    except BaseException:
        pictures.close()
        link.close()
        raise


def chain_of(task: Task, layers: SafetyLayers | None = None) -> ChainConfig:
    """Returns the chain of a task with its layers as asked; the safety critic warns of the task's own force limits."""
    chain = task.chain_config()
    surface = None if task.critic_recipe is None else task.critic_recipe.surface
    critic = replace(chain.critic, max_force_n=task.max_force_n, max_moment_nm=task.max_moment_nm, surface=surface)
    reflex = replace(chain.reflex, max_force_n=task.max_force_n)
    return (layers or SafetyLayers()).apply_to(replace(chain, critic=critic, reflex=reflex))


def _lockstep_flights(folder: Path | None) -> FlightConfig | None:
    """A simulation latches more often than anybody wants to look: at most one file in ten simulated minutes."""
    return None if folder is None else FlightConfig(folder=str(folder), pause_s=600.0)


def _start_motor(robot: str, task: Task, sensor: WristSensorConfig, **parts: Any) -> SharedMemoryLink:
    """Returns the link to a new motor process with the simulated arm, which answers for the simulator as well."""
    name = f"sim-{uuid.uuid4().hex[:12]}"
    return SharedMemoryLink(simulated_link(robot, name, arm=fr3(), scene=task.scene(), sensor=sensor, **parts))


def simulated_link(robot: str, name: str, **parts: Any) -> SharedMemoryLinkConfig:
    """Returns the motor process of a simulated arm and how to deal with it; parts: see mujoco_motor.

    Raises UserError for a simulator that is not there.
    """
    if robot == "gz":
        refuse_gz()
    if robot != "gazebo":
        return SharedMemoryLinkConfig(mujoco_motor(name, **parts))
    installed()
    return SharedMemoryLinkConfig(gazebo_motor(name, **parts), stall_timeout_s=STALL_TIMEOUT_S)
