"""Emits the MuJoCo model (MJCF) of an arm in a scene. The only place that writes MJCF and its wxyz quaternions.

Names in the model: bodies link0..link7, flange, tool and one a fixture; joints as in the arm's description; actuators
motor1..7 (torque, Nm); site `tool` at the control point with the tool's axes; site `wrist` at the flange; sensors
`wrist_force` and `wrist_torque`; keyframe `home`. Movable fixtures are mocap bodies, sliding ones come last, with three
joints each (see mjcf_bodies). All bodies of arm and tool have their gravity compensated, as the drives of a real FR3
do; the wrist sensor still feels the tool's weight.

A tool with a gripper brings, behind the arm in every list: bodies and slide joints `finger_left` and `finger_right`
(joint position: half the opening), held symmetric by an equality, tendon `opening` (their sum) and the position
actuator `gripper` on it, whose control is the opening [m]. At standstill the drive presses with up to `max_force_n`;
its damping makes `max_speed_m_s` the speed at which nothing of that is left for the pads.

At rest the wrist sensor reads -(external force on the tool + its weight) and the moment of that about the flange's
origin, both in flange axes; in motion the tool's inertia adds to it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np

from controllers.description.arm import ArmDescription, Inertia, Joint
from controllers.description.geometry import ContactSoftness, Geom, Pose, Vector3, require_positive
from controllers.description.gripper import SIDES
from controllers.description.mjcf_bodies import (
    ROBOT,
    add_child,
    add_fixture,
    add_geom,
    add_inertial,
    add_sliding,
    as_text,
    placed_at,
    sliding_place,
    softness_of,
)
from controllers.description.scene import CameraDescription, Scene
from controllers.description.tool import ToolDescription

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
        timestep=as_text(options.timestep_s),
        integrator="implicitfast",
        solver="Newton",
        iterations=str(options.iterations),
        cone="elliptic",
        gravity=as_text(options.gravity_m_s2),
    )
    _looks(root, scene, options)
    default = ET.SubElement(root, "default")
    add_child(default, "geom", {"condim": "3"}, softness_of(options.contact))
    world = ET.SubElement(root, "worldbody")
    for x, y, strength in ((1.5, -1.0, "0.35"), (0.2, 1.6, "0.25")):
        diffuse = f"{strength} {strength} {strength}"
        ET.SubElement(
            world,
            "light",
            pos=as_text((x, y, 2.2)),
            dir=as_text((0.5 - x, -y, -2.0)),
            diffuse=diffuse,
            castshadow="false",
        )
    sliding = [fixture for fixture in scene.bodies if fixture.sliding is not None]
    for fixture in scene.bodies:
        if fixture.sliding is None:
            add_fixture(world, fixture)
    flange = _arm(world, arm)
    _tool(flange, scene)
    for fixture in sliding:
        add_sliding(world, fixture)
    for camera in scene.cameras:
        _camera(world if camera.T_base_camera is not None else flange, camera)
    _motors_and_sensors(
        root, arm, scene.tool, [place for item in sliding for place in sliding_place(item.T_base_fixture)]
    )
    if scene.tool.gripper_range_m is not None:
        _gripper_drive(root, scene.tool, scene.tool.gripper_range_m, options.contact)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


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


def _link(parent: ET.Element, name: str, inertia: Inertia, geoms: tuple[Geom, ...], pose: Pose) -> ET.Element:
    body = add_child(parent, "body", {"name": name, "gravcomp": "1"}, placed_at(pose))
    add_inertial(body, inertia.mass_kg, inertia.com_m, inertia.matrix_kg_m2)
    for geom in geoms:
        add_geom(body, geom, ROBOT)
    return body


def _joint(body: ET.Element, joint: Joint) -> None:
    element = ET.Element(
        "joint",
        name=joint.name,
        axis="0 0 1",
        range=as_text((joint.lower_rad, joint.upper_rad)),
        armature=as_text(joint.armature_kg_m2),
        damping=as_text(joint.damping_nms_rad),
        frictionloss=as_text(joint.friction_nm),
    )
    body.insert(1, element)  # behind the inertial, before the shapes: the order that people expect


def _arm(world: ET.Element, arm: ArmDescription) -> ET.Element:
    """Appends the chain of links and returns the flange body."""
    base = arm.links[0]
    body = _link(world, base.name, base.inertia, base.geoms, Pose())
    for joint, link in zip(arm.joints, arm.links[1:], strict=True):
        body = _link(body, link.name, link.inertia, link.geoms, joint.T_parent_joint)
        _joint(body, joint)
    return add_child(body, "body", {"name": "flange", "gravcomp": "1"}, placed_at(arm.T_last_flange))


def _tool(flange: ET.Element, scene: Scene) -> None:
    """Appends the tool as a body of its own: the wrist sensor measures what passes between it and the flange."""
    tool = scene.tool
    body = ET.SubElement(flange, "body", name="tool", gravcomp="1")
    if tool.gripper_range_m is None:
        add_inertial(body, tool.mass_kg, tool.com_flange_m, tool.inertia_flange_kg_m2)
    else:
        rest = tool.without_fingers()
        add_inertial(body, rest.mass_kg, rest.com_m, rest.matrix_kg_m2)
    ET.SubElement(body, "site", name="wrist", size="0.002", rgba="0 0 0 0")
    add_child(body, "site", {"name": "tool", "size": "0.002", "rgba": "0 0 0 0"}, placed_at(tool.T_flange_tool))
    for geom in tool.geoms:
        add_geom(body, geom, ROBOT)
    if tool.gripper_range_m is not None:
        _fingers(body, tool, tool.gripper_range_m)


def _fingers(body: ET.Element, tool: ToolDescription, range_m: tuple[float, float]) -> None:
    """Appends the two fingers, each in a body whose origin is the control point at a joint position of 0."""
    fingers = tool.fingers
    for side in SIDES:
        finger = add_child(body, "body", {"name": f"finger_{side}", "gravcomp": "1"}, placed_at(tool.T_flange_tool))
        add_inertial(finger, fingers.mass_kg, fingers.centre_m(side, 0.0), np.diag(fingers.moments_kg_m2))
        ET.SubElement(
            finger,
            "joint",
            name=f"finger_{side}",
            type="slide",
            axis=as_text(fingers.axis(side)),
            range=as_text(np.array(range_m) / 2),
            armature=as_text(fingers.drive_inertia_kg),
            damping=as_text(2.0 * fingers.max_force_n / fingers.max_speed_m_s),
        )
        add_geom(finger, fingers.box(side), ROBOT)


def _camera(owner: ET.Element, camera: CameraDescription) -> None:
    pose = camera.pose.compose(_CAMERA_FROM_OPTICAL)
    add_child(owner, "camera", {"name": camera.name, "fovy": as_text(camera.fovy_deg)}, placed_at(pose))


def _motors_and_sensors(root: ET.Element, arm: ArmDescription, tool: ToolDescription, places: list[float]) -> None:
    """Appends motors, wrist sensor and the keyframe `home`; places: joint positions of all sliding fixtures."""
    actuator = ET.SubElement(root, "actuator")
    for number, joint in enumerate(arm.joints, start=1):
        limits = as_text((-joint.max_torque_nm, joint.max_torque_nm))
        ET.SubElement(actuator, "motor", name=f"motor{number}", joint=joint.name, ctrlrange=limits)
    sensor = ET.SubElement(root, "sensor")
    ET.SubElement(sensor, "force", name="wrist_force", site="wrist")
    ET.SubElement(sensor, "torque", name="wrist_torque", site="wrist")
    keyframe = ET.SubElement(root, "keyframe")
    fingers_m = () if tool.gripper_range_m is None else (0.5 * tool.gripper_range_m[1],) * len(SIDES)
    key = ET.SubElement(keyframe, "key", name="home", qpos=as_text((*arm.home_rad, *fingers_m, *places)))
    if tool.gripper_range_m is not None:
        key.set("ctrl", as_text((*(0.0 for _ in arm.joints), tool.gripper_range_m[1])))


def _gripper_drive(
    root: ET.Element, tool: ToolDescription, range_m: tuple[float, float], contact: ContactSoftness
) -> None:
    """Appends what moves both fingers as one: a tendon, a position actuator of bounded force, and their symmetry."""
    fingers = tool.fingers
    tendon = ET.SubElement(ET.SubElement(root, "tendon"), "fixed", name="opening")
    for side in SIDES:
        ET.SubElement(tendon, "joint", joint=f"finger_{side}", coef="1")
    equal = {"name": "fingers", "joint1": "finger_right", "joint2": "finger_left", "polycoef": "0 1 0 0 0"}
    add_child(ET.SubElement(root, "equality"), "joint", equal, softness_of(contact))
    ET.SubElement(
        ET.SubElement(root, "actuator"),
        "position",
        name="gripper",
        tendon="opening",
        kp=as_text(fingers.max_force_n / _FULL_FORCE_ERROR_M),
        ctrlrange=as_text(range_m),
        forcerange=as_text((-fingers.max_force_n, fingers.max_force_n)),
    )
