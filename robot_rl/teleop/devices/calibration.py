"""From what a stick reports to what the person means: dead zones, a curve, scale and sign of each axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from robot_rl.teleop.devices.base import AXES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Shape of each axis, in the order of AXES."""

    dead_zone: tuple[float, ...] = (0.1,) * 6
    """Raw values below this count as none, in [0, 1): a stick that is let go never comes back to 0 exactly."""
    expo: tuple[float, ...] = (0.5,) * 6
    """Share of the cubic part of the curve, in [0, 1]: 0 is linear, 1 is finest about the middle."""
    scale: tuple[float, ...] = (1.0,) * 6
    """Factor on each axis, in [-1, 1]; a negative one turns the axis round, 0 switches it off."""

    def __post_init__(self) -> None:
        for name, low, high in (("dead_zone", 0.0, 0.99), ("expo", 0.0, 1.0), ("scale", -1.0, 1.0)):
            values = getattr(self, name)
            if len(values) != len(AXES) or not all(math.isfinite(v) and low <= v <= high for v in values):
                raise UserError(f"{name} needs {len(AXES)} numbers within [{low:g}, {high:g}], got {values}")

    def shape(self, raw: Array) -> Array:
        """Returns the meant axes (6,) in [-1, 1] of raw ones (6,), which are clipped to [-1, 1] first.

        With x = (abs(raw) - d) / (1 - d), 0 within the dead zone d, it is scale * sign(raw) * ((1 - e) x + e x^3): it
        begins at 0 at the border of the dead zone, rises monotonically, and reaches the scale at full deflection.
        A raw number that is not finite counts as none.
        """
        raw = np.clip(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
        dead, expo = np.array(self.dead_zone), np.array(self.expo)
        share = np.clip((np.abs(raw) - dead) / (1.0 - dead), 0.0, 1.0)
        shaped: Array = np.array(self.scale) * np.sign(raw) * ((1.0 - expo) * share + expo * share**3)
        return shaped
