"""The world for Gazebo holds the arm, tool and scene of the description."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.arm_model import ArmModel
from controllers.description import (
    Box,
    Capsule,
    ContactSoftness,
    Fixture,
    Geom,
    Pose,
    Scene,
    Sphere,
    fr3,
    parallel_gripper_tool,
    round_finger_tool,
    square_peg_tool,
)
from controllers.description.fixtures import bolt, square_hole_plate
from controllers.description.sdf import PLUGIN, to_sdf
from data.errors import UserError

ARM = fr3()


def world_of(scene: Scene, plugin: dict[str, str] | None = None) -> ET.Element:
    root = ET.fromstring(to_sdf(ARM, scene, plugin=plugin))
    assert root.tag == "sdf" and root.get("version") == "1.7"
    (world,) = root
    return world


def model(world: ET.Element, name: str) -> ET.Element:
    (found,) = [item for item in world.findall("model") if item.get("name") == name]
    return found


def numbers(element: ET.Element, path: str) -> list[float]:
    return [float(word) for word in (element.findtext(path) or "").split()]


def pose_of(element: ET.Element) -> Pose:
    values = numbers(element, "pose")
    return Pose.from_rpy(values[:3], values[3:])


def test_joints_have_the_limits_and_losses_of_the_description() -> None:
    arm = model(world_of(Scene(tool=square_peg_tool())), "fr3")
    joints = {joint.get("name"): joint for joint in arm.findall("joint")}
    assert list(joints) == ["base", *(joint.name for joint in ARM.joints), "wrist"]
    for joint in ARM.joints:
        axis = joints[joint.name].find("axis")
        assert axis is not None and joints[joint.name].get("type") == "revolute"
        limits = [float(axis.findtext(f"limit/{name}") or "nan") for name in ("lower", "upper", "effort", "velocity")]
        assert limits == [joint.lower_rad, joint.upper_rad, joint.max_torque_nm, joint.max_velocity_rad_s]
        assert numbers(axis, "dynamics/friction") == [joint.friction_nm]
        assert numbers(axis, "dynamics/damping") == [joint.damping_nms_rad]
        np.testing.assert_array_equal(numbers(axis, "xyz"), [0, 0, 1])


@given(st.lists(st.floats(0.05, 0.95), min_size=7, max_size=7))
def test_the_chain_of_poses_leads_to_the_tool(shares: list[float]) -> None:
    tool = square_peg_tool()
    arm = model(world_of(Scene(tool=tool)), "fr3")
    links = {link.get("name"): link for link in arm.findall("link")}
    q = ARM.lower_rad + np.array(shares) * (ARM.upper_rad - ARM.lower_rad)
    T_base_link = Pose()
    for joint, angle in zip(arm.findall("joint")[1:-1], q, strict=True):
        child = links[joint.findtext("child")]
        pose = child.find("pose")
        assert pose is not None and pose.get("relative_to") == joint.findtext("parent")
        T_base_link = T_base_link.compose(pose_of(child)).compose(Pose.from_rpy(np.zeros(3), (0.0, 0.0, angle)))
    T_base_tool = T_base_link.compose(pose_of(links["tool"])).compose(tool.T_flange_tool)
    assert T_base_tool.is_close(ArmModel(ARM, tool).forward(q), 1e-9)


def test_masses_are_kept_and_a_rotor_turns_with_its_link() -> None:
    arm = model(world_of(Scene(tool=square_peg_tool())), "fr3")
    masses = [float(link.findtext("inertial/mass") or "nan") for link in arm.findall("link")]
    assert masses == [*(link.inertia.mass_kg for link in ARM.links), square_peg_tool().mass_kg]
    for link, element in zip(ARM.links, arm.findall("link"), strict=False):
        got = [float(element.findtext(f"inertial/inertia/i{name}") or "nan") for name in ("xx", "yy", "zz", "xy")]
        matrix = link.inertia.matrix_kg_m2
        rotor = next((j.armature_kg_m2 for j, after in zip(ARM.joints, ARM.links[1:], strict=True) if after is link), 0)
        assert got == [matrix[0, 0], matrix[1, 1], matrix[2, 2] + rotor, matrix[0, 1]]


def test_fixtures_stand_still_and_bolts_slide() -> None:
    plate = square_hole_plate(0.021, T_base_fixture=Pose(np.array([0.5, 0.1, 0.05])))
    turned = Pose.from_rpy((0.4, -0.2, 0.0), (0.0, 0.0, 0.7))
    world = world_of(Scene(tool=square_peg_tool(), fixtures=(plate, bolt("bolt", mass_kg=0.8, T_base_fixture=turned))))
    assert [item.get("name") for item in world.findall("model")] == ["table", "plate", "bolt", "fr3"]
    assert model(world, "plate").findtext("static") == "true"
    assert pose_of(model(world, "plate")).is_close(plate.T_base_fixture)
    assert len(model(world, "plate").findall("link/collision")) == 5
    sliding = model(world, "bolt")
    assert sliding.find("static") is None
    assert sum(float(link.findtext("inertial/mass") or "nan") for link in sliding.findall("link")) == pytest.approx(0.8)
    directions = [turned.rotation @ numbers(joint, "axis/xyz") for joint in sliding.findall("joint")]
    np.testing.assert_allclose(directions, np.eye(3), atol=1e-12)
    names = [item.get("name") for item in sliding]
    assert len(set(names) - {None}) == len([name for name in names if name]), "no two children share a name"


def test_a_capsule_is_a_cylinder_between_two_spheres_and_what_only_is_seen_collides_with_nothing() -> None:
    pose = Pose.from_rpy((0.1, 0.2, 0.3), (0.5, 0.0, 0.0))
    seen: tuple[Geom, ...] = (
        Capsule(radius_m=0.02, length_m=0.1, pose=pose),
        Box(size_m=(0.1, 0.2, 0.3), collides=False),
        Sphere(radius_m=0.05, friction=0.7),
    )
    fixture = model(world_of(Scene(tool=square_peg_tool(), fixtures=(Fixture(name="thing", geoms=seen),))), "thing")
    shapes = [shape.tag for shape in fixture.findall("link/visual/geometry/*")]
    assert shapes == ["cylinder", "sphere", "sphere", "box", "sphere"]
    touched = fixture.findall("link/collision")
    assert [item.findall("geometry/*")[0].tag for item in touched] == ["cylinder", "sphere", "sphere", "sphere"]
    assert float(touched[-1].findtext("surface/friction/ode/mu") or "nan") == 0.7
    ends = [pose_of(item).position_m for item in touched[1:3]]
    np.testing.assert_allclose(pose.inverse().apply(ends[1]) - pose.inverse().apply(ends[0]), [0, 0, 0.1], atol=1e-12)


def test_the_physics_are_those_that_repeat_themselves_to_the_bit() -> None:
    world = world_of(Scene(tool=round_finger_tool()), {"socket": "/tmp/s", "parent": "7"})
    physics = world.find("physics")
    assert physics is not None and physics.get("type") == "dart"
    assert physics.findtext("dart/collision_detector") == "bullet"
    assert (numbers(physics, "max_step_size"), numbers(physics, "real_time_update_rate")) == ([0.001], [0.0])
    plugin = world.find("plugin")
    assert plugin is not None and plugin.get("filename") == PLUGIN
    told = {item.tag: item.text for item in plugin}
    assert told == {
        "model": "fr3", "wrist": "wrist", "socket": "/tmp/s", "parent": "7", "mixing": "1.0", "reduction": "0.125",
    }  # fmt: skip
    assert world_of(Scene(tool=round_finger_tool())).find("plugin") is None


def test_contacts_give_way_as_the_tool_does() -> None:
    soft = ContactSoftness(time_constant_s=0.2, damping_ratio=0.5, priority=1)
    plugin = world_of(Scene(tool=round_finger_tool(contact=soft)), {}).find("plugin")
    assert plugin is not None
    assert numbers(plugin, "mixing") == pytest.approx([99.0])
    assert numbers(plugin, "reduction") == pytest.approx([0.01])


def test_a_gripper_is_refused() -> None:
    with pytest.raises(UserError, match="Gazebo here moves no gripper, and parallel_gripper has one"):
        to_sdf(ARM, Scene(tool=parallel_gripper_tool()))
