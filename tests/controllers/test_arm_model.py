"""Simulator and kinematic model come from one description: they must be the same arm."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.arm_model import ArmModel, ModelTerms, UnreachablePoseError
from controllers.chain import kernel_terms
from controllers.description import Pose, Scene, fr3, parallel_gripper_tool, square_peg_tool, to_mjcf, to_urdf
from controllers.robots.mujoco_arm import MujocoArm
from controllers.robots.mujoco_native import gather_terms

ARM = fr3()
# a control point off the flange's axes and turned: a symmetric tool would hide a swapped axis
TOOL = replace(
    square_peg_tool(),
    com_flange_m=np.array([0.01, -0.02, 0.04]),
    inertia_flange_kg_m2=np.array([[8e-4, 1e-4, -5e-5], [1e-4, 7e-4, 2e-5], [-5e-5, 2e-5, 5e-4]]),
    T_flange_tool=Pose.from_rpy((0.03, -0.02, 0.11), (0.4, -0.3, 0.8)),
)
MODEL = ArmModel(ARM, TOOL)
GRIPPER = replace(parallel_gripper_tool((0.01, 0.07)), T_flange_tool=TOOL.T_flange_tool)
PAIRS = {
    tool.name: (ArmModel(ARM, tool), mujoco.MjModel.from_xml_string(to_mjcf(ARM, Scene(tool=tool))))
    for tool in (TOOL, GRIPPER)
}
SIMULATED = MujocoArm(ARM, Scene(tool=TOOL))
seeds = st.integers(0, 2**32 - 1)


def random_state(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(ARM.lower_rad, ARM.upper_rad), rng.uniform(-1.0, 1.0, 7) * ARM.max_velocity_rad_s


def terms_at(q: np.ndarray, qd: np.ndarray, model: ArmModel = MODEL) -> ModelTerms:
    terms = ModelTerms()
    model.terms(q, qd, terms)
    return terms


def simulated(
    simulator: mujoco.MjModel, q: np.ndarray, qd: np.ndarray, opening_m: float
) -> tuple[mujoco.MjData, np.ndarray, np.ndarray]:
    """The arm in a state, its fingers at rest; returns data, the control point's Jacobian (6, nv), mass (nv, nv)."""
    data = mujoco.MjData(simulator)
    data.qpos[:7], data.qvel[:7], data.qpos[7:] = q, qd, 0.5 * opening_m
    mujoco.mj_forward(simulator, data)
    jacobian, mass = np.zeros((6, simulator.nv)), np.zeros((simulator.nv, simulator.nv))
    mujoco.mj_jacSite(simulator, data, jacobian[:3], jacobian[3:], simulator.site("tool").id)
    mujoco.mj_fullM(simulator, data, mass)
    return data, jacobian, mass


@pytest.mark.parametrize("tool", PAIRS)
@given(seed=seeds)
def test_simulator_and_kinematic_model_agree(tool: str, seed: int) -> None:
    model, simulator = PAIRS[tool]
    q, qd = random_state(seed)
    terms = terms_at(q, qd, model)
    data, jacobian, mass = simulated(simulator, q, qd, GRIPPER.nominal_opening_m)
    site = simulator.site("tool").id
    np.testing.assert_allclose(terms.position_base_m, data.site_xpos[site], rtol=0, atol=1e-6)
    np.testing.assert_allclose(terms.rotation_base.ravel(), data.site_xmat[site], rtol=0, atol=1e-6)
    np.testing.assert_allclose(terms.jacobian, jacobian[:, :7], rtol=0, atol=1e-6)
    assert not jacobian[:, 7:].any(), "no finger moves the control point"
    np.testing.assert_allclose(terms.mass, mass[:7, :7], rtol=0, atol=1e-6)
    np.testing.assert_allclose(terms.coriolis_nm + terms.gravity_nm, data.qfrc_bias[:7], rtol=0, atol=1e-6)
    np.testing.assert_allclose(terms.gravity_nm, data.qfrc_gravcomp[:7], rtol=0, atol=1e-6)


@given(seeds, st.sampled_from((0.01, 0.07)))
def test_away_from_the_nominal_opening_the_arms_inertia_differs_by_what_the_fingers_page_says(
    seed: int, opening_m: float
) -> None:
    model, simulator = PAIRS[GRIPPER.name]
    q, qd = random_state(seed)
    data, _, mass = simulated(simulator, q, 0.0 * qd, opening_m)
    terms, thickness_m = terms_at(q, 0.0 * qd, model), GRIPPER.fingers.size_m[1]
    arms_m = 0.5 * (np.array([opening_m, GRIPPER.nominal_opening_m]) + thickness_m)
    bound_kg_m2 = abs(2.0 * GRIPPER.fingers.mass_kg * np.diff(arms_m**2)[0])
    assert 1e-6 < bound_kg_m2 < 4e-5
    # the difference is J_w^T dI J_w with columns of unit length: no entry exceeds the largest moment of dI
    assert np.abs(terms.mass - mass[:7, :7]).max() <= bound_kg_m2 + 1e-6
    np.testing.assert_allclose(terms.gravity_nm, data.qfrc_gravcomp[:7], rtol=0, atol=1e-6, err_msg="same centre")


