"""Configurations of the nodes: one dataclass a node, one sentence a field; they become ROS parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controllers.robots.names import ARMS, SIMULATED
from robot_rl.config import TRAINING_SEEDS_BELOW
from robot_rl.options import REQUIRED, Config, option
from robot_rl.teleop.devices.finding import DEVICES

_TASK = "Task whose tool, fixtures and limits the arm works with; `robot-rl tasks` lists them."


@dataclass
class ControllerConfig(Config):
    """The arm behind topics: owns the motor process."""

    robot: str = option("mujoco", "Arm: `mujoco` or `gazebo` (simulated), or `fr3`.", choices=ARMS)
    motor: str = option("", "Name of a simulated arm's motor process; by default the namespace, or `arm`.")
    task: str = option("peg_insertion", _TASK)
    variant: str = option("default", "Variant of the task.")
    seed: int = option(0, "Seed of the simulated sensor.", low=0)
    realtime: bool = option(True, "Whether the motor process takes its measures against late ticks.")
    state_rate_hz: float = option(
        100.0, "Rate of joint_states, current_pose and wrench.", unit="Hz", low=1.0, high=1000.0
    )
    report_rate_hz: float = option(
        200.0, "Rate of the batches of tick reports, where somebody reads them.", unit="Hz", low=20.0, high=500.0
    )
    target_duration_s: float = option(
        0.25, "How long one target counts; after that it ages.", unit="s", low=0.05, high=10.0
    )
    silence_s: float = option(
        1.0, "After this silence of whoever commands, another may.", unit="s", low=0.25, high=60.0
    )
    supervisor_required: bool | None = option(
        None, "Whether the arm holds while no supervisor sits at its buttons; by default every arm but a simulated one."
    )
    accept_critic: bool = option(False, "Whether whoever commands may replace the safety critic's weights over topics.")
    k_pos: list[float] = option(
        [400.0, 400.0, 400.0], "Stiffness of targets without one of their own, base axes.", unit="N/m", low=0.0,
        high=1000.0, may_change=True,
    )  # fmt: skip
    k_rot: list[float] = option(
        [30.0, 30.0, 30.0], "Likewise, about base axes.", unit="Nm/rad", low=0.0, high=60.0, may_change=True
    )
    damping_ratio: float = option(0.9, "Damping ratio of such targets.", low=0.5, high=2.0, may_change=True)
    robot_config: dict[str, Any] = option({}, "Settings of the arm's driver, such as its address.")
    task_config: dict[str, Any] = option({}, "Further settings of the task.")
    safety_config: dict[str, Any] = option({}, "Layers between policy and motors, all on by default.")

    @property
    def needs_supervisor(self) -> bool:
        """Whether the arm holds while no supervisor sits at its buttons."""
        return self.robot not in SIMULATED if self.supervisor_required is None else self.supervisor_required


@dataclass
class PolicyConfig(Config):
    """A trained run acts over the topics of a controller node."""

    run: str = option(REQUIRED, "Run folder of finetune, pretrain or quickstart.")
    begin: bool = option(False, "Whether it acts at once, without a call of its service `start`.")
    episodes: int = option(0, "Episodes to act; 0: until it is stopped.", low=0)
    human: bool = option(False, "Whether a person at a teleoperation node may take over.")
    deterministic: bool = option(True, "Act without exploration noise.")
    seed: int = option(TRAINING_SEEDS_BELOW, "Seed of the first episode.", low=TRAINING_SEEDS_BELOW)


@dataclass
class CameraNodeConfig(Config):
    """One camera behind topics."""

    name: str = option("wrist", "Name of the camera, as the task's scene calls it; the first part of its topics.")
    source: str = option("software", "`serial:<number>`, `file:<path>`, `software` (test pattern) or `mujoco`.")
    width_px: int = option(640, "Width that the camera is asked for.", unit="px", low=1, high=8192)
    height_px: int = option(480, "Height that the camera is asked for.", unit="px", low=1, high=8192)
    rate_hz: float = option(30.0, "Rate that the camera is asked for.", unit="Hz", low=1.0, high=300.0)
    depth: bool = option(False, "Whether depth is published as well, drawn into the colour picture's pixels.")
    exposure_ms: float = option(0.0, "Exposure; 0: the camera chooses.", unit="ms", low=0.0, high=1000.0)
    delay_s: float = option(
        0.0, "From exposure to arrival of the quickest frame, from a calibration.", unit="s", low=0.0, high=0.2
    )
    hold_without: bool = option(True, "Whether the arm holds while this camera shows nothing new.")
    motor: str = option("", "Motor process that source=mujoco follows; by default the namespace, or `arm`.")
    task: str = option("peg_insertion", _TASK)
    variant: str = option("default", "Variant of the task.")


@dataclass
class TeleopNodeConfig(Config):
    """A person's device behind a topic, and the person who drives with it."""

    device: str = option("gamepad", "What the person holds.", choices=tuple(name for name in DEVICES if name != "ros"))
    path: str = option("", "Path of the device such as /dev/input/event5; by default the only one of its kind.")
    drive: bool = option(False, "Whether the arm follows the device from the start, without a call of `start`.")
    dead_zone: float = option(0.1, "Share of a stick's way that counts as rest.", low=0.0, high=0.9)
    expo: float = option(0.5, "Share of the cubic part of each axis' curve.", low=0.0, high=1.0)
    frame: str = option("view", "Axes along which a stick moves the tool.", choices=("view", "base", "tool"))
    view_yaw_rad: float = option(
        0.0, "Where the person looks, about the base's z axis.", unit="rad", low=-6.3, high=6.3
    )
    level: int = option(3, "Speed level at the start, 0 (a tenth) to 5 (the task's largest increments).", low=0, high=5)
    task: str = option("peg_insertion", _TASK)
    variant: str = option("default", "Variant of the task.")
    task_config: dict[str, Any] = option({}, "Further settings of the task.")
