"""Where the walls and bolts of a maze stand: everything follows from its seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose

Array = NDArray[np.float64]

SEEDS = {"train": (0, 100_000), "heldout": (1_000_000, 1_001_000)}
"""Seeds [first, end) of the mazes to learn from and of those kept for judging; disjoint, and never to be changed."""
_STREAM = 20_240_613
"""Makes a maze's random numbers others than those of anything else that is seeded with a small number."""


@dataclass(frozen=True)
class MazeShape:
    """Sizes that all mazes share."""

    length_m: float = 0.24
    """Length of the channel [m]."""
    width_m: float = 0.12
    """Width between the channel's walls [m]."""
    gap_m: float = 0.045
    """Width of the gap in a baffle [m]."""
    baffles: int = 2
    """Walls across the channel, each with one gap; 1 to 3."""
    bolts: int = 3
    """Bolts that slide when pushed, behind the first baffle."""
    bolt_radius_m: float = 0.008
    """Radius of a bolt [m]."""
    baffle_shift_m: float = 0.008
    """A baffle stands up to this off its even spacing along the channel [m]; less where they stand close."""
    baffle_slant_rad: float = 0.12
    """A baffle is turned by up to this about the vertical [rad]; less where they stand close."""
    gap_change_m: float = 0.025
    """Two gaps that follow each other lie at least this far apart across the channel [m]."""

    @property
    def spacing_m(self) -> float:
        """Even spacing of the baffles, which is also a compartment's length."""
        return self.length_m / (self.baffles + 1)

    @property
    def looseness(self) -> float:
        """Share of shift and slant that leaves a bolt room between two baffles."""
        return min(1.0, self.spacing_m / 0.08)


def layout(seed: int, shape: MazeShape) -> dict[str, Pose]:
    """Returns the poses T_channel_fixture of `baffle0`.. and `bolt0`.. of the maze with this seed.

    The channel's frame: origin on the floor in the middle of the entrance, x along the channel, z up.
    """
    rng = np.random.default_rng([_STREAM, seed])
    baffles = _baffles(rng, shape)
    return {**baffles, **_bolts(rng, shape, [*baffles.values(), Pose(np.array([shape.length_m, 0.0, 0.0]))])}


def _baffles(rng: np.random.Generator, shape: MazeShape) -> dict[str, Pose]:
    """Gaps are drawn anew until they are far enough from the one before, so that no maze can be passed straight."""
    poses, before_m = {}, np.inf
    reach_m = 0.5 * (shape.width_m - shape.gap_m)
    for index in range(shape.baffles):
        x_m = (index + 1) * shape.spacing_m + rng.uniform(-1.0, 1.0) * shape.looseness * shape.baffle_shift_m
        slant_rad = rng.uniform(-1.0, 1.0) * shape.looseness * shape.baffle_slant_rad
        y_m = rng.uniform(-reach_m, reach_m)
        while abs(y_m - before_m) < shape.gap_change_m:
            y_m = rng.uniform(-reach_m, reach_m)
        poses[f"baffle{index}"] = Pose.from_rpy((x_m, y_m, 0.0), (0.0, 0.0, slant_rad))
        before_m = y_m
    return poses


def _bolts(rng: np.random.Generator, shape: MazeShape, walls: list[Pose]) -> dict[str, Pose]:
    """Bolts stand halfway between the baffles in turn; those of one compartment share its width evenly."""
    poses: dict[str, Pose] = {}
    for compartment in range(shape.baffles):
        names = [f"bolt{index}" for index in range(compartment, shape.bolts, shape.baffles)]
        strip_m = shape.width_m / max(1, len(names))
        room_m = 0.5 * strip_m - shape.bolt_radius_m - 0.003
        for order, name in enumerate(names):
            y_m = -0.5 * shape.width_m + (order + 0.5) * strip_m + rng.uniform(-room_m, room_m)
            x_m = 0.5 * (_wall_at(walls[compartment], y_m) + _wall_at(walls[compartment + 1], y_m))
            poses[name] = Pose(np.array([x_m, y_m, 0.0]))
    return poses


def _wall_at(wall: Pose, y_m: float) -> float:
    """Where along the channel a slanted wall's middle plane is at a place across it [m]."""
    return float(wall.position_m[0] - np.tan(wall.rpy_rad[2]) * (y_m - wall.position_m[1]))
