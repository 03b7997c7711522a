"""Emits the MuJoCo model (MJCF) of an arm in a scene. The only place that writes MJCF and its wxyz quaternions.

Names in the model: bodies link0..link7, flange, tool and one a fixture; joints as in the arm's description; actuators
motor1..7 (torque, Nm); site `tool` at the control point with the tool's axes; site `wrist` at the flange; sensors
`wrist_force` and `wrist_torque`; keyframe `home`. Movable fixtures are mocap bodies. All bodies of arm and tool have
their gravity compensated, as the drives of a real FR3 do; the wrist sensor still feels the tool's weight.

A tool with a gripper brings, behind the arm in every list: bodies and slide joints `finger_left` and `finger_right`
(joint position: half the opening), held symmetric by an equality, tendon `opening` (their sum) and the position
actuator `gripper` on it, whose control is the opening [m]. At standstill the drive presses with up to `max_force_n`;
its damping makes `max_speed_m_s` the speed at which nothing of that is left for the pads.

At rest the wrist sensor reads -(external force on the tool + its weight) and the moment of that about the flange's
origin, both in flange axes; in motion the tool's inertia adds to it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controllers.description.arm import ArmDescription, Array, Inertia, Joint
from controllers.description.geometry import (
    Box,
    Capsule,
    ContactSoftness,
    Cylinder,
    Geom,
    Pose,
    Sphere,
    Vector3,
    require_positive,
)
from controllers.description.gripper import SIDES
from controllers.description.scene import CameraDescription, Fixture, Scene
from controllers.description.tool import ToolDescription

# A pair collides if one's contype meets the other's conaffinity: robot against surroundings, none against its own kind.
_ROBOT = {"contype": "1", "conaffinity": "0"}
_SURROUNDINGS = {"contype": "0", "conaffinity": "1"}
_SEEN_ONLY = {"contype": "0", "conaffinity": "0"}

_CAMERA_FROM_OPTICAL = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
"""MuJoCo cameras look along -z with y up; optical axes look along +z with y down: half a turn about x."""

_FULL_FORCE_ERROR_M = 0.002
"""A gripper's drive presses with all its force from this distance to the wished opening on."""


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """How MuJoCo integrates and what it can draw."""

    timestep_s: float = 0.001  # above 0; the motor tick's period in lock-step
    iterations: int = 30  # of the Newton solver, 1 or more
    gravity_m_s2: Vector3 = (0.0, 0.0, -9.81)  # in the base frame
    contact: ContactSoftness = field(default_factory=ContactSoftness)  # of shapes that bring none of their own
    offscreen_width_px: int = 640  # largest picture that can be rendered; raised to that of the largest camera
    offscreen_height_px: int = 480

    def __post_init__(self) -> None:
        require_positive(self.timestep_s, "timestep_s")
        if self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, got {self.iterations}")
        if self.contact.time_constant_s < 2.0 * self.timestep_s:
            raise ValueError(
                f"contact time constant {self.contact.time_constant_s} s must be at least 2 x {self.timestep_s} s"
            )


def to_mjcf(arm: ArmDescription, scene: Scene, options: SimulationOptions | None = None) -> str:
    """Returns the model as an MJCF document."""
    options = options or SimulationOptions()
    root = ET.Element("mujoco", model=arm.name)
    ET.SubElement(root, "compiler", angle="radian", autolimits="true", inertiafromgeom="false")
    ET.SubElement(
        root,
        "option",
        timestep=_text(options.timestep_s),
        integrator="implicitfast",
        solver="Newton",
        iterations=str(options.iterations),
        cone="elliptic",
        gravity=_text(options.gravity_m_s2),
    )
    _looks(root, scene, options)
    default = ET.SubElement(root, "default")
    _child(default, "geom", {"condim": "3"}, _softness(options.contact))
    world = ET.SubElement(root, "worldbody")
    for x, y, strength in ((1.5, -1.0, "0.35"), (0.2, 1.6, "0.25")):
        diffuse = f"{strength} {strength} {strength}"
        ET.SubElement(
            world, "light", pos=_text((x, y, 2.2)), dir=_text((0.5 - x, -y, -2.0)), diffuse=diffuse, castshadow="false"
        )
    for fixture in scene.bodies:
        _fixture(world, fixture)
    flange = _arm(world, arm)
    _tool(flange, scene)
    for camera in scene.cameras:
        _camera(world if camera.T_base_camera is not None else flange, camera)
    _motors_and_sensors(root, arm, scene.tool)
    if scene.tool.gripper_range_m is not None:
        _gripper_drive(root, scene.tool, scene.tool.gripper_range_m, options.contact)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _text(values: object) -> str:
    """Returns numbers as text that reads back to the same bits."""
    return " ".join(repr(float(value)) for value in np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel())


