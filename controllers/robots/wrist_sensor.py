"""How the wrist force-torque sensor of a simulated arm errs, whichever simulator feels the forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.tool import ToolDescription

WRIST = np.dtype(
    [
        ("weight_n", "f8"),  # as the payload identification found it
        ("R_tool_wrist", "f8", (3, 3)),
        ("com_tool_m", "f8", 3),  # from the wrist's origin, tool axes
        ("control_point_tool_m", "f8", 3),  # from the wrist's origin, tool axes
        ("bias", "f8", 6),  # what a tare left, tool axes
    ],
    align=True,
)
GRAVITY_M_S2 = 9.81
_NOISE_BLOCK = 4096


@dataclass(frozen=True)
class WristSensorConfig:
    """How a wrist force-torque sensor errs after its tool's weight was identified and removed."""

    force_noise_n: float = 0.5
    """Standard deviation of one 1 kHz force sample per axis [N]."""
    moment_noise_nm: float = 0.01
    """Standard deviation of one 1 kHz moment sample per axis [Nm]."""
    force_bias_n: float = 0.2
    """Standard deviation of the force bias that stays after a tare per axis [N]."""
    moment_bias_nm: float = 0.004
    """Standard deviation of the moment bias that stays after a tare per axis [Nm]."""
    mass_error: float = 0.02
    """Share of the tool's weight that the payload identification got wrong."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be a finite number >= 0, got {value}")


class WristSensor:
    """The sensor's own part of a reading: bias, noise, and the weight that it takes the tool to have."""

    def __init__(self, tool: ToolDescription, config: WristSensorConfig, seed: int) -> None:
        self.config = config
        self.record = np.zeros(1, WRIST)
        """For `mujoco_native.sense`."""
        self.record["weight_n"] = tool.mass_kg * GRAVITY_M_S2 * (1.0 + config.mass_error)
        R_tool_wrist = tool.T_flange_tool.rotation.T
        self.record["R_tool_wrist"] = R_tool_wrist
        self.record["com_tool_m"] = R_tool_wrist @ tool.com_flange_m
        self.record["control_point_tool_m"] = R_tool_wrist @ tool.T_flange_tool.position_m
        self._noise = np.zeros((_NOISE_BLOCK, 6))
        self.reseed(seed)

    def tare(self) -> None:
        """Draws the bias that a tare leaves."""
        scale = np.repeat([self.config.force_bias_n, self.config.moment_bias_nm], 3)
        self.record["bias"] = self._rng.normal(size=6) * scale

    def reseed(self, seed: int) -> None:
        """Restarts the random numbers."""
        self._rng = np.random.default_rng(seed)
        self._used = _NOISE_BLOCK

    def take_noise(self, ticks: int) -> NDArray[Any]:
        """The next (ticks, 6) noise samples; drawn in blocks since one draw of many is cheaper than many of one."""
        if self._used + ticks > _NOISE_BLOCK:
            scale = np.repeat([self.config.force_noise_n, self.config.moment_noise_nm], 3)
            self._noise = self._rng.standard_normal((max(_NOISE_BLOCK, ticks), 6)) * scale
            self._used = 0
        first = self._used
        self._used += ticks
        return self._noise[first : first + ticks]

    def give_back(self, ticks: int) -> None:
        """The last samples (ticks, 6) that were taken were not needed, and come again."""
        self._used -= ticks
