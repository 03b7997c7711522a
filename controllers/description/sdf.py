"""Emits the world of Gazebo Classic (SDF 1.7) of an arm in a scene. The only place that writes SDF.

Models: the arm under its own name, and one a fixture. Links of the arm: link0..link7 and `tool`; joints as in the arm's
description, `base` to the world, and `wrist`, which fixes the tool at the flange and carries a force-torque sensor.
Sliding fixtures are chains of three joints `slide_x`, `slide_y`, `yaw`, whose positions tell how far the fixture is
from where the scene puts it. Cameras are left out: Gazebo runs without a display here. Physics: DART with Bullet's
collision detector, which repeats itself to the bit.

What SDF 1.7 cannot say as the description does:
- Motor inertia is part of the link that the motor drives, about the joint's axis. At its own joint that is the same;
  the joints before it feel the rotor turn along, so that entry j, k of the mass matrix is larger by
  a (z_i . z_j)(z_i . z_k) for the rotors i behind both.
- A capsule becomes a cylinder and two spheres.
- Of two surfaces in contact the smaller friction counts. All give way as the tool does, see `_contact_of`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from controllers.description.arm import ArmDescription, Array, Joint
from controllers.description.geometry import Box, Capsule, ContactSoftness, Cylinder, Geom, Pose, Sphere, Vector3
from controllers.description.scene import Fixture, Scene, Sliding
from controllers.description.tool import ToolDescription
from data.errors import UserError

PLUGIN = "librobot_rl_lockstep.so"
WRIST = "wrist"
SLIDES = ("slide_x", "slide_y", "yaw")
_CARRIAGE_SHARE = 1e-3
"""Share of a sliding body's mass in each of the two carriages that its joints need between them."""
_Z: Vector3 = (0.0, 0.0, 1.0)


def to_sdf(
    arm: ArmDescription, scene: Scene, *, plugin: dict[str, str] | None = None, timestep_s: float = 0.001
) -> str:
    """Returns the world as an SDF document.

    plugin: settings of the lock-step plugin besides the names of arm and wrist (see lockstep_plugin.cc); None: the
    world runs without it. Raises UserError for a tool with a gripper, which this world does not move.
    """
    if scene.tool.gripper_range_m is not None:
        raise UserError(f"Gazebo here moves no gripper, and {scene.tool.name} has one: use robot=mujoco for this tool")
    root = ET.Element("sdf", version="1.7")
    world = ET.SubElement(root, "world", name="robot_rl")
    _physics(world, timestep_s)
    _light(world)
    for fixture in scene.bodies:
        if fixture.sliding is None:
            _fixture(world, fixture)
        else:
            _sliding(world, fixture, fixture.sliding)
    _arm(world, arm, scene)
    if plugin is not None:
        element = ET.SubElement(world, "plugin", name="robot_rl_lockstep", filename=PLUGIN)
        for name, value in {"model": arm.name, "wrist": WRIST, **plugin}.items():
            _say(element, name, value)
        _softness(element, _contact_of(scene.tool), timestep_s)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _physics(world: ET.Element, timestep_s: float) -> None:
    """As fast as it is asked: the plugin keeps the pace, so that nothing here waits for the clock."""
    physics = ET.SubElement(world, "physics", name="lockstep", type="dart", default="true")
    _say(physics, "max_step_size", timestep_s)
    _say(physics, "real_time_update_rate", 0.0)
    _say(ET.SubElement(physics, "dart"), "collision_detector", "bullet")
    _say(world, "gravity", (0.0, 0.0, -9.81))


def _contact_of(tool: ToolDescription) -> ContactSoftness:
    """How the tool gives way where it touches: that of its shape of highest priority, else what holds by default.

    DART has one softness for a whole world, and what matters of it is felt through the tool.
    """
    own = [geom.contact for geom in tool.geoms if geom.collides and geom.contact is not None]
    return max(own, key=lambda contact: contact.priority, default=ContactSoftness())


def _softness(plugin: ET.Element, contact: ContactSoftness, dt_s: float) -> None:
    """Tells the plugin how contacts give way: DART's two figures for MuJoCo's time constant and damping ratio.

    DART takes (v + e d / dt) / (1 + c) of the approach v and the depth d in a step, hence d'' = -b d' - k d with
    b = 1 / ((1 + c) dt), k = e / ((1 + c) dt^2). With MuJoCo's b = 2 / tau and k = 1 / (tau zeta)^2 follow
    c = tau / (2 dt) - 1 and e = dt / (2 tau zeta^2). MuJoCo's impedances say nothing here.
    """
    time_constant_s, damping_ratio = contact.time_constant_s, contact.damping_ratio
    _say(plugin, "mixing", time_constant_s / (2.0 * dt_s) - 1.0)
    _say(plugin, "reduction", dt_s / (2.0 * time_constant_s * damping_ratio**2))


