"""What is bolted to the flange: mass properties, control point and shapes, all in the flange frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from controllers.description.arm import Inertia, physical_inertia, vector
from controllers.description.geometry import (
    Box,
    Capsule,
    ContactSoftness,
    Cylinder,
    Geom,
    Pose,
    frozen_vector,
    require_positive,
)
from controllers.description.gripper import SIDES, FingerDescription

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolDescription:
    """A rigid tool, or a parallel gripper. `T_flange_tool` is the control point: its z axis points away from the arm.

    A gripper's fingers stand about the control point and count in its mass properties, at `nominal_opening_m`.
    """

    name: str
    mass_kg: float  # above 0
    com_flange_m: Array  # centre of mass (3,)
    inertia_flange_kg_m2: Array  # (3, 3) about the centre of mass, flange axes
    T_flange_tool: Pose
    geoms: tuple[Geom, ...] = ()  # in the flange frame
    gripper_range_m: tuple[float, float] | None = None  # closed and open width; None: it has no gripper
    fingers: FingerDescription = field(default_factory=FingerDescription)  # of a tool with a gripper

    def __post_init__(self) -> None:
        require_positive(self.mass_kg, f"{self.name}: mass_kg")
        object.__setattr__(self, "com_flange_m", frozen_vector(self.com_flange_m, 3, "com_flange_m"))
        object.__setattr__(self, "inertia_flange_kg_m2", physical_inertia(self.inertia_flange_kg_m2))
        if self.gripper_range_m is not None and not 0.0 <= self.gripper_range_m[0] < self.gripper_range_m[1]:
            raise ValueError(f"{self.name}: gripper_range_m needs 0 <= closed < open, got {self.gripper_range_m}")
        if self.gripper_range_m is not None:
            self._require_room_for_fingers()

    def _require_room_for_fingers(self) -> None:
        try:
            self.without_fingers()
        except ValueError as error:
            raise ValueError(
                f"{self.name}: mass properties must hold those of two fingers of {self.fingers.mass_kg:g} kg at "
                f"{self.nominal_opening_m:g} m opening, but without them {error}"
            ) from error

    @property
    def nominal_opening_m(self) -> float:
        """The opening at which the mass properties hold: the middle of the range. Raises ValueError without gripper."""
        if self.gripper_range_m is None:
            raise ValueError(f"{self.name} has no gripper")
        return 0.5 * sum(self.gripper_range_m)

    def finger_boxes(self) -> tuple[Box, ...]:
        """The fingers in the flange frame at the nominal opening; () without gripper."""
        if self.gripper_range_m is None:
            return ()
        boxes = [self.fingers.box(side, self.nominal_opening_m) for side in SIDES]
        return tuple(replace(box, pose=self.T_flange_tool.compose(box.pose)) for box in boxes)

    def without_fingers(self) -> Inertia:
        """Mass properties without the fingers, flange frame. Raises ValueError if no body could have them.

        With the whole tool's m, c, I and the fingers' m_i, c_i, I_i: m' = m - sum m_i, c' = (m c - sum m_i c_i) / m',
        I' = I + P(m, c) - sum (I_i + P(m_i, c_i)) - P(m', c'), where P(m, r) = m (|r|^2 1 - r r^T).
        """
        mass, moment = self.mass_kg, self.mass_kg * self.com_flange_m
        about_flange = self.inertia_flange_kg_m2 + _steiner(self.mass_kg, self.com_flange_m)
        R = self.T_flange_tool.rotation
        own = R @ np.diag(self.fingers.moments_kg_m2) @ R.T
        for box in self.finger_boxes():
            mass, moment = mass - self.fingers.mass_kg, moment - self.fingers.mass_kg * box.pose.position_m
            about_flange = about_flange - own - _steiner(self.fingers.mass_kg, box.pose.position_m)
        require_positive(mass, "mass_kg")
        inertia = about_flange - _steiner(mass, moment / mass)
        return Inertia(mass_kg=mass, com_m=moment / mass, matrix_kg_m2=0.5 * (inertia + inertia.T))


def square_peg_tool(
    side_m: float = 0.020,
    length_m: float = 0.060,
    *,
    holder_radius_m: float = 0.025,
    holder_length_m: float = 0.050,
    density_kg_m3: float = 2700.0,
    friction: float = 0.3,
) -> ToolDescription:
    """Returns a square peg rigidly held by a round holder, both of solid aluminium by default.

    The control point is the centre of the peg's tip face; tool z is the insertion direction and equals flange z. The
    peg is one box: corner spheres would act as a chamfer.
    """
    for name, value in {"side_m": side_m, "length_m": length_m, "density_kg_m3": density_kg_m3}.items():
        require_positive(value, name)
    holder = Cylinder(
        pose=Pose(vector((0.0, 0.0, holder_length_m / 2))),
        radius_m=holder_radius_m,
        length_m=holder_length_m,
        rgba=(0.22, 0.24, 0.27, 1.0),
        friction=friction,
    )
    peg = Box(
        pose=Pose(vector((0.0, 0.0, holder_length_m + length_m / 2))),
        size_m=(side_m, side_m, length_m),
        rgba=(0.95, 0.55, 0.15, 1.0),
        friction=friction,
    )
    mass, com, inertia = solid_mass_properties((holder, peg), density_kg_m3)
    return ToolDescription(
        name="square_peg",
        mass_kg=mass,
        com_flange_m=com,
        inertia_flange_kg_m2=inertia,
        T_flange_tool=Pose(vector((0.0, 0.0, holder_length_m + length_m))),
        geoms=(holder, peg),
    )


def round_finger_tool(
    radius_m: float = 0.010,
    length_m: float = 0.070,
    *,
    holder_radius_m: float = 0.025,
    holder_length_m: float = 0.040,
    density_kg_m3: float = 2700.0,
    friction: float = 0.3,
    contact: ContactSoftness | None = None,
) -> ToolDescription:
    """Returns a round finger with a domed end on a round holder, both of solid aluminium by default.

    The control point is the lowest point of the dome; tool axes are the flange's. The finger is a capsule, which
    MuJoCo tests against boxes and capsules in closed form. `contact` is how its surface gives way.
    """
    for name, value in {"radius_m": radius_m, "density_kg_m3": density_kg_m3}.items():
        require_positive(value, name)
    if not length_m > radius_m:
        raise ValueError(f"a finger with a domed end must be longer than its radius {radius_m} m, got {length_m} m")
    holder = Cylinder(
        pose=Pose(vector((0.0, 0.0, holder_length_m / 2))),
        radius_m=holder_radius_m,
        length_m=holder_length_m,
        rgba=(0.22, 0.24, 0.27, 1.0),
        friction=friction,
    )
    middle = Pose(vector((0.0, 0.0, holder_length_m + length_m / 2)))
    finger = Capsule(
        pose=Pose(vector((0.0, 0.0, holder_length_m + (length_m - radius_m) / 2))),
        radius_m=radius_m,
        length_m=length_m - radius_m,
        rgba=(0.95, 0.55, 0.15, 1.0),
        friction=friction,
        contact=contact,
    )
    solid = Cylinder(pose=middle, radius_m=radius_m, length_m=length_m)
    mass, com, inertia = solid_mass_properties((holder, solid), density_kg_m3)
    return ToolDescription(
        name="round_finger",
        mass_kg=mass,
        com_flange_m=com,
        inertia_flange_kg_m2=inertia,
        T_flange_tool=Pose(vector((0.0, 0.0, holder_length_m + length_m))),
        geoms=(holder, finger),
    )


def parallel_gripper_tool(gripper_range_m: tuple[float, float] = (0.0, 0.08)) -> ToolDescription:
    """Returns a parallel gripper with the mass properties, opening, force and speed of a Franka Hand.

    The control point lies between the finger pads; the hand is turned by -45 degrees about the flange's z axis, so
    that it opens along the base frame's y axis at the FR3's home.
    """
    T_flange_tool = Pose.from_rpy((0.0, 0.0, 0.1034), (0.0, 0.0, -np.pi / 4))
    R = T_flange_tool.rotation
    palm = Box(
        pose=Pose(vector((0.0, 0.0, 0.033)), T_flange_tool.quaternion_xyzw),
        size_m=(0.045, 0.204, 0.066),
        rgba=(0.92, 0.92, 0.92, 1.0),
    )
    return ToolDescription(
        name="parallel_gripper",
        mass_kg=0.76,  # hand 0.73, fingers 0.015 each
        com_flange_m=R @ np.array([-0.0096, 0.0, 0.0323]),
        inertia_flange_kg_m2=R @ np.diag([0.00112, 0.0026, 0.00172]) @ R.T,
        T_flange_tool=T_flange_tool,
        geoms=(palm,),
        gripper_range_m=gripper_range_m,
    )


def _steiner(mass_kg: float, r_m: Array) -> Array:
    """m (|r|^2 1 - r r^T): what a mass at r (3,) adds to an inertia (3, 3) about the origin."""
    added: Array = mass_kg * (r_m @ r_m * np.eye(3) - np.outer(r_m, r_m))
    return added


def solid_mass_properties(geoms: tuple[Geom, ...], density_kg_m3: float) -> tuple[float, Array, Array]:
    """Returns mass [kg], centre of mass (3,) and inertia (3, 3) about it of solid boxes and cylinders, in owner's axes.

    Parallel axes: I = sum R_i I_i R_i^T + m_i (|r_i|^2 1 - r_i r_i^T), r_i from the common centre of mass. Raises
    ValueError for shapes other than Box and Cylinder.
    """
    masses, moments = zip(*(_solid(geom, density_kg_m3) for geom in geoms), strict=True)
    mass = float(sum(masses))
    com: Array = np.sum([m * geom.pose.position_m for m, geom in zip(masses, geoms, strict=True)], axis=0) / mass
    inertia = np.zeros((3, 3))
    for part_mass, moment, geom in zip(masses, moments, geoms, strict=True):
        r, rotation = geom.pose.position_m - com, geom.pose.rotation
        inertia += rotation @ np.diag(moment) @ rotation.T + part_mass * (r @ r * np.eye(3) - np.outer(r, r))
    return mass, com, 0.5 * (inertia + inertia.T)


def _solid(geom: Geom, density_kg_m3: float) -> tuple[float, Array]:
    """Returns mass and principal moments (3,) about the shape's own centre and axes."""
    if isinstance(geom, Box):
        squares = np.square(geom.size_m)
        mass = density_kg_m3 * float(np.prod(geom.size_m))
        return mass, mass / 12.0 * (squares.sum() - squares)
    if isinstance(geom, Cylinder):
        mass = density_kg_m3 * np.pi * geom.radius_m**2 * geom.length_m
        across = mass * (3.0 * geom.radius_m**2 + geom.length_m**2) / 12.0
        return mass, np.array([across, across, mass * geom.radius_m**2 / 2.0])
    raise ValueError(f"solid mass properties exist for Box and Cylinder, got {type(geom).__name__}")
