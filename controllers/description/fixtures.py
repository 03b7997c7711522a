"""Fixtures that several tasks and tests need."""

from __future__ import annotations

from controllers.description.arm import vector
from controllers.description.geometry import Box, Capsule, ContactSoftness, Geom, Pose, Rgba, require_positive
from controllers.description.scene import Fixture, Sliding

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


def channel(
    length_m: float,
    width_m: float,
    height_m: float = 0.030,
    *,
    name: str = "channel",
    wall_m: float = 0.020,
    stand_m: float = 0.0,
    friction: float = 0.3,
    T_base_fixture: Pose | None = None,
    rgba: Rgba = (0.35, 0.45, 0.60, 1.0),
) -> Fixture:
    """Returns a straight channel, open at both ends: two walls, and a floor under them that is only to be seen.

    The fixture's frame is the middle of the entrance on the floor: x along the channel, y across, z up. `width_m` is
    that between the walls. A `stand_m` above 0 makes the floor so thick. Raises ValueError for sizes of 0 or less.
    """
    for key, value in {"length_m": length_m, "width_m": width_m, "height_m": height_m, "wall_m": wall_m}.items():
        require_positive(value, key)
    walls = tuple(
        Box(
            pose=Pose(vector((length_m / 2, side * (width_m + wall_m) / 2, height_m / 2))),
            size_m=(length_m, wall_m, height_m),
            friction=friction,
            rgba=rgba,
        )
        for side in (-1.0, 1.0)
    )
    thickness_m = stand_m or 0.004
    floor = Box(
        pose=Pose(vector((length_m / 2, 0.0, -thickness_m / 2))),
        size_m=(length_m, width_m + 2.0 * wall_m, thickness_m),
        rgba=_POST,
        collides=False,
    )
    return Fixture(name=name, geoms=(*walls, floor), T_base_fixture=T_base_fixture or Pose())


def baffle(
    name: str,
    gap_m: float,
    length_m: float,
    height_m: float = 0.030,
    thickness_m: float = 0.010,
    *,
    friction: float = 0.3,
    T_base_fixture: Pose | None = None,
    rgba: Rgba = (0.75, 0.55, 0.30, 1.0),
) -> Fixture:
    """Returns a movable wall along y with a gap: two boxes of `length_m` each, long enough to reach beyond a channel.

    The fixture's frame is the middle of the gap on the floor, z up. Raises ValueError for sizes of 0 or less.
    """
    require_positive(gap_m, "gap_m")
    halves = tuple(
        Box(
            pose=Pose(vector((0.0, side * (gap_m + length_m) / 2, height_m / 2))),
            size_m=(thickness_m, length_m, height_m),
            friction=friction,
            rgba=rgba,
        )
        for side in (-1.0, 1.0)
    )
    return Fixture(name=name, geoms=halves, T_base_fixture=T_base_fixture or Pose(), movable=True)


def bolt(
    name: str,
    radius_m: float = 0.008,
    height_m: float = 0.026,
    *,
    mass_kg: float = 0.8,
    slip_n: float = 2.4,
    friction: float = 0.2,
    contact: ContactSoftness | None = None,
    T_base_fixture: Pose | None = None,
    rgba: Rgba = (0.80, 0.25, 0.20, 1.0),
) -> Fixture:
    """Returns a round bolt that stands upright on a level surface and slides when pushed with more than `slip_n`.

    The fixture's frame is on the surface, z up, in the bolt's axis. The moment that turns it on the spot is `slip_n`
    times two thirds of its radius: dry friction under an evenly loaded disc.
    """
    if not height_m > 2.0 * radius_m:
        raise ValueError(f"{name}: a bolt must be higher than it is thick, got {height_m} m and {2.0 * radius_m} m")
    shape = Capsule(
        pose=Pose(vector((0.0, 0.0, height_m / 2))),
        radius_m=radius_m,
        length_m=height_m - 2.0 * radius_m,
        friction=friction,
        contact=contact,
        rgba=rgba,
    )
    sliding = Sliding(
        mass_kg=mass_kg,
        moment_kg_m2=0.5 * mass_kg * radius_m**2,
        friction_n=slip_n,
        friction_nm=slip_n * radius_m * 2.0 / 3.0,
    )
    return Fixture(name=name, geoms=(shape,), T_base_fixture=T_base_fixture or Pose(), sliding=sliding)
