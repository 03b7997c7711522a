"""What the commands of teleoperation can be told, and the settings that others share with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controllers.robots.names import ARMS
from robot_rl.options import REQUIRED, Config, option
from robot_rl.teleop.devices.finding import DEVICES

SOURCES = ("scripted", *DEVICES)
"""Who may demonstrate."""
ROBOTS = (*ARMS, "ros")
ROBOT = (
    "What moves the arm: `mujoco` or `gazebo` simulate it, `fr3` is a real one, `ros` stands behind a controller node."
)
ROBOT_CONFIG = "Settings of fr3 or ros: `robot_config.<key>=<value>`, such as robot_config.ip=172.16.0.2."
HUMANS = ("none", "scripted", *DEVICES)
"""Who may take over from a policy."""


TELEOP_CONFIG = "Device and frames of a person: `teleop_config.<key>=<value>`, such as frame=tool; checked."
HUMAN = "Who may take over from the policy: a person at a device, or `scripted`, the task's operator as one."
HUMAN_CONFIG = "When somebody takes over, and at what price: `human_config.<key>=<value>`, such as rlif=true; checked."


@dataclass
class TeleoperateConfig(Config):
    """Drive a task's arm by hand in real time; nothing is recorded."""

    task: str = option(REQUIRED, "Name of the task whose arm, tool and limits are used; `robot-rl tasks` lists them.")
    device: str = option("keyboard", "What the person holds.", choices=DEVICES)
    variant: str = option("default", "Variant of the task.")
    robot: str = option("mujoco", ROBOT, choices=ROBOTS)
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    seconds: float = option(0.0, "Ends by itself after this time; 0: with Ctrl-C.", unit="s", low=0.0)
    seed: int = option(0, "Seed of where the arm starts.", low=0)
    teleop_config: dict[str, Any] = option({}, TELEOP_CONFIG)
    task_config: dict[str, Any] = option(
        {}, "Further settings of the task: `task_config.<key>=<value>`; it checks them."
    )
    safety_config: dict[str, Any] = option({}, "Layers between hand and motors: `safety_config.<layer>=<value>`.")


@dataclass
class DataReplayConfig(Config):
    """Move the arm once more as a recorded episode did, and measure how far it strays from the recorded path."""

    path: str = option(REQUIRED, "Episode store, such as demos.zarr.")
    episode: int = option(0, "Number of the episode.", low=0)
    task: str | None = option(None, "Name of the task; by default that of the store. Another one is refused.")
    robot: str = option("mujoco", ROBOT, choices=ROBOTS)
    robot_config: dict[str, Any] = option({}, ROBOT_CONFIG)
    realtime: bool = option(False, "At the pace of the clock, in a motor process of its own, instead of in lock-step.")
    safety_config: dict[str, Any] = option({}, "Layers other than the recording's: `safety_config.<layer>=<value>`.")
