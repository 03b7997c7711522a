"""Shapes and bodies of the surroundings in MJCF, and the small parts that every emitter of it is made of.

Fixed fixtures are plain bodies, movable ones mocap bodies. A sliding one has three joints, `<name>_x`, `<name>_y` and
`<name>_yaw`, whose positions are its place in the base frame; it must come behind the arm in the model, so that the
arm's joints stay the first.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np

from controllers.description.arm import Array
from controllers.description.geometry import Box, Capsule, ContactSoftness, Cylinder, Geom, Pose, Sphere
from controllers.description.scene import Fixture

# A pair collides if one's contype meets the other's conaffinity: robot against surroundings, none against its own kind.
ROBOT = {"contype": "1", "conaffinity": "0"}
SURROUNDINGS = {"contype": "0", "conaffinity": "1"}
SEEN_ONLY = {"contype": "0", "conaffinity": "0"}
PUSHED = {"contype": "1", "conaffinity": "1"}
"""What slides meets all: robot, surroundings and its own kind."""
_HOLDS_FAST = {"solreffriction": "0.004 1", "solimpfriction": "0.999 0.999 0.001"}
"""With MuJoCo's own figures a body under less than its friction would creep by some millimetres a second."""


def as_text(values: object) -> str:
    """Returns numbers as text that reads back to the same bits."""
    return " ".join(repr(float(value)) for value in np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel())


def placed_at(pose: Pose) -> dict[str, str]:
    """Attributes of a pose; MuJoCo writes w first."""
    x, y, z, w = pose.quaternion_xyzw
    return {"pos": as_text(pose.position_m), "quat": as_text((w, x, y, z))}


def softness_of(contact: ContactSoftness) -> dict[str, str]:
    """Solver parameters of a contact, a joint or an equality."""
    return {
        "solref": as_text((contact.time_constant_s, contact.damping_ratio)),
        "solimp": as_text((contact.impedance_min, contact.impedance_max, contact.width_m)),
    }


def add_child(parent: ET.Element, tag: str, *groups: Mapping[str, str]) -> ET.Element:
    """Appends an element with the attributes of all groups."""
    return ET.SubElement(parent, tag, {name: value for group in groups for name, value in group.items()})


def add_geom(body: ET.Element, geom: Geom, collision: dict[str, str]) -> None:
    """Appends a shape; `collision` is what it may touch. Raises ValueError for one that MJCF lacks."""
    attributes = {
        **placed_at(geom.pose),
        "rgba": as_text(geom.rgba),
        "friction": as_text((geom.friction, 0.005, 0.0001)),
    }
    attributes |= collision if geom.collides else SEEN_ONLY
    if geom.contact is not None:
        attributes |= softness_of(geom.contact)
        attributes |= {"priority": str(geom.contact.priority)} if geom.contact.priority else {}
    match geom:
        case Box():
            shape = {"type": "box", "size": as_text(np.array(geom.size_m) / 2)}
        case Cylinder():
            shape = {"type": "cylinder", "size": as_text((geom.radius_m, geom.length_m / 2))}
        case Capsule():
            shape = {"type": "capsule", "size": as_text((geom.radius_m, geom.length_m / 2))}
        case Sphere():
            shape = {"type": "sphere", "size": as_text(geom.radius_m)}
        case _:
            raise ValueError(f"MJCF has no shape for {type(geom).__name__}; use Box, Cylinder, Capsule or Sphere")
    add_child(body, "geom", shape, attributes)


def add_fixture(world: ET.Element, fixture: Fixture) -> None:
    """Appends a fixture that nothing pushes away."""
    body = add_child(world, "body", {"name": fixture.name}, placed_at(fixture.T_base_fixture))
    if fixture.movable:
        body.set("mocap", "true")
    for geom in fixture.geoms:
        add_geom(body, geom, SURROUNDINGS)


def add_inertial(body: ET.Element, mass_kg: float, com_m: Array, i: Array) -> None:
    """Appends mass properties; the inertia `i` (3, 3) is taken about the centre of mass."""
    full = as_text((i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]))
    ET.SubElement(body, "inertial", pos=as_text(com_m), mass=as_text(mass_kg), fullinertia=full)


def sliding_place(T_base_fixture: Pose) -> tuple[float, float, float]:
    """Joint positions (x [m], y [m], yaw [rad]) of a sliding fixture that stands at a pose."""
    x, y, _ = T_base_fixture.position_m
    return float(x), float(y), T_base_fixture.rpy_rad[2]


def add_sliding(world: ET.Element, fixture: Fixture) -> None:
    """Appends a sliding fixture. Raises ValueError for one that does not slide."""
    sliding = fixture.sliding
    if sliding is None:
        raise ValueError(f"fixture {fixture.name!r} does not slide: give it `sliding`, or use add_fixture")
    body = add_child(world, "body", {"name": fixture.name, "gravcomp": "1"}, placed_at(fixture.T_base_fixture))
    # tilting is impossible, so that only the moment about the vertical matters
    add_inertial(body, sliding.mass_kg, np.zeros(3), np.eye(3) * sliding.moment_kg_m2)
    base_in_body = fixture.T_base_fixture.rotation.T
    places = sliding_place(fixture.T_base_fixture)
    losses = (sliding.friction_n, sliding.friction_n, sliding.friction_nm)
    for index, name in enumerate(("x", "y", "yaw")):
        joint = {
            "name": f"{fixture.name}_{name}",
            "type": "slide" if index < 2 else "hinge",
            "axis": as_text(base_in_body[:, index] if index < 2 else (0.0, 0.0, 1.0)),
            "ref": as_text(places[index]),
            "limited": "false",
            "frictionloss": as_text(losses[index]),
        }
        add_child(body, "joint", joint, _HOLDS_FAST)
    for geom in fixture.geoms:
        add_geom(body, geom, PUSHED)
