"""Fixtures that several tasks and tests need."""

from __future__ import annotations

from controllers.description.arm import vector
from controllers.description.geometry import Box, Geom, Pose, Rgba, require_positive
from controllers.description.scene import Fixture

_POST: Rgba = (0.30, 0.32, 0.35, 1.0)


def square_hole_plate(
    hole_m: float,
    depth_m: float = 0.030,
    *,
    name: str = "plate",
    outer_m: float = 0.160,
    floor_m: float = 0.010,
    stand_m: float = 0.0,
    friction: float = 0.3,
    T_base_fixture: Pose | None = None,
    movable: bool = True,
    rgba: Rgba = (0.35, 0.45, 0.60, 1.0),
) -> Fixture:
    """Returns a plate with a square hole of edge `hole_m` and sharp rims: four boxes around it and a floor under it.

    The fixture's frame is the centre of the hole's mouth, z up (out of the hole). The boxes overlap nowhere. A
    `stand_m` above 0 puts a post of that height under the plate. Raises ValueError for a hole as large as the plate.
    """
    for key, value in {"hole_m": hole_m, "depth_m": depth_m, "floor_m": floor_m}.items():
        require_positive(value, key)
    if outer_m <= hole_m:
        raise ValueError(f"outer_m must be above hole_m, got {outer_m} and {hole_m}")
    width = (outer_m - hole_m) / 2
    centre = (outer_m + hole_m) / 4
    height = depth_m + floor_m

    def box(x: float, y: float, z: float, size: tuple[float, float, float], colour: Rgba) -> Geom:
        return Box(pose=Pose(vector((x, y, z))), size_m=size, friction=friction, rgba=colour)

    walls = tuple(
        box(x, y, -height / 2, size, rgba)
        for x, y, size in (
            (centre, 0.0, (width, outer_m, height)),
            (-centre, 0.0, (width, outer_m, height)),
            (0.0, centre, (hole_m, width, height)),
            (0.0, -centre, (hole_m, width, height)),
        )
    )
    bottom = box(0.0, 0.0, -depth_m - floor_m / 2, (hole_m, hole_m, floor_m), (0.15, 0.17, 0.20, 1.0))
    below = -depth_m - floor_m - stand_m / 2
    post = (box(0.0, 0.0, below, (outer_m / 2, outer_m / 2, stand_m), _POST),) if stand_m > 0.0 else ()
    return Fixture(name=name, geoms=(*walls, bottom, *post), T_base_fixture=T_base_fixture or Pose(), movable=movable)
