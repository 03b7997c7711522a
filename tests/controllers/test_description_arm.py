"""The arm's figures, the tool's mass properties, and descriptions that no machine could have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controllers.description.arm import Inertia, narrower
from controllers.description.fixtures import square_hole_plate
from controllers.description.fr3 import BOX_LIMITS_RAD, DESCRIBED_LIMITS_RAD, fr3
from controllers.description.geometry import Box, Cylinder, Pose, Sphere
from controllers.description.scene import CameraDescription, Fixture, Scene
from controllers.description.tool import solid_mass_properties, square_peg_tool

ARM = fr3()
TOOL = square_peg_tool()


def test_joint_limits_are_the_narrower_of_both_sources() -> None:
    for limits in (DESCRIBED_LIMITS_RAD, BOX_LIMITS_RAD):
        assert np.all(ARM.lower_rad >= np.array(limits)[:, 0])
        assert np.all(ARM.upper_rad <= np.array(limits)[:, 1])
    # each source decides somewhere, so neither may be left out
    assert ARM.upper_rad[0] == 2.7501
    assert ARM.upper_rad[2] == 2.9007
    assert (ARM.lower_rad[3], ARM.upper_rad[3]) == (-3.0481, -0.1458)
    assert (ARM.lower_rad[5], ARM.upper_rad[5]) == (0.54092, 4.5205)


def test_speed_and_torque_limits() -> None:
    assert ARM.max_velocity_rad_s.tolist() == [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26]
    assert ARM.max_torque_nm.tolist() == [87.0] * 4 + [12.0] * 3


def test_narrower_ranges() -> None:
    assert narrower((-1.0, 2.0), (-3.0, 1.0)) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="do not overlap"):
        narrower((0.0, 1.0), (2.0, 3.0))


def test_mass_properties_of_a_split_box_are_those_of_the_whole() -> None:
    whole = Box(size_m=(0.1, 0.2, 0.4), pose=Pose.from_rpy((0.3, 0.1, 0.0), (0.2, -0.4, 0.9)))
    halves = tuple(
        replace(whole, size_m=(0.1, 0.2, 0.2), pose=whole.pose.compose(Pose(np.array([0.0, 0.0, z]))))
        for z in (-0.1, 0.1)
    )
    for part, total in zip(solid_mass_properties(halves, 1000.0), solid_mass_properties((whole,), 1000.0), strict=True):
        np.testing.assert_allclose(np.asarray(part), np.asarray(total), rtol=1e-12, atol=1e-12)


def test_peg_tool() -> None:
    np.testing.assert_allclose(TOOL.T_flange_tool.position_m, [0.0, 0.0, 0.11])
    np.testing.assert_allclose(TOOL.com_flange_m[:2], 0.0, atol=1e-12)
    assert TOOL.mass_kg == pytest.approx(2700.0 * (np.pi * 0.025**2 * 0.05 + 0.02**2 * 0.06))
    peg = TOOL.geoms[1]
    assert isinstance(peg, Box)
    tip = peg.pose.apply((0.0, 0.0, peg.size_m[2] / 2))
    np.testing.assert_allclose(tip, TOOL.T_flange_tool.position_m)


def test_hole_is_a_hole() -> None:
    """No box of the plate reaches into the hole, and the walls meet it exactly."""
    plate = square_hole_plate(0.022, 0.03, stand_m=0.08)
    inside = np.random.default_rng(0).uniform([-0.011, -0.011, -0.03], [0.011, 0.011, 0.0], (200, 3)) * 0.9999
    for geom in plate.geoms:
        assert isinstance(geom, Box)
        assert not np.any(np.all(np.abs(inside - geom.pose.position_m) < np.array(geom.size_m) / 2, axis=1))
    just_out = np.array([[0.01101, 0.0, -0.01], [0.0, -0.01101, -0.01], [0.0, 0.0, -0.03001], [0.0, 0.0, -0.1]])
    for point in just_out:
        hits = [
            np.all(np.abs(point - g.pose.position_m) <= np.array(g.size_m) / 2)
            for g in plate.geoms
            if isinstance(g, Box)
        ]
        assert sum(hits) == 1


def test_scene_finds_fixtures_by_name() -> None:
    scene = Scene(tool=TOOL, fixtures=(square_hole_plate(0.022),))
    assert [body.name for body in scene.bodies] == ["table", "plate"]
    assert scene.fixture("plate").movable
    with pytest.raises(KeyError, match=r"no fixture 'lamp'; there are \['table', 'plate'\]"):
        scene.fixture("lamp")


def _plate(name: str = "plate") -> Fixture:
    return square_hole_plate(0.022, name=name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(ARM, links=ARM.links[:-1]), "7 joints need 8 links, got 7"),
        (lambda: replace(ARM, home_rad=np.zeros(7)), "home_rad must lie within the joint limits"),
        (lambda: replace(ARM, links=(ARM.links[0],) * 8), "names of links and joints must differ"),
        (lambda: replace(ARM.joints[0], lower_rad=3.0), "fr3_joint1: lower limit 3.0 must be below upper limit 2.7501"),
        (
            lambda: replace(ARM.joints[0], max_torque_nm=0.0),
            "fr3_joint1: max_torque_nm must be a finite number above 0",
        ),
        (lambda: replace(ARM.joints[0], friction_nm=-1.0), "fr3_joint1: friction_nm must be 0 or more, got -1.0"),
        (
            lambda: Inertia(mass_kg=0.0, com_m=np.zeros(3), matrix_kg_m2=np.eye(3)),
            "mass_kg must be a finite number above 0",
        ),
        (
            lambda: Inertia(mass_kg=1.0, com_m=np.zeros(3), matrix_kg_m2=np.diag([1.0, 1.0, 3.0])),
            "an inertia needs positive principal moments with I1 + I2 >= I3, got [1.0, 1.0, 3.0]",
        ),
        (
            lambda: Inertia(mass_kg=1.0, com_m=np.zeros(3), matrix_kg_m2=np.triu(np.ones((3, 3)))),
            "an inertia must be a symmetric 3x3 matrix",
        ),
        (lambda: replace(TOOL, mass_kg=-1.0), "square_peg: mass_kg must be a finite number above 0, got -1.0"),
        (lambda: replace(TOOL, gripper_range_m=(0.1, 0.0)), "square_peg: gripper_range_m needs 0 <= closed < open"),
        (lambda: square_peg_tool(side_m=0.0), "side_m must be a finite number above 0, got 0.0"),
        (lambda: solid_mass_properties((Sphere(radius_m=1.0),), 1.0), "exist for Box and Cylinder, got Sphere"),
        (lambda: square_hole_plate(0.2), "outer_m must be above hole_m, got 0.16 and 0.2"),
        (lambda: _plate("flange"), "a fixture needs a name of its own, got 'flange'"),
        (lambda: replace(_plate(), geoms=()), "fixture 'plate' needs at least one shape"),
        (
            lambda: Scene(tool=TOOL, fixtures=(_plate(), _plate())),
            "fixture names must differ from each other, got ['plate']",
        ),
        (lambda: CameraDescription(name="eye"), "camera 'eye' needs exactly one of T_base_camera and T_flange_camera"),
        (lambda: CameraDescription(name="eye", T_base_camera=Pose(), fovy_deg=0.0), "fovy_deg must be 1..170, got 0.0"),
        (lambda: CameraDescription(name="eye", T_base_camera=Pose(), width_px=0), "at least 1x1 pixels"),
    ],
)
def test_impossible_descriptions_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_rotated_cylinder_keeps_its_principal_moments() -> None:
    upright = Cylinder(radius_m=0.02, length_m=0.1)
    turned = replace(upright, pose=Pose.from_rpy((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    expected = np.linalg.eigvalsh(solid_mass_properties((upright,), 500.0)[2])
    np.testing.assert_allclose(np.linalg.eigvalsh(solid_mass_properties((turned,), 500.0)[2]), expected, rtol=1e-9)
