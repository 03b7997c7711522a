"""The motor process of an FR3: its configuration, and what it is built from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controllers.motor_config import MotorConfig, MotorParts
from controllers.plain import from_plain, to_plain

if TYPE_CHECKING:
    from controllers.chain import ChainConfig

STALL_TIMEOUT_S = 2.0
"""How long such a process may run no tick: libfranka waits a second for a packet before it says that none comes."""

DELAY_TICKS, REPEAT_TICKS = 1, 20
"""What an FR3 does with a torque: it acts from the packet after the one that it answers, and is repeated for as long as
packets are lost, of which the control box bears at most 20 in a row before it stops by itself."""


def with_drive_reserve(chain: ChainConfig) -> ChainConfig:
    """Returns the chain with energy reserved for torques that act late or are repeated, as an FR3's are.

    Without that reserve the ledger's bound does not hold on it (docs/safety.md, A1 and A2). More than asked for stays.
    """
    ledger = chain.ledger
    late, repeated = max(ledger.delay_ticks, DELAY_TICKS), max(ledger.repeat_ticks, REPEAT_TICKS)
    return replace(chain, ledger=replace(ledger, delay_ticks=late, repeat_ticks=repeated))


def franka_motor(name: str, **parts: Any) -> MotorConfig:
    """Returns the configuration of an FR3's motor process.

    parts: `arm` (ArmDescription), `tool` (ToolDescription), `robot` (FrankaConfig), and if wished `chain`
    (ChainConfig); `realtime` and the other fields of MotorConfig by their names. name: the arm's own, the same each
    time (FrankaConfig.motor_name): a latch outlives its process under that name. Beside it use a link with
    STALL_TIMEOUT_S.
    """
    known = ("arm", "tool", "robot", "chain")
    options = {key: to_plain(parts.pop(key)) for key in known if key in parts}
    return MotorConfig(name=name, builder=f"{__name__}:build_franka_arm", options=options, **parts)


def build_franka_arm(options: dict[str, Any]) -> MotorParts:
    """Builder of `franka_motor`: connects to the robot. Raises UserError in plain words if that does not work."""
    from controllers.arm_model import ArmModel, ModelTerms
    from controllers.chain import Chain, ChainConfig
    from controllers.robots.franka_arm import FrankaArm

    given = {key: from_plain(value) for key, value in options.items()}
    arm, tool = given["arm"], given["tool"]
    robot = FrankaArm(arm, tool, given["robot"])
    config = with_drive_reserve(given.get("chain") or ChainConfig(rate_hz=robot.rate_hz))
    chain = Chain(config, arm, tool.gripper_range_m)
    return MotorParts(robot, ArmModel(arm, tool), ModelTerms(), chain, arm.home_rad)
