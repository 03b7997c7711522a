"""The motor process of an arm on Gazebo: its configuration, and what it is built from there."""

from __future__ import annotations

from typing import Any

import numpy as np

from controllers.motor_config import MotorConfig, MotorParts
from controllers.plain import from_plain, to_plain

STALL_TIMEOUT_S = 2.0
"""How long such a process may run no tick: a tick waits for another process, which has no real-time priority."""


def gazebo_motor(name: str, **parts: Any) -> MotorConfig:
    """Returns the configuration of an arm on Gazebo in real time, with a server of its own.

    parts: `arm` (ArmDescription), `scene` (Scene), and if wished `chain` (ChainConfig), `sensor` (WristSensorConfig),
    `seed`; `realtime` and the other fields of MotorConfig by their names. Beside it use a link with STALL_TIMEOUT_S.
    """
    known = ("arm", "scene", "chain", "sensor", "seed")
    options = {key: to_plain(parts.pop(key)) for key in known if key in parts}
    parts.setdefault("remember_latch", False)
    return MotorConfig(name=name, builder=f"{__name__}:build_gazebo_arm", options=options, **parts)


def build_gazebo_arm(options: dict[str, Any]) -> MotorParts:
    """Builder of `gazebo_motor`: starts the server. Raises UserError in plain words if that does not work."""
    from controllers.arm_model import ArmModel, ModelTerms
    from controllers.chain import Chain, ChainConfig
    from controllers.robots.gazebo_arm import GazeboArm
    from controllers.types import STATE

    given = {key: from_plain(value) for key, value in options.items()}
    arm, scene = given["arm"], given["scene"]
    robot = GazeboArm(arm, scene, given.get("sensor"), given.get("seed", 0))
    try:
        robot.read(np.zeros(1, STATE))  # compiles the sensor's kernel now: an armed loop must not stand still for that
        chain = Chain(given.get("chain") or ChainConfig(rate_hz=robot.rate_hz), arm, scene.tool.gripper_range_m)
        return MotorParts(robot, ArmModel(arm, scene.tool), ModelTerms(), chain, arm.home_rad)
    except BaseException:
        robot.stop()
        raise
