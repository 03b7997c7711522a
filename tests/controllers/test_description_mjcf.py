"""The emitted simulator model: what it holds, how hard its contacts are, what its wrist feels."""

from __future__ import annotations

import mujoco
import numpy as np
import pinocchio as pin
import pytest

from controllers.arm_model import ArmModel, ModelTerms
from controllers.description import (
    CameraDescription,
    Pose,
    Scene,
    SimulationOptions,
    fr3,
    look_at,
    square_peg_tool,
    to_mjcf,
)
from controllers.description.fixtures import square_hole_plate
from controllers.description.geometry import Capsule, ContactSoftness, Sphere
from controllers.description.scene import Fixture

ARM = fr3()
TOOL = square_peg_tool()
PLATE_POSE = Pose(np.array([0.45, 0.0, 0.12]))
SCENE = Scene(
    tool=TOOL,
    fixtures=(square_hole_plate(0.022, T_base_fixture=PLATE_POSE),),
    cameras=(
        CameraDescription(name="side", T_base_camera=look_at((1.0, 0.0, 0.5), (0.0, 0.0, 0.0)), width_px=800),
        CameraDescription(name="hand", T_flange_camera=Pose(np.array([0.05, 0.0, 0.0]))),
    ),
)


def build(scene: Scene = SCENE, options: SimulationOptions | None = None) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(to_mjcf(ARM, scene, options))
    return model, mujoco.MjData(model)


def test_names_limits_and_options() -> None:
    model, _ = build()
    for i in range(8):
        model.body(f"link{i}")
    assert (model.nq, model.nv, model.nu, model.nmocap) == (7, 7, 7, 1)
    for i in range(7):
        np.testing.assert_array_equal(model.joint(f"fr3_joint{i + 1}").range, [ARM.lower_rad[i], ARM.upper_rad[i]])
        np.testing.assert_array_equal(
            model.actuator(f"motor{i + 1}").ctrlrange, [-ARM.max_torque_nm[i], ARM.max_torque_nm[i]]
        )
    assert model.opt.timestep == 0.001
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert (model.vis.global_.offwidth, model.vis.global_.offheight) == (800, 480)
    assert model.vis.quality.offsamples == 0
    np.testing.assert_array_equal(model.key("home").qpos, ARM.home_rad)


def test_mass_of_the_model_is_that_of_the_description() -> None:
    model, _ = build()
    links = sum(link.inertia.mass_kg for link in ARM.links)
    assert float(model.body_mass.sum()) == pytest.approx(links + TOOL.mass_kg, rel=1e-12)


def test_cameras_look_where_they_should() -> None:
    model, data = build()
    mujoco.mj_forward(model, data)
    line_of_sight = -data.cam_xmat[model.camera("side").id].reshape(3, 3)[:, 2]
    np.testing.assert_allclose(line_of_sight, np.array([-1.0, 0.0, -0.5]) / np.sqrt(1.25), atol=1e-9)
    flange = data.xmat[model.body("flange").id].reshape(3, 3)
    np.testing.assert_allclose(-data.cam_xmat[model.camera("hand").id].reshape(3, 3)[:, 2], flange[:, 2], atol=1e-9)


def test_movable_fixture_follows_its_mocap_pose() -> None:
    model, data = build()
    data.mocap_pos[0] = [0.5, 0.1, 0.2]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.body("plate").xpos, [0.5, 0.1, 0.2])


def test_at_rest_the_wrist_feels_the_tools_weight_and_the_arm_holds_itself() -> None:
    model, data = build()
    for q in (ARM.home_rad, ARM.home_rad + np.array([0.3, -0.2, 0.4, 0.3, 0.5, -0.4, 0.2])):
        data.qpos[:], data.qvel[:] = q, 0.0
        for _ in range(50):  # no torque: gravity is compensated
            mujoco.mj_step(model, data)
        np.testing.assert_allclose(data.qpos, q, atol=1e-6)
        rotation = data.xmat[model.body("flange").id].reshape(3, 3)
        weight = rotation.T @ np.array([0.0, 0.0, -9.81 * TOOL.mass_kg])
        np.testing.assert_allclose(data.sensor("wrist_force").data, -weight, atol=1e-3)
        np.testing.assert_allclose(data.sensor("wrist_torque").data, -np.cross(TOOL.com_flange_m, weight), atol=1e-4)


