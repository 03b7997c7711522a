"""What the commands `robot-rl task ...` can be told: one dataclass a command, one sentence a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robot_rl.config_teleop import ROBOT_CONFIG
from robot_rl.options import REQUIRED, Config, option

_NAME = "Name of the taught task, or the path of its file."
_TOOLS = ("square_peg", "round_finger", "parallel_gripper", "plain")


@dataclass
class TaskTeachConfig(Config):
    """Teach a task by leading the arm by hand; ends with the file tasks/<name>.json."""

    name: str = option(
        REQUIRED, "Name of the new task: small letters, digits, underscores; or the path of a .json file."
    )
    robot: str = option(
        "mujoco", "Arm to lead; in simulation keys take the place of a hand.", choices=("mujoco", "fr3")
    )
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    text: str = option("bring the tool to the goal", "One line: what the robot shall do.")
    tool: str = option(
        "square_peg", "What is bolted to the flange; plain takes the next three settings.", choices=_TOOLS
    )
    tool_mass_kg: float | None = option(None, "Mass of a plain tool.", unit="kg", low=0.0)
    tool_com_m: list[float] | None = option(None, "Centre of mass of a plain tool, flange frame.", unit="m")
    tool_point_m: list[float] | None = option(None, "Control point of a plain tool, flange frame.", unit="m")
    plate_m: list[float] | None = option(
        None, "Simulation: a plate to touch, middle of its upper face in the base frame.", unit="m"
    )
    max_steps: int = option(100, "Longest episode, in decisions of 0.1 s.", low=1)
    replace: bool = option(False, "Take the place of a task of this name that exists.")


@dataclass
class TaskShowConfig(Config):
    """Print a taught task: goal, starts, workspace, success, limits, with units."""

    name: str = option(REQUIRED, _NAME)


@dataclass
class TaskCheckConfig(Config):
    """Run the environment's checks on a taught task in simulation; exit status 1 where something is wrong."""

    name: str = option(REQUIRED, _NAME)
    seed: int = option(0, "Seed of the checks.", low=0)