def _placed(pose: Pose) -> dict[str, str]:
    x, y, z, w = pose.quaternion_xyzw
    return {"pos": _text(pose.position_m), "quat": _text((w, x, y, z))}


def _softness(contact: ContactSoftness) -> dict[str, str]:
    return {
        "solref": _text((contact.time_constant_s, contact.damping_ratio)),
        "solimp": _text((contact.impedance_min, contact.impedance_max, contact.width_m)),
    }


def _child(parent: ET.Element, tag: str, *groups: Mapping[str, str]) -> ET.Element:
    """Appends an element with the attributes of all groups."""
    return ET.SubElement(parent, tag, {name: value for group in groups for name, value in group.items()})


def _looks(root: ET.Element, scene: Scene, options: SimulationOptions) -> None:
    """Shadows, reflections and multi-sampling are off: on a software renderer they cost a factor of fifty."""
    width = max([options.offscreen_width_px, *(camera.width_px for camera in scene.cameras)])
    height = max([options.offscreen_height_px, *(camera.height_px for camera in scene.cameras)])
    visual = ET.SubElement(root, "visual")
    ET.SubElement(visual, "global", offwidth=str(width), offheight=str(height))
    ET.SubElement(visual, "quality", shadowsize="0", offsamples="0")
    ET.SubElement(visual, "headlight", ambient="0.35 0.35 0.35", diffuse="0.4 0.4 0.4", specular="0.05 0.05 0.05")
    ET.SubElement(visual, "map", znear="0.005", zfar="30")
    asset = ET.SubElement(root, "asset")
    ET.SubElement(
        asset,
        "texture",
        type="skybox",
        builtin="gradient",
        rgb1="0.80 0.86 0.93",
        rgb2="0.97 0.98 0.99",
        width="32",
        height="192",
    )


def _geom(body: ET.Element, geom: Geom, collision: dict[str, str]) -> None:
    attributes = {**_placed(geom.pose), "rgba": _text(geom.rgba), "friction": _text((geom.friction, 0.005, 0.0001))}
    attributes |= collision if geom.collides else _SEEN_ONLY
    if geom.contact is not None:
        attributes |= _softness(geom.contact)
    match geom:
        case Box():
            shape = {"type": "box", "size": _text(np.array(geom.size_m) / 2)}
        case Cylinder():
            shape = {"type": "cylinder", "size": _text((geom.radius_m, geom.length_m / 2))}
        case Capsule():
            shape = {"type": "capsule", "size": _text((geom.radius_m, geom.length_m / 2))}
        case Sphere():
            shape = {"type": "sphere", "size": _text(geom.radius_m)}
        case _:
            raise ValueError(f"MJCF has no shape for {type(geom).__name__}; use Box, Cylinder, Capsule or Sphere")
    _child(body, "geom", shape, attributes)


def _fixture(world: ET.Element, fixture: Fixture) -> None:
    body = _child(world, "body", {"name": fixture.name}, _placed(fixture.T_base_fixture))
    if fixture.movable:
        body.set("mocap", "true")
    for geom in fixture.geoms:
        _geom(body, geom, _SURROUNDINGS)


def _inertial(body: ET.Element, mass_kg: float, com_m: Array, i: Array) -> None:
    full = _text((i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]))
    ET.SubElement(body, "inertial", pos=_text(com_m), mass=_text(mass_kg), fullinertia=full)


def _link(parent: ET.Element, name: str, inertia: Inertia, geoms: tuple[Geom, ...], pose: Pose) -> ET.Element:
    body = _child(parent, "body", {"name": name, "gravcomp": "1"}, _placed(pose))
    _inertial(body, inertia.mass_kg, inertia.com_m, inertia.matrix_kg_m2)
    for geom in geoms:
        _geom(body, geom, _ROBOT)
    return body


def _joint(body: ET.Element, joint: Joint) -> None:
    element = ET.Element(
        "joint",
        name=joint.name,
        axis="0 0 1",
        range=_text((joint.lower_rad, joint.upper_rad)),
        armature=_text(joint.armature_kg_m2),
        damping=_text(joint.damping_nms_rad),
        frictionloss=_text(joint.friction_nm),
    )
    body.insert(1, element)  # behind the inertial, before the shapes: the order that people expect


