"""Puts task, robot, link and environment together by name."""

from __future__ import annotations

from controllers.arm_model import ArmModel
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from data.errors import UserError
from robot_rl.envs.reset import ResetConfig
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Task


def make_env(
    task: Task,
    *,
    robot: str = "mujoco",
    seed: int = 0,
    teleport: bool = False,
    images: bool = False,
    sensor: WristSensorConfig | None = None,
    reset_config: ResetConfig | None = None,
) -> RobotEnv:
    """Returns the environment of a task on a backend, with its cameras if `images`.

    teleport: put the tool at the start instead of driving there (benchmarks only). reset_config: settings of the
    automatic reset. Raises UserError for a backend that is not there.
    """
    if robot != "mujoco":
        raise UserError(f"expected robot=mujoco, got robot={robot}")
    arm, scene = fr3(), task.scene()
    world = MujocoArm(arm, scene, sensor, seed)
    model = ArmModel(arm, scene.tool)
    link = LockstepLink(world, model, task.chain_config())

    def teleport_tool(T_base_tool: Pose) -> None:
        world.teleport(model.inverse_kinematics(T_base_tool, arm.home_rad))

    return RobotEnv(
        task,
        link,
        world=world,
        teleport=teleport_tool if teleport else None,
        images=images,
        reset_config=reset_config,
    )