@given(seeds)
def test_the_compiled_loop_gathers_the_terms_of_the_kinematic_model(seed: int) -> None:
    q, qd = random_state(seed)
    SIMULATED.data.qpos[:], SIMULATED.data.qvel[:] = q, qd
    mujoco.mj_step1(SIMULATED.model, SIMULATED.data)
    terms, gathered = terms_at(q, qd), ModelTerms()
    gather_terms(SIMULATED._views, kernel_terms(gathered))
    for name in ("position_base_m", "rotation_base", "jacobian", "mass", "coriolis_nm"):
        np.testing.assert_allclose(getattr(gathered, name), getattr(terms, name), rtol=0, atol=1e-6, err_msg=name)


@given(seeds)
def test_terms_have_the_properties_of_a_rigid_arm(seed: int) -> None:
    q, qd = random_state(seed)
    terms = terms_at(q, qd)
    np.testing.assert_array_equal(terms.mass, terms.mass.T)
    assert np.linalg.eigvalsh(terms.mass)[0] >= 0.074 - 1e-9  # motors alone are a lower bound
    np.testing.assert_allclose(terms_at(q, -qd).coriolis_nm, terms.coriolis_nm, atol=1e-9)  # quadratic in speed
    np.testing.assert_allclose(terms_at(q, 2.0 * qd).coriolis_nm, 4.0 * terms.coriolis_nm, atol=1e-9)
    np.testing.assert_allclose(terms_at(q, 0.0 * qd).coriolis_nm, 0.0, atol=1e-9)


@given(seeds)
def test_jacobian_is_the_derivative_of_forward_kinematics(seed: int) -> None:
    q, qd = random_state(seed)
    dt = 1e-6
    before, after = MODEL.forward(q - 0.5 * dt * qd), MODEL.forward(q + 0.5 * dt * qd)
    twist = terms_at(q, qd).jacobian @ qd
    np.testing.assert_allclose((after.position_m - before.position_m) / dt, twist[:3], atol=1e-5)
    spin = (after.rotation - before.rotation) / dt @ MODEL.forward(q).rotation.T
    np.testing.assert_allclose([spin[2, 1], spin[0, 2], spin[1, 0]], twist[3:], atol=1e-5)


def test_terms_are_written_in_place() -> None:
    terms = ModelTerms()
    arrays = [getattr(terms, name) for name in ModelTerms.__slots__]
    MODEL.terms(ARM.home_rad, np.ones(7), terms)
    for name, array in zip(ModelTerms.__slots__, arrays, strict=True):
        assert getattr(terms, name) is array
        assert array.flags["C_CONTIGUOUS"]
        assert array.dtype == np.float64
    pose = MODEL.forward(ARM.home_rad)
    np.testing.assert_allclose(terms.position_base_m, pose.position_m, atol=1e-12)
    np.testing.assert_allclose(terms.rotation_base, pose.rotation, atol=1e-12)


def test_earlier_results_survive_later_calls() -> None:
    first = MODEL.forward(ARM.home_rad)
    copy = first.matrix
    MODEL.forward(ARM.home_rad + 0.1)
    np.testing.assert_array_equal(first.matrix, copy)


def test_home_points_the_flange_down_in_front_of_the_arm() -> None:
    pose = ArmModel(ARM, square_peg_tool()).forward(ARM.home_rad)
    np.testing.assert_allclose(pose.rotation[:, 2], [0.0, 0.0, -1.0], atol=1e-9)
    assert pose.position_m[0] > 0.3
    assert pose.position_m[1] == pytest.approx(0.0, abs=1e-9)
    assert 0.2 < pose.position_m[2] < 0.6


@given(seeds)
def test_inverse_kinematics_round_trip(seed: int) -> None:
    q, _ = random_state(seed)
    wanted = MODEL.forward(q)
    found = MODEL.inverse_kinematics(wanted, ARM.home_rad)
    assert max(MODEL.forward(found).distance(wanted)) <= 2e-7
    assert np.all(found >= ARM.lower_rad) and np.all(found <= ARM.upper_rad)
    np.testing.assert_array_equal(MODEL.inverse_kinematics(wanted, ARM.home_rad), found)


def test_inverse_kinematics_stays_near_its_seed() -> None:
    wanted = MODEL.forward(ARM.home_rad)
    np.testing.assert_array_equal(MODEL.inverse_kinematics(wanted, ARM.home_rad), ARM.home_rad)
    near = wanted.compose(Pose.from_rpy((0.01, 0.0, 0.005), (0.0, 0.0, 0.05)))
    assert np.abs(MODEL.inverse_kinematics(near, ARM.home_rad) - ARM.home_rad).max() < 0.15


def test_unreachable_pose_names_the_residual() -> None:
    with pytest.raises(UnreachablePoseError, match=r"reaches \[2\.0, 0\.0, 0\.0\] m.*misses by 1\.\d+e\+03 mm"):
        MODEL.inverse_kinematics(Pose(np.array([2.0, 0.0, 0.0])), ARM.home_rad, restarts=2)
    with pytest.raises(ValueError, match=r"q_seed needs 7 numbers, got shape \(6,\)"):
        MODEL.inverse_kinematics(Pose(), np.zeros(6))


def test_urdf_holds_links_limits_and_shapes() -> None:
    root = ET.fromstring(to_urdf(ARM, TOOL))
    assert [link.get("name") for link in root.iter("link")] == [
        "base",
        *(f"link{i}" for i in range(8)),
        "flange",
        "tool",
    ]
    limit = root.find("joint[@name='fr3_joint4']/limit")
    assert limit is not None
    assert (limit.get("lower"), limit.get("upper"), limit.get("effort")) == ("-3.0481", "-0.1458", "87.0")
    tool = root.find("link[@name='tool']")
    assert tool is not None
    assert len(tool.findall("visual")) == len(tool.findall("collision")) == len(TOOL.geoms)