def _light(world: ET.Element) -> None:
    light = ET.SubElement(world, "light", name="lamp", type="directional")
    _say(light, "direction", (-0.3, 0.2, -1.0))
    _say(light, "diffuse", (0.8, 0.8, 0.8, 1.0))


def _arm(world: ET.Element, arm: ArmDescription, scene: Scene) -> None:
    """Appends the arm with its tool; each link's pose is given in the frame of the link before it, at q = 0."""
    model = ET.SubElement(world, "model", name=arm.name)
    _say(model, "self_collide", "false")
    base = arm.links[0]
    element = _link(model, base.name)
    _inertial(element, base.inertia.mass_kg, base.inertia.com_m, base.inertia.matrix_kg_m2)
    _shapes(element, base.geoms)
    _joint(model, "base", "fixed", "world", base.name)
    before = base.name
    for joint, link in zip(arm.joints, arm.links[1:], strict=True):
        element = _link(model, link.name, joint.T_parent_joint, before)
        rotor = np.diag([0.0, 0.0, joint.armature_kg_m2])
        _inertial(element, link.inertia.mass_kg, link.inertia.com_m, link.inertia.matrix_kg_m2 + rotor)
        _shapes(element, link.geoms)
        _driven(model, joint, before, link.name)
        before = link.name
    tool = scene.tool
    element = _link(model, "tool", arm.T_last_flange, before)
    _inertial(element, tool.mass_kg, tool.com_flange_m, tool.inertia_flange_kg_m2)
    _shapes(element, tool.geoms)
    _sensor(_joint(model, WRIST, "fixed", before, "tool"))


def _driven(model: ET.Element, joint: Joint, parent: str, child: str) -> None:
    """Appends a joint of the arm. Its limit of effort is that of the drive's torque without holding against gravity."""
    axis = ET.SubElement(_joint(model, joint.name, "revolute", parent, child), "axis")
    _say(axis, "xyz", _Z)
    limit = ET.SubElement(axis, "limit")
    _say(limit, "lower", joint.lower_rad)
    _say(limit, "upper", joint.upper_rad)
    _say(limit, "effort", joint.max_torque_nm)
    _say(limit, "velocity", joint.max_velocity_rad_s)
    _losses(axis, joint.damping_nms_rad, joint.friction_nm)


def _sensor(joint: ET.Element) -> None:
    """The wrist sensor as others on Gazebo's topics see it: what the tool exerts on the flange, in axes of the tool."""
    sensor = ET.SubElement(joint, "sensor", name=WRIST, type="force_torque")
    _say(sensor, "update_rate", 1000.0)
    settings = ET.SubElement(sensor, "force_torque")
    _say(settings, "frame", "child")
    _say(settings, "measure_direction", "child_to_parent")


def _fixture(world: ET.Element, fixture: Fixture) -> None:
    """Appends a fixture that nothing pushes away."""
    model = ET.SubElement(world, "model", name=fixture.name)
    _say(model, "static", "true")
    _place(model, fixture.T_base_fixture)
    _shapes(_link(model, "body"), fixture.geoms)


def _sliding(world: ET.Element, fixture: Fixture, sliding: Sliding) -> None:
    """Appends a fixture that slides: base, x and y carriage, body, all in one place."""
    model = ET.SubElement(world, "model", name=fixture.name)
    _place(model, fixture.T_base_fixture)
    base_in_body = fixture.T_base_fixture.rotation.T
    carriage_kg = _CARRIAGE_SHARE * sliding.mass_kg
    before = "world"
    for index, name in enumerate(SLIDES):
        last = index == len(SLIDES) - 1
        element = _link(model, "body" if last else f"carriage{index}")
        _say(element, "gravity", "false")
        mass_kg = sliding.mass_kg - 2.0 * carriage_kg if last else carriage_kg
        moment_kg_m2 = sliding.moment_kg_m2 * (1.0 if last else _CARRIAGE_SHARE)
        _inertial(element, mass_kg, np.zeros(3), moment_kg_m2 * np.eye(3))
        joint = _joint(model, name, "revolute" if last else "prismatic", before, element.get("name", ""))
        axis = ET.SubElement(joint, "axis")
        _say(axis, "xyz", _Z if last else base_in_body[:, index])
        _losses(axis, 0.0, sliding.friction_nm if last else sliding.friction_n)
        before = element.get("name", "")
        if last:
            _shapes(element, fixture.geoms)


