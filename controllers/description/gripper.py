"""The two fingers of a parallel gripper: boxes that slide along the tool's y axis, always at equal distances from it.

The opening is the distance between the pads. The fingers are part of the tool: its mass properties hold for the
nominal opening, the middle of its range. Kinematic models keep the fingers there. At another opening the centre of
mass stays, since the fingers move apart evenly; the inertia differs by 2 m ((w/2 + t/2)^2 - (w_nominal/2 + t/2)^2):
4.2e-5 kg m^2 at most for the fingers below, less than a thousandth of the lightest joint's motor inertia.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Box, Pose, Rgba, Vector3, require_positive

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
"""Left opens along +y of the tool, right along -y."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FingerDescription:
    """Two equal fingers and the drive that moves both; the defaults are those of a Franka Hand."""

    size_m: Vector3 = (0.020, 0.010, 0.045)  # along the tool's x, y (thickness) and z (length)
    beyond_m: float = 0.008  # how far the finger tips stand beyond the control point along the tool's z
    mass_kg: float = 0.015  # of one finger
    max_force_n: float = 70.0  # between the pads, for as long as it likes
    max_speed_m_s: float = 0.1  # of the opening
    drive_inertia_kg: float = 4.0  # of the drive, seen at one finger; high behind a gear
    friction: float = 0.8  # of the pads
    rgba: Rgba = (0.30, 0.32, 0.35, 1.0)

    def __post_init__(self) -> None:
        for name in ("mass_kg", "max_force_n", "max_speed_m_s", "drive_inertia_kg"):
            require_positive(getattr(self, name), f"fingers: {name}")
        self.box("left")  # checks the shape

    @property
    def moments_kg_m2(self) -> NDArray[np.float64]:
        """Moments of inertia (3,) of one finger, a solid box, about its centre in tool axes."""
        squares = np.square(self.size_m)
        moments: NDArray[np.float64] = self.mass_kg / 12.0 * (squares.sum() - squares)
        return moments

    def axis(self, side: Side) -> Vector3:
        """Direction in which a finger opens, tool axes."""
        return (0.0, 1.0, 0.0) if side == "left" else (0.0, -1.0, 0.0)

    def centre_m(self, side: Side, opening_m: float) -> NDArray[np.float64]:
        """Centre (3,) of a finger in the tool frame at an opening [m]."""
        across, length = 0.5 * (opening_m + self.size_m[1]), self.size_m[2]
        return np.array([0.0, self.axis(side)[1] * across, self.beyond_m - 0.5 * length])

    def box(self, side: Side, opening_m: float = 0.0) -> Box:
        """The shape of a finger in the tool frame at an opening [m]."""
        pose = Pose(self.centre_m(side, opening_m))
        return Box(pose=pose, size_m=self.size_m, rgba=self.rgba, friction=self.friction)
