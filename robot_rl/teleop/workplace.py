"""The workplace of a person: an arm at the pace of the clock, its link attended by the person's device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controllers.realtime import ORDINARY
from data.errors import UserError
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import make_env
from robot_rl.tasks.registry import make_task
from robot_rl.teleop.config import TeleopConfig
from robot_rl.teleop.devices.base import Device
from robot_rl.teleop.operator import attend
from robot_rl.teleop.session import Session
from robot_rl.training.workplace import ArmWorkplace


def attended_workplace(
    config: Mapping[str, Any], device: Device, settings: TeleopConfig, longest_s: float | None = None
) -> tuple[ArmWorkplace, Session]:
    """Opens the device, starts the arm and returns both, joined; closing the workplace ends both.

    config: task, variant, robot, robot_config, seed, images, history, task_config, safety_config and out, where they
    differ from the defaults. longest_s: an episode lasts this long instead of the task's own time, if that is shorter.

    Raises UserError for anything that is missing or does not fit, before the arm is started where that can be told.
    """
    if config["task"] == "gym":
        raise UserError("a person moves an arm: task=gym has none, choose one of `robot-rl tasks`")
    task = make_task(config["task"], config.get("variant", "default"), config.get("task_config") or {})
    if longest_s is not None:
        task.max_steps = max(task.max_steps, round(longest_s * task.rate_hz))
    mapping = settings.make_mapping(task.action)
    layers = layers_from(config.get("safety_config") or {})
    device.open()
    try:
        env = make_env(
            task,
            robot=config.get("robot", "mujoco"),
            robot_config=config.get("robot_config") or {},
            seed=int(config.get("seed", 0)),
            images=bool(config.get("images", False)),
            realtime=True if settings.realtime else ORDINARY,
            layers=layers,
            flights=Path(config["out"]).expanduser() / "flights" if config.get("out") else None,
        )
    except BaseException:
        device.close()
        raise
    session = Session(device, mapping)
    attend(env, session)
    return ArmWorkplace(env, int(config.get("history", 0)), restorable=False), session
