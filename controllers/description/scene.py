"""What surrounds the arm: table, fixtures and cameras. A task returns a Scene; the emitters turn it into a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controllers.description.arm import vector
from controllers.description.geometry import Box, Geom, Pose, require_positive
from controllers.description.tool import ToolDescription

RESERVED_NAMES = frozenset(
    {"world", "flange", "tool", "wrist", "floor", "finger_left", "finger_right", *(f"link{i}" for i in range(8))}
)


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """How a body slides on a level surface when pushed, like a bolt that stands on a table, and how hard that is.

    It keeps its height and stays upright. Dry friction along x, along y and about z: each holds the body at rest up
    to its limit. All figures are above 0.
    """

    mass_kg: float
    moment_kg_m2: float  # about the vertical through the fixture's origin, which is also its centre of mass
    friction_n: float  # along the base's x and y axes each
    friction_nm: float  # about the vertical

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require_positive(value, name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fixture:
    """A body that does not move by itself. A movable one can be set to another pose between episodes.

    One with `sliding` is movable, and gives way when pushed; its z axis must be the base's. Raises ValueError if not.
    """

    name: str
    geoms: tuple[Geom, ...]  # in the fixture's frame
    T_base_fixture: Pose = field(default_factory=Pose)
    movable: bool = False
    sliding: Sliding | None = None  # None: nothing pushes it away

    def __post_init__(self) -> None:
        if not self.name or self.name in RESERVED_NAMES:
            raise ValueError(
                f"a fixture needs a name of its own, got {self.name!r}; taken are {sorted(RESERVED_NAMES)}"
            )
        if not self.geoms:
            raise ValueError(f"fixture {self.name!r} needs at least one shape")
        if self.sliding is not None:
            self.require_upright(self.T_base_fixture)
            object.__setattr__(self, "movable", True)

    def require_upright(self, T_base_fixture: Pose) -> None:
        """Raises ValueError for a pose that no sliding body can take: tilted, or at another height (by 1 mm)."""
        z_axis = T_base_fixture.rotation[:, 2]
        rise_m = float(T_base_fixture.position_m[2] - self.T_base_fixture.position_m[2])
        if np.hypot(z_axis[0], z_axis[1]) > 1e-6 or z_axis[2] < 0.0 or abs(rise_m) > 1e-3:
            raise ValueError(
                f"sliding fixture {self.name!r} stays upright at a height of {self.T_base_fixture.position_m[2]:g} m, "
                f"got z axis {z_axis.tolist()} and a height of {T_base_fixture.position_m[2]:g} m"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraDescription:
    """A pinhole camera in optical axes (z forward, x right, y down), fixed to the base or carried by the flange."""

    name: str
    T_base_camera: Pose | None = None  # exactly one of the two is given
    T_flange_camera: Pose | None = None
    fovy_deg: float = 45.0  # vertical field of view, 1..170
    width_px: int = 64
    height_px: int = 64

    def __post_init__(self) -> None:
        if (self.T_base_camera is None) == (self.T_flange_camera is None):
            raise ValueError(f"camera {self.name!r} needs exactly one of T_base_camera and T_flange_camera")
        if not 1.0 <= self.fovy_deg <= 170.0:
            raise ValueError(f"camera {self.name!r}: fovy_deg must be 1..170, got {self.fovy_deg}")
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"camera {self.name!r}: picture size must be at least 1x1 pixels")

    @property
    def pose(self) -> Pose:
        """The pose in the frame that carries the camera (base or flange)."""
        pose = self.T_base_camera if self.T_base_camera is not None else self.T_flange_camera
        if pose is None:
            raise ValueError(f"camera {self.name!r} has no pose")
        return pose


def table(
    length_m: float = 1.10, width_m: float = 1.00, thickness_m: float = 0.04, top_m: float = 0.0, friction: float = 0.3
) -> Fixture:
    """Returns a table top under and in front of the arm, its upper face at z = `top_m` of the base frame."""
    require_positive(thickness_m, "thickness_m")
    top = Box(size_m=(length_m, width_m, thickness_m), rgba=(0.78, 0.70, 0.60, 1.0), friction=friction)
    return Fixture(name="table", geoms=(top,), T_base_fixture=Pose(vector((0.35, 0.0, top_m - thickness_m / 2))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Tool, table, fixtures and cameras around one arm. Raises ValueError for repeated names."""

    tool: ToolDescription
    fixtures: tuple[Fixture, ...] = ()
    cameras: tuple[CameraDescription, ...] = ()
    table: Fixture | None = field(default_factory=table)

    def __post_init__(self) -> None:
        for kind, names in (
            ("fixture", [fixture.name for fixture in self.bodies]),
            ("camera", [camera.name for camera in self.cameras]),
        ):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{kind} names must differ from each other, got {repeated} more than once")

    @property
    def bodies(self) -> tuple[Fixture, ...]:
        """All fixtures, the table first where there is one."""
        return self.fixtures if self.table is None else (self.table, *self.fixtures)

    def fixture(self, name: str) -> Fixture:
        """Returns the fixture of that name; raises KeyError with the names that exist."""
        for fixture in self.bodies:
            if fixture.name == name:
                return fixture
        raise KeyError(f"no fixture {name!r}; there are {[fixture.name for fixture in self.bodies]}")
