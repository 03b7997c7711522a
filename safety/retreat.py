"""The way back: where the control point has been, and a retreat along it."""

from __future__ import annotations

import math

import numpy as np

from safety.compilation import Floats, Record, kernel

CAPACITY = 16
SPACING_M = 0.002
"""Distance of the stored points: with CAPACITY of them the last 32 mm are known."""

PATH = np.dtype(
    [
        ("count", "i8"),  # points stored
        ("newest", "i8"),  # index of the newest one in the ring
        ("points", "f8", (CAPACITY, 3)),
        ("gone_m", "f8"),  # length of the retreat so far
    ],
    align=True,
)


@kernel
def distance_to_newest(path: Record, position: Floats) -> float:
    """Distance [m] of position (3,) from the newest point."""
    p = path.points[path.newest]
    return math.sqrt((position[0] - p[0]) ** 2 + (position[1] - p[1]) ** 2 + (position[2] - p[2]) ** 2)


@kernel
def note_position(path: Record, position: Floats) -> None:
    """Stores a measured position (3,) if it is SPACING_M away from the one stored last."""
    if path.count > 0 and distance_to_newest(path, position) < SPACING_M:
        return
    path.newest = (path.newest + 1) % CAPACITY
    path.count = min(path.count + 1, CAPACITY)
    for i in range(3):
        path.points[path.newest, i] = position[i]


@kernel
def step_back(path: Record, reference: Floats, length_m: float, goal: Floats) -> None:
    """Puts the goal (3,) at the next older point as the reference (3,) comes near the former one.

    Points that were gone back to are forgotten, so that the next retreat leads farther. The goal stays where it is once
    the retreat is length_m long (to SPACING_M) or the path is at its end.
    """
    gx, gy, gz = goal[0] - reference[0], goal[1] - reference[1], goal[2] - reference[2]
    near = math.sqrt(gx * gx + gy * gy + gz * gz) < SPACING_M
    if not near or path.count == 0 or path.gone_m >= length_m:
        return
    path.gone_m += distance_to_newest(path, goal)
    for i in range(3):
        goal[i] = path.points[path.newest, i]
    path.newest = (path.newest - 1) % CAPACITY
    path.count -= 1
