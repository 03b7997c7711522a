"""Emits the URDF of an arm with its tool, for pinocchio and for ROS. The only place that writes URDF.

Links: base, link0..link7, flange, tool; the frame `tool` is the control point. A gripper's fingers are shapes of the
tool at its nominal opening, so that the model has the arm's joints only. URDF has no motor inertia: whoever
builds a model from it takes `ArmDescription.armature_kg_m2`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from controllers.description.arm import ArmDescription, Inertia
from controllers.description.geometry import Box, Capsule, Cylinder, Geom, Pose, Sphere
from controllers.description.tool import ToolDescription


def to_urdf(arm: ArmDescription, tool: ToolDescription) -> str:
    """Returns the robot as a URDF document."""
    root = ET.Element("robot", name=arm.name)
    ET.SubElement(root, "link", name="base")
    for link in arm.links:
        _link(root, link.name, link.inertia, link.geoms, Pose())
    ET.SubElement(root, "link", name="flange")
    inertia = Inertia(mass_kg=tool.mass_kg, com_m=tool.com_flange_m, matrix_kg_m2=tool.inertia_flange_kg_m2)
    _link(root, "tool", inertia, (*tool.geoms, *tool.finger_boxes()), tool.T_flange_tool.inverse())
    _fixed(root, "base_joint", "base", arm.links[0].name, Pose())
    for parent, child, joint in zip(arm.links, arm.links[1:], arm.joints, strict=False):
        element = _joint(root, joint.name, "revolute", parent.name, child.name, joint.T_parent_joint)
        ET.SubElement(element, "axis", xyz="0 0 1")
        ET.SubElement(
            element,
            "limit",
            lower=_text(joint.lower_rad),
            upper=_text(joint.upper_rad),
            velocity=_text(joint.max_velocity_rad_s),
            effort=_text(joint.max_torque_nm),
        )
        ET.SubElement(element, "dynamics", damping=_text(joint.damping_nms_rad), friction=_text(joint.friction_nm))
    _fixed(root, "flange_joint", arm.links[-1].name, "flange", arm.T_last_flange)
    _fixed(root, "tool_joint", "flange", "tool", tool.T_flange_tool)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _text(values: object) -> str:
    return " ".join(repr(float(value)) for value in np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel())


def _origin(parent: ET.Element, pose: Pose) -> None:
    ET.SubElement(parent, "origin", xyz=_text(pose.position_m), rpy=_text(pose.rpy_rad))


def _joint(root: ET.Element, name: str, kind: str, parent: str, child: str, pose: Pose) -> ET.Element:
    element = ET.SubElement(root, "joint", name=name, type=kind)
    _origin(element, pose)
    ET.SubElement(element, "parent", link=parent)
    ET.SubElement(element, "child", link=child)
    return element


def _fixed(root: ET.Element, name: str, parent: str, child: str, pose: Pose) -> None:
    _joint(root, name, "fixed", parent, child, pose)


def _link(root: ET.Element, name: str, inertia: Inertia, geoms: tuple[Geom, ...], T_link_owner: Pose) -> None:
    """Appends a link whose mass properties and shapes are given in the frame `owner`."""
    link = ET.SubElement(root, "link", name=name)
    inertial = ET.SubElement(link, "inertial")
    _origin(inertial, T_link_owner.compose(Pose(inertia.com_m)))
    ET.SubElement(inertial, "mass", value=_text(inertia.mass_kg))
    matrix = inertia.matrix_kg_m2
    moments = {f"i{'xyz'[a]}{'xyz'[b]}": _text(matrix[a, b]) for a in range(3) for b in range(a, 3)}
    inertial.append(ET.Element("inertia", moments))
    for geom in geoms:
        for pose, shape in _shapes(geom):
            _shape(link, "visual", T_link_owner.compose(pose), shape, geom)
            if geom.collides:
                _shape(link, "collision", T_link_owner.compose(pose), shape, geom)


def _shape(link: ET.Element, kind: str, pose: Pose, shape: ET.Element, geom: Geom) -> None:
    element = ET.SubElement(link, kind)
    _origin(element, pose)
    ET.SubElement(element, "geometry").append(shape)
    if kind == "visual":
        colour = _text(geom.rgba)
        ET.SubElement(ET.SubElement(element, "material", name=f"rgba_{colour.replace(' ', '_')}"), "color", rgba=colour)


def _shapes(geom: Geom) -> list[tuple[Pose, ET.Element]]:
    """Returns the URDF shapes of one primitive: URDF has no capsule, so that one becomes a cylinder and two spheres."""
    match geom:
        case Box():
            return [(geom.pose, ET.Element("box", size=_text(geom.size_m)))]
        case Sphere():
            return [(geom.pose, ET.Element("sphere", radius=_text(geom.radius_m)))]
        case Cylinder() | Capsule():
            tube = ET.Element("cylinder", radius=_text(geom.radius_m), length=_text(geom.length_m))
            shapes = [(geom.pose, tube)]
        case _:
            raise ValueError(f"URDF has no shape for {type(geom).__name__}; use Box, Cylinder, Capsule or Sphere")
    if isinstance(geom, Capsule):
        for end in (-0.5, 0.5):
            cap = geom.pose.compose(Pose(np.array([0.0, 0.0, end * geom.length_m])))
            shapes.append((cap, ET.Element("sphere", radius=_text(geom.radius_m))))
    return shapes