def _link(model: ET.Element, name: str, T_owner_link: Pose | None = None, owner: str = "") -> ET.Element:
    link = ET.SubElement(model, "link", name=name)
    if T_owner_link is not None:
        _place(link, T_owner_link, owner)
    return link


def _joint(model: ET.Element, name: str, kind: str, parent: str, child: str) -> ET.Element:
    """Appends a joint at the origin of its child, the place where SDF puts it by itself."""
    joint = ET.SubElement(model, "joint", name=name, type=kind)
    _say(joint, "parent", parent)
    _say(joint, "child", child)
    return joint


def _losses(axis: ET.Element, damping: float, friction: float) -> None:
    dynamics = ET.SubElement(axis, "dynamics")
    _say(dynamics, "damping", damping)
    _say(dynamics, "friction", friction)


def _inertial(link: ET.Element, mass_kg: float, com_m: Array, matrix_kg_m2: Array) -> None:
    """Appends mass properties; the inertia (3, 3) is taken about the centre of mass, in the link's axes."""
    inertial = ET.SubElement(link, "inertial")
    _place(inertial, Pose(com_m))
    _say(inertial, "mass", mass_kg)
    inertia = ET.SubElement(inertial, "inertia")
    for a in range(3):
        for b in range(a, 3):
            _say(inertia, f"i{'xyz'[a]}{'xyz'[b]}", matrix_kg_m2[a, b])


def _shapes(link: ET.Element, geoms: tuple[Geom, ...]) -> None:
    """Appends what can be seen and touched; the names number the shapes."""
    number = 0
    for geom in geoms:
        for pose, shape in _geometry(geom):
            visual = ET.SubElement(link, "visual", name=f"visual{number}")
            _place(visual, pose)
            ET.SubElement(visual, "geometry").append(shape)
            _say(ET.SubElement(visual, "material"), "diffuse", geom.rgba)
            if geom.collides:
                collision = ET.SubElement(link, "collision", name=f"collision{number}")
                _place(collision, pose)
                ET.SubElement(collision, "geometry").append(shape)
                friction = ET.SubElement(ET.SubElement(ET.SubElement(collision, "surface"), "friction"), "ode")
                _say(friction, "mu", geom.friction)
                _say(friction, "mu2", geom.friction)
            number += 1


def _geometry(geom: Geom) -> list[tuple[Pose, ET.Element]]:
    """Returns the shapes of SDF that make up one of ours. Raises ValueError for one that SDF lacks."""
    match geom:
        case Box():
            return [(geom.pose, _shape("box", size=geom.size_m))]
        case Sphere():
            return [(geom.pose, _shape("sphere", radius=geom.radius_m))]
        case Cylinder() | Capsule():
            shapes = [(geom.pose, _shape("cylinder", radius=geom.radius_m, length=geom.length_m))]
        case _:
            raise ValueError(f"SDF has no shape for {type(geom).__name__}; use Box, Cylinder, Capsule or Sphere")
    if isinstance(geom, Capsule):
        for end in (-0.5, 0.5):
            tip = geom.pose.compose(Pose(np.array([0.0, 0.0, end * geom.length_m])))
            shapes.append((tip, _shape("sphere", radius=geom.radius_m)))
    return shapes


def _shape(kind: str, **sizes: object) -> ET.Element:
    shape = ET.Element(kind)
    for name, value in sizes.items():
        _say(shape, name, value)
    return shape


def _place(element: ET.Element, pose: Pose, owner: str = "") -> None:
    """Gives an element its pose: in the frame of the link `owner`, else of the element that it stands in."""
    placed = _say(element, "pose", (*pose.position_m, *pose.rpy_rad))
    if owner:
        placed.set("relative_to", owner)


def _say(element: ET.Element, name: str, value: object) -> ET.Element:
    """Appends a child with a text, or with numbers that read back to the same bits."""
    child = ET.SubElement(element, name)
    numbers = np.atleast_1d(np.asarray(value)).ravel()
    child.text = value if isinstance(value, str) else " ".join(repr(float(number)) for number in numbers)
    return child