@pytest.mark.parametrize("q", [ARM.home_rad, ARM.lower_rad, ARM.upper_rad])
def test_the_arm_does_not_collide_with_itself(q: np.ndarray) -> None:
    model, data = build(Scene(tool=TOOL, table=None))
    data.qpos[:] = q
    mujoco.mj_forward(model, data)
    assert data.ncon == 0


def test_links_collide_with_fixtures_unless_they_are_only_to_be_seen() -> None:
    elbow = np.array([0.0, 0.0, 0.5])
    for collides in (True, False):
        ball = Fixture(name="ball", geoms=(Sphere(radius_m=0.3, collides=collides),), T_base_fixture=Pose(elbow))
        model, data = build(Scene(tool=TOOL, fixtures=(ball,)))
        data.qpos[:] = ARM.home_rad
        mujoco.mj_forward(model, data)
        assert (data.ncon > 0) == collides


Triple = tuple[float, float, float]


def press(offset_m: tuple[float, float], height_m: float, force_n: Triple) -> tuple[float, float, np.ndarray]:
    """Presses the peg by a ramp of J^T F; returns the largest and last penetration [mm] and the wrist force (3,)."""
    model, data = build()
    arm_model, terms = ArmModel(ARM, TOOL), ModelTerms()
    wanted = PLATE_POSE.compose(Pose.from_rpy((*offset_m, height_m), (np.pi, 0.0, 0.0)))
    data.qpos[:] = arm_model.inverse_kinematics(wanted, ARM.home_rad)
    mujoco.mj_forward(model, data)
    depths = []
    for tick in range(400):
        arm_model.terms(data.qpos, data.qvel, terms)
        twist = terms.jacobian @ data.qvel
        turn = pin.log3(wanted.rotation @ terms.rotation_base.T)
        wrench = np.concatenate([np.array(force_n) * min(1.0, tick / 200) - 60 * twist[:3], 40 * turn - 3 * twist[3:]])
        data.ctrl[:] = terms.jacobian.T @ wrench + terms.coriolis_nm - 0.5 * data.qvel
        mujoco.mj_step(model, data)
        depths.append(-1e3 * float(data.contact.dist.min()) if data.ncon else 0.0)
    return max(depths), depths[-1], data.sensor("wrist_force").data.copy()


@pytest.mark.parametrize(
    ("offset_m", "height_m", "force_n"),
    [
        ((0.003, 0.0), 0.0005, (0.0, 0.0, -30.0)),  # beside the hole, half over its rim
        ((0.04, 0.0), 0.0005, (0.0, 0.0, -30.0)),  # on the plate
        ((0.0, 0.0), -0.029, (0.0, 0.0, -30.0)),  # on the hole's floor
        ((0.0, 0.0), -0.02, (21.0, 21.0, 0.0)),  # into a corner of the hole
    ],
)
def test_thirty_newtons_press_the_peg_in_by_less_than_a_tenth_of_a_millimetre(
    offset_m: tuple[float, float], height_m: float, force_n: Triple
) -> None:
    peak, last, _ = press(offset_m, height_m, force_n)
    assert 0.0 < last <= peak <= 0.1


def test_wrist_reads_minus_the_external_force_and_the_weight() -> None:
    _, _, wrist_n = press((0.04, 0.0), 0.0005, (0.0, 0.0, -30.0))
    # tool z points down: the plate pushes along -z, gravity pulls along +z
    np.testing.assert_allclose(wrist_n, [0.0, 0.0, 30.0 - 9.81 * TOOL.mass_kg], atol=1.5)


def test_shapes_may_bring_their_own_contact() -> None:
    soft = Capsule(radius_m=0.1, length_m=0.1, contact=ContactSoftness(time_constant_s=0.02), friction=0.8)
    pad = Fixture(name="pad", geoms=(soft,), T_base_fixture=Pose(np.array([1.0, 0.0, 0.0])))
    model, _ = build(Scene(tool=TOOL, fixtures=(pad,), table=None))
    np.testing.assert_allclose(model.geom_solref[model.body("pad").geomadr[0]], [0.02, 1.0])
    assert model.geom_friction[model.body("pad").geomadr[0], 0] == 0.8


def test_contacts_faster_than_the_time_step_are_refused() -> None:
    with pytest.raises(ValueError, match="contact time constant 0.004 s must be at least 2 x 0.005 s"):
        SimulationOptions(timestep_s=0.005)
    with pytest.raises(ValueError, match="iterations must be 1 or more, got 0"):
        SimulationOptions(iterations=0)
