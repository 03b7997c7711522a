"""Settings of teleoperation that one command line needs: device, its shape, frames. `teleop_config.<key>=<value>`."""

from __future__ import annotations

import math
from collections.abc import Mapping as SettingsMapping
from dataclasses import dataclass, fields
from typing import Any

from data.errors import UserError
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.actions import ActionSpec
from robot_rl.teleop.devices.base import Device
from robot_rl.teleop.devices.calibration import Calibration
from robot_rl.teleop.devices.finding import make_device
from robot_rl.teleop.mapping import Mapping, MappingConfig

_SIX = 6


@dataclass(frozen=True)
class TeleopConfig:
    """Device and mapping."""

    device: str = ""
    """Path such as /dev/input/event5; "" takes the only device of the kind. Not for the keyboard."""
    dead_zone: float = 0.1
    """Share of a stick's way that counts as rest, in [0, 1)."""
    expo: float = 0.5
    """Share of the cubic part of each axis' curve, in [0, 1]."""
    axis_scale: tuple[float, ...] = (1.0,) * _SIX
    """Factor on each axis (x, y, z, rx, ry, rz), in [-1, 1]; a negative one turns it round, 0 switches it off."""
    frame: str = "view"
    """view, base or tool: the axes along which a stick moves the tool."""
    view_yaw_rad: float = 0.0
    """Where the person looks, about the base's z axis [rad]; 0 is along the base's x axis."""
    rotation_frame: str = "tool"
    """tool: twisting turns about the tool's axes; same: about those of `frame`."""
    level: int = 3
    """Speed level at the start, 0 (precise, a tenth) to 5 (the task's largest increments)."""
    episode_s: float = 60.0
    """Longest episode of a person while collecting [s], > 0; a task's own limit where that is longer."""
    realtime: bool = True
    """Whether the motor process takes its measures against late ticks (a core of its own, SCHED_FIFO)."""

    def __post_init__(self) -> None:
        if not 0.0 < self.episode_s < math.inf:
            raise UserError(f"teleop_config.episode_s must be a time above 0 s, got {self.episode_s}")
        self.calibration()
        self.mapping()

    def calibration(self) -> Calibration:
        """Returns the shape of the axes. Raises UserError for one that does not fit."""
        if len(self.axis_scale) != _SIX:
            raise UserError(f"teleop_config.axis_scale needs {_SIX} numbers, got {list(self.axis_scale)}")
        return Calibration((self.dead_zone,) * _SIX, (self.expo,) * _SIX, self.axis_scale)

    def mapping(self) -> MappingConfig:
        """Returns which way the stick points. Raises UserError for a frame that there is not."""
        return MappingConfig(self.frame, self.view_yaw_rad, self.rotation_frame, self.level)

    def make_device(self, name: str) -> Device:
        """Returns the device of this name, not yet opened."""
        return make_device(name, self.device, self.calibration())

    def make_mapping(self, spec: ActionSpec) -> Mapping:
        """Returns the mapping to a task's actions."""
        return Mapping(spec, self.mapping())


def teleop_from(values: SettingsMapping[str, Any]) -> TeleopConfig:
    """Returns what `teleop_config.<key>=<value>` asks for. Raises UserError for what there is none of."""
    known = [entry.name for entry in fields(TeleopConfig)]
    for key in values:
        if key not in known:
            raise UserError(f"unknown setting teleop_config.{key}; {expected_names(key, known)}")
    return TeleopConfig(**as_declared(TeleopConfig, values))
