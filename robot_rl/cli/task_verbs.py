"""`robot-rl task teach|show|check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import UserError
from robot_rl.config import CheckConfig
from robot_rl.config_teach import TaskCheckConfig, TaskShowConfig, TaskTeachConfig
from robot_rl.tasks.registry import code_names
from robot_rl.tasks.taught_file import read_taught, taught_path
from robot_rl.tasks.taught_parts import TaughtPlate, TaughtPose
from robot_rl.tasks.taught_tool import TaughtTool, Vector


def teach(config: TaskTeachConfig) -> dict[str, Any]:
    """Opens the arm, goes through the lesson, and says where the file lies."""
    from controllers.realtime import ORDINARY
    from robot_rl.envs.make import make_env
    from robot_rl.tasks.taught import TaughtTask
    from robot_rl.teaching.lesson import Lesson
    from robot_rl.teaching.procedure import stage
    from robot_rl.teaching.procedure import teach as run_lesson
    from robot_rl.training.keys import Keys

    path = _new_path(config)
    plate = None if config.plate_m is None else TaughtPlate(TaughtPose(_three(config.plate_m, "plate_m"), (0, 0, 0, 1)))
    lesson = Lesson(path.stem, config.text, _tool(config), plate, config.max_steps)
    simulated = config.robot == "mujoco"
    # a simulated arm that a person leads with keys needs no scheduler's favour
    pace = ORDINARY if simulated else True
    keys = Keys()
    env = make_env(TaughtTask(stage(lesson)), robot=config.robot, robot_config=config.robot_config, realtime=pace)
    try:
        written = run_lesson(lesson, env.link, keys, path, simulated)
    finally:
        env.close()
    return {"written": written, "path": str(path) if written else None}


def _new_path(config: TaskTeachConfig) -> Path:
    """Returns the file to write. Raises UserError for a name that is taken."""
    path = taught_path(config.name)
    if path.stem in code_names():
        raise UserError(f"the name {path.stem} belongs to a task of code: choose another")
    if path.exists() and not config.replace:
        raise UserError(f"{path} exists: choose another name, or give replace=true")
    return path


def _tool(config: TaskTeachConfig) -> TaughtTool:
    com_m = None if config.tool_com_m is None else _three(config.tool_com_m, "tool_com_m")
    point_m = None if config.tool_point_m is None else _three(config.tool_point_m, "tool_point_m")
    return TaughtTool(config.tool, config.tool_mass_kg, com_m, point_m)


def _three(values: list[float], name: str) -> Vector:
    if len(values) != 3:
        raise UserError(f"{name} needs three numbers [x,y,z], got {list(values)}")
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def show(config: TaskShowConfig) -> dict[str, Any]:
    """Prints a task in words and returns it as it is stored."""
    from robot_rl.teaching.words import summary

    path = taught_path(config.name)
    task = read_taught(path)
    print("\n".join([*summary(task), f"file        {path}"]))
    return asdict(task)


def check(config: TaskCheckConfig) -> dict[str, Any]:
    """Checks the task's environment in simulation, as `robot-rl check` does."""
    from robot_rl.cli.checking import check as check_task

    read_taught(taught_path(config.name))  # a task of code has its own command
    return check_task(CheckConfig(task=config.name, seed=config.seed))