def _arm(world: ET.Element, arm: ArmDescription) -> ET.Element:
    """Appends the chain of links and returns the flange body."""
    base = arm.links[0]
    body = _link(world, base.name, base.inertia, base.geoms, Pose())
    for joint, link in zip(arm.joints, arm.links[1:], strict=True):
        body = _link(body, link.name, link.inertia, link.geoms, joint.T_parent_joint)
        _joint(body, joint)
    return _child(body, "body", {"name": "flange", "gravcomp": "1"}, _placed(arm.T_last_flange))


def _tool(flange: ET.Element, scene: Scene) -> None:
    """Appends the tool as a body of its own: the wrist sensor measures what passes between it and the flange."""
    tool = scene.tool
    body = ET.SubElement(flange, "body", name="tool", gravcomp="1")
    if tool.gripper_range_m is None:
        _inertial(body, tool.mass_kg, tool.com_flange_m, tool.inertia_flange_kg_m2)
    else:
        rest = tool.without_fingers()
        _inertial(body, rest.mass_kg, rest.com_m, rest.matrix_kg_m2)
    ET.SubElement(body, "site", name="wrist", size="0.002", rgba="0 0 0 0")
    _child(body, "site", {"name": "tool", "size": "0.002", "rgba": "0 0 0 0"}, _placed(tool.T_flange_tool))
    for geom in tool.geoms:
        _geom(body, geom, _ROBOT)
    if tool.gripper_range_m is not None:
        _fingers(body, tool, tool.gripper_range_m)


def _fingers(body: ET.Element, tool: ToolDescription, range_m: tuple[float, float]) -> None:
    """Appends the two fingers, each in a body whose origin is the control point at a joint position of 0."""
    fingers = tool.fingers
    for side in SIDES:
        finger = _child(body, "body", {"name": f"finger_{side}", "gravcomp": "1"}, _placed(tool.T_flange_tool))
        _inertial(finger, fingers.mass_kg, fingers.centre_m(side, 0.0), np.diag(fingers.moments_kg_m2))
        ET.SubElement(
            finger,
            "joint",
            name=f"finger_{side}",
            type="slide",
            axis=_text(fingers.axis(side)),
            range=_text(np.array(range_m) / 2),
            armature=_text(fingers.drive_inertia_kg),
            damping=_text(2.0 * fingers.max_force_n / fingers.max_speed_m_s),
        )
        _geom(finger, fingers.box(side), _ROBOT)


def _camera(owner: ET.Element, camera: CameraDescription) -> None:
    placed = _placed(camera.pose.compose(_CAMERA_FROM_OPTICAL))
    _child(owner, "camera", {"name": camera.name, "fovy": _text(camera.fovy_deg)}, placed)


def _motors_and_sensors(root: ET.Element, arm: ArmDescription, tool: ToolDescription) -> None:
    actuator = ET.SubElement(root, "actuator")
    for number, joint in enumerate(arm.joints, start=1):
        limits = _text((-joint.max_torque_nm, joint.max_torque_nm))
        ET.SubElement(actuator, "motor", name=f"motor{number}", joint=joint.name, ctrlrange=limits)
    sensor = ET.SubElement(root, "sensor")
    ET.SubElement(sensor, "force", name="wrist_force", site="wrist")
    ET.SubElement(sensor, "torque", name="wrist_torque", site="wrist")
    keyframe = ET.SubElement(root, "keyframe")
    fingers_m = () if tool.gripper_range_m is None else (0.5 * tool.gripper_range_m[1],) * len(SIDES)
    key = ET.SubElement(keyframe, "key", name="home", qpos=_text((*arm.home_rad, *fingers_m)))
    if tool.gripper_range_m is not None:
        key.set("ctrl", _text((*(0.0 for _ in arm.joints), tool.gripper_range_m[1])))


def _gripper_drive(
    root: ET.Element, tool: ToolDescription, range_m: tuple[float, float], contact: ContactSoftness
) -> None:
    """Appends what moves both fingers as one: a tendon, a position actuator of bounded force, and their symmetry."""
    fingers = tool.fingers
    tendon = ET.SubElement(ET.SubElement(root, "tendon"), "fixed", name="opening")
    for side in SIDES:
        ET.SubElement(tendon, "joint", joint=f"finger_{side}", coef="1")
    equal = {"name": "fingers", "joint1": "finger_right", "joint2": "finger_left", "polycoef": "0 1 0 0 0"}
    _child(ET.SubElement(root, "equality"), "joint", equal, _softness(contact))
    ET.SubElement(
        ET.SubElement(root, "actuator"),
        "position",
        name="gripper",
        tendon="opening",
        kp=_text(fingers.max_force_n / _FULL_FORCE_ERROR_M),
        ctrlrange=_text(range_m),
        forcerange=_text((-fingers.max_force_n, fingers.max_force_n)),
    )
