"""The simulated arm senses as a real one would, and presses no harder than the leash allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description import Pose, Scene, fr3, square_peg_tool
from controllers.description.arm import vector
from controllers.description.geometry import Box
from controllers.description.scene import Fixture
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.types import STATE, Command
from safety.reference_limiter import ReferenceLimiterConfig

ARM = fr3()
IDEAL = WristSensorConfig(0.0, 0.0, 0.0, 0.0, 0.0)
seeds = st.integers(0, 2**32 - 1)
TURNED = replace(
    square_peg_tool(),
    com_flange_m=np.array([0.01, -0.02, 0.04]),
    T_flange_tool=Pose.from_rpy((0.03, -0.02, 0.11), (0.4, -0.3, 0.8)),
)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def still_wrench(arm: MujocoArm, q: np.ndarray, ticks: int = 1) -> np.ndarray:
    """Mean wrench (6,) that the arm reports at rest in a configuration, its weight carried by its drives."""
    arm.teleport(q)
    state, readings = np.zeros(1, STATE), []
    for _ in range(ticks):
        arm.read(state)
        readings.append(state["wrench_tool"][0].copy())
    return np.asarray(np.mean(readings, axis=0))


@pytest.mark.parametrize("tool", [square_peg_tool(), TURNED], ids=["straight", "turned"])
def test_the_tools_weight_is_removed_in_every_orientation(tool: object) -> None:
    exact = MujocoArm(ARM, Scene(tool=tool), IDEAL)  # type: ignore[arg-type]
    wrong = MujocoArm(ARM, Scene(tool=tool), replace(IDEAL, mass_error=0.02))  # type: ignore[arg-type]
    weight_n = exact.scene.tool.mass_kg * 9.81
    rng = np.random.default_rng(0)
    for _ in range(10):
        q = ARM.lower_rad + (ARM.upper_rad - ARM.lower_rad) * rng.uniform(0.2, 0.8, 7)
        np.testing.assert_allclose(still_wrench(exact, q), 0.0, atol=1e-6)
        residual = still_wrench(wrong, q)
        assert np.linalg.norm(residual[:3]) == pytest.approx(0.02 * weight_n, rel=1e-6)


def test_an_external_force_is_reported_about_the_control_point_in_tool_axes() -> None:
    scene = Scene(tool=TURNED)
    arm = MujocoArm(ARM, scene, IDEAL)
    link = LockstepLink(arm, ArmModel(ARM, TURNED))
    start = link.latest()
    body, force_base = arm.model.body("tool").id, np.array([3.0, -2.0, 5.0])
    arm.data.xfrc_applied[body][:3] = force_base  # at the tool's centre of mass
    for _ in range(30):
        link.send(Command(start.position_base_m, start.quaternion_base_xyzw, np.array([1000.0] * 3 + [60.0] * 3)))
        reports = link.step(0.1)
    R = Rotation.from_quat(reports["quaternion_base_xyzw"][-1]).as_matrix()
    lever = arm.data.xipos[body] - reports["position_base_m"][-1]
    want = np.concatenate([R.T @ force_base, R.T @ np.cross(lever, force_base)])
    np.testing.assert_allclose(reports["wrench_tool"][-1], want, atol=0.02)


def test_noise_and_bias_are_those_configured_and_a_tare_draws_a_new_bias() -> None:
    config = WristSensorConfig()
    arm = MujocoArm(ARM, Scene(tool=square_peg_tool()), config, seed=1)
    state, samples = np.zeros(1, STATE), []
    for _ in range(3000):
        arm.read(state)
        samples.append(state["wrench_tool"][0].copy())
    np.testing.assert_allclose(np.std(samples, axis=0), [0.5] * 3 + [0.01] * 3, rtol=0.1)
    means = []
    for _ in range(200):
        arm.tare()
        means.append(still_wrench(arm, ARM.home_rad))
    np.testing.assert_allclose(np.std(means, axis=0)[:3], np.hypot(0.5, 0.2), rtol=0.2)


def test_the_same_seed_gives_the_same_readings_in_any_block_size() -> None:
    streams = []
    for block in (1, 7):
        link = LockstepLink(MujocoArm(ARM, Scene(tool=square_peg_tool()), seed=3), ArmModel(ARM, square_peg_tool()))
        streams.append(np.concatenate([link.step(block * 0.001)["wrench_tool"] for _ in range(42 // block)]))
    np.testing.assert_array_equal(streams[0], streams[1])


def wall_scene() -> Scene:
    """A block that stands in the way on all sides: floor and two walls."""

    def block(x: float, y: float, z: float, size: tuple[float, float, float]) -> Box:
        return Box(pose=Pose(vector((x, y, z))), size_m=size)

    geoms = (
        block(0.0, 0.0, -0.05, (0.4, 0.4, 0.1)),
        block(0.13, 0.0, 0.1, (0.1, 0.4, 0.2)),
        block(0.0, 0.13, 0.1, (0.4, 0.1, 0.2)),
    )
    corner = Fixture(name="corner", geoms=geoms, T_base_fixture=Pose(vector((0.45, 0.0, 0.15))))
    return Scene(tool=square_peg_tool(), fixtures=(corner,))


@given(seeds)
@settings(max_examples=8)
def test_static_force_stays_within_stiffness_times_leash_for_random_commands(seed: int) -> None:
    """Whatever is asked, however often: a wall feels no more than K x leash per axis plus 2 N of joint friction."""
    rng, scene = np.random.default_rng(seed), wall_scene()
    arm, model = MujocoArm(ARM, scene, IDEAL), ArmModel(ARM, scene.tool)
    arm.teleport(model.inverse_kinematics(Pose(np.array([0.46, 0.01, 0.17]), DOWN), ARM.home_rad))
    limiter = ReferenceLimiterConfig(box_min_base_m=(0.2, -0.3, 0.0))
    link = LockstepLink(arm, model, ChainConfig(limiter=limiter))
    stiffness = rng.uniform([100.0] * 3 + [10.0] * 3, [1000.0] * 3 + [60.0] * 3)
    bound_n = stiffness[:3] * np.array(limiter.leash[:3])
    for _ in range(12):
        aim = np.array([0.46, 0.01, 0.17]) + rng.uniform(-0.05, 0.3, 3) * [1.0, 1.0, -1.0]
        for _ in range(3):
            link.send(Command(aim, DOWN, stiffness))
            reports = link.step(0.1)
        if np.abs(reports["qd_rad_s"][-1]).max() > 0.05:
            continue  # only a resting arm presses statically
        rotation = Rotation.from_quat(reports["quaternion_base_xyzw"][-1])
        force_base = rotation.apply(reports["wrench_tool"][-50:, :3].mean(axis=0))
        assert (np.abs(force_base) <= bound_n + 2.0).all()


def test_moving_and_rendering_say_what_is_missing() -> None:
    arm = MujocoArm(ARM, wall_scene())
    with pytest.raises(KeyError, match="no movable fixture 'corner'; there are"):
        arm.place("corner", Pose())
    with pytest.raises(ValueError, match="force_noise_n must be a finite number >= 0, got -1"):
        WristSensorConfig(force_noise_n=-1.0)
