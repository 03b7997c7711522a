"""Bodies that slide when pushed: friction holds them, walls and each other stop them, the arm's model ignores them."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import ChainConfig, kernel_terms
from controllers.description import Box, Fixture, Pose, Scene, Sliding, fr3, round_finger_tool
from controllers.description.fixtures import bolt
from controllers.link import LockstepLink
from controllers.plain import from_plain, to_plain
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.robots.mujoco_native import gather_terms
from controllers.types import Command
from safety.reference_limiter import ReferenceLimiterConfig

ARM, TOOL = fr3(), round_finger_tool()
MODEL = ArmModel(ARM, TOOL)
IDEAL = WristSensorConfig(0.0, 0.0, 0.0, 0.0, 0.0)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
FIRST, SECOND = np.array([0.50, 0.0, 0.10]), np.array([0.50, 0.10, 0.10])
SLIP_N = 2.4
seeds = st.integers(0, 2**32 - 1)


def wall() -> Fixture:
    box = Box(size_m=(0.02, 0.4, 0.03))
    return Fixture(name="wall", geoms=(box,), T_base_fixture=Pose(np.array([0.60, 0.0, 0.115])))


def scene() -> Scene:
    """Two bolts, the second turned, and a wall behind them."""
    bolts = (
        bolt("first", slip_n=SLIP_N, T_base_fixture=Pose(FIRST)),
        bolt("second", slip_n=SLIP_N, T_base_fixture=Pose.from_rpy(SECOND, (0.0, 0.0, 0.7))),
    )
    return Scene(tool=TOOL, fixtures=(*bolts, wall()))


def simulated() -> MujocoArm:
    return MujocoArm(ARM, scene(), IDEAL)


def place_of(arm: MujocoArm, name: str) -> np.ndarray:
    return np.array([arm.data.joint(f"{name}_{axis}").qpos[0] for axis in ("x", "y", "yaw")])


def pull(arm: MujocoArm, name: str, force_n: tuple[float, float], seconds: float, moment_nm: float = 0.0) -> None:
    """Pulls a bolt with a force in the plane while the arm rests, then lets go."""
    body = arm.model.body(name).id
    arm.data.xfrc_applied[body] = [*force_n, 0.0, 0.0, 0.0, moment_nm]
    for _ in range(round(seconds * 1000)):
        arm.write(np.zeros(7))
    arm.data.xfrc_applied[body] = 0.0


def test_sliding_fixtures_come_behind_the_arm_and_stand_where_they_are_described() -> None:
    arm = simulated()
    names = [arm.model.joint(index).name for index in range(arm.model.njnt)]
    assert names[:7] == [joint.name for joint in ARM.joints]
    assert names[7:] == [f"{name}_{axis}" for name in ("first", "second") for axis in ("x", "y", "yaw")]
    np.testing.assert_allclose(place_of(arm, "first"), [0.50, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(place_of(arm, "second"), [0.50, 0.10, 0.7], atol=1e-12)
    np.testing.assert_allclose(arm.data.body("second").xpos, SECOND, atol=1e-12)
    assert arm.model.nmocap == 0


@given(seeds)
@settings(max_examples=30)
def test_the_arms_mass_matrix_and_jacobian_do_not_know_of_them(seed: int) -> None:
    arm, rng = simulated(), np.random.default_rng(seed)
    q, qd = rng.uniform(ARM.lower_rad, ARM.upper_rad), rng.uniform(-1.0, 1.0, 7) * ARM.max_velocity_rad_s
    arm.data.qpos[:7], arm.data.qvel[:7] = q, qd
    arm.data.qpos[7:] = rng.uniform(-1.0, 1.0, 6)
    arm.data.qvel[7:] = rng.uniform(-1.0, 1.0, 6)
    mujoco.mj_forward(arm.model, arm.data)
    found, expected = ModelTerms(), ModelTerms()
    gather_terms(arm._views, kernel_terms(found))
    MODEL.terms(q, qd, expected)
    for name in ("position_base_m", "rotation_base", "jacobian", "mass", "coriolis_nm"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])
@pytest.mark.parametrize("name", ["first", "second"])
def test_friction_holds_a_bolt_until_it_is_pushed_harder(name: str, direction: tuple[float, float]) -> None:
    arm = simulated()
    before = place_of(arm, name)
    pull(arm, name, (0.8 * SLIP_N * direction[0], 0.8 * SLIP_N * direction[1]), 1.0)
    assert np.abs(place_of(arm, name) - before)[:2].max() < 5e-5, "held"
    pull(arm, name, (1.5 * SLIP_N * direction[0], 1.5 * SLIP_N * direction[1]), 0.2)
    moved = place_of(arm, name) - before
    # a = (1.5 - 1) slip / m = 1.5 m/s^2 over 0.2 s: 30 mm, if nothing is in the way
    assert float(moved[:2] @ direction) == pytest.approx(0.030, rel=0.1)
    resting = place_of(arm, name)
    pull(arm, name, (0.0, 0.0), 0.5)
    came_to_rest = place_of(arm, name)
    pull(arm, name, (0.0, 0.0), 1.0)
    assert np.linalg.norm(came_to_rest[:2] - resting[:2]) < 0.05
    np.testing.assert_allclose(place_of(arm, name), came_to_rest, atol=1e-6, err_msg="and stays there")


def test_turning_on_the_spot_meets_friction_too() -> None:
    arm = simulated()
    sliding = arm.scene.fixture("first").sliding
    assert sliding is not None
    pull(arm, "first", (0.0, 0.0), 0.5, 0.8 * sliding.friction_nm)
    assert abs(place_of(arm, "first")[2]) < 1e-2
    pull(arm, "first", (0.0, 0.0), 0.1, 2.0 * sliding.friction_nm)
    assert place_of(arm, "first")[2] > 0.1


def test_a_wall_and_another_bolt_stop_a_bolt() -> None:
    arm = simulated()
    pull(arm, "first", (10.0, 0.0), 2.0)
    assert 0.575 < place_of(arm, "first")[0] < 0.590 - 0.008 + 0.003, "at the wall's face"
    arm = simulated()
    pull(arm, "first", (0.0, 4.0), 2.0)
    assert place_of(arm, "second")[1] > SECOND[1] - 0.016 + 0.015, "the second was pushed along"
    assert place_of(arm, "second")[1] - place_of(arm, "first")[1] > 0.012, "and not passed through"


def pushed_by_the_arm() -> tuple[MujocoArm, Any]:
    """The finger, put before the first bolt, goes 60 mm along x; returns the arm and the reports of the last 0.2 s."""
    arm = simulated()
    tip = FIRST + np.array([-0.03, 0.0, 0.005])
    arm.teleport(MODEL.inverse_kinematics(Pose(tip, DOWN), ARM.home_rad))
    limiter = ReferenceLimiterConfig(box_min_base_m=(0.2, -0.3, 0.0), max_speed_m_s=0.05)
    link = LockstepLink(arm, MODEL, ChainConfig(limiter=limiter))
    for _ in range(10):
        link.send(Command(tip + np.array([0.06, 0.0, 0.0]), DOWN, np.array([600.0] * 3 + [30.0] * 3), duration_s=0.2))
        reports = link.step(0.2)
    return arm, reports


def test_the_finger_pushes_a_bolt_and_feels_its_friction() -> None:
    arm, reports = pushed_by_the_arm()
    tip_x = reports["position_base_m"][-1, 0]
    assert place_of(arm, "first")[0] == pytest.approx(tip_x + 0.018, abs=0.002), "the bolt lies before the finger"
    assert place_of(arm, "first")[0] > FIRST[0] + 0.02
    moving = np.abs(reports["twist_base"][:, 0]) > 0.01
    if moving.any():
        assert -reports["wrench_tool"][moving, 0].mean() == pytest.approx(SLIP_N, abs=0.6)
    np.testing.assert_allclose(place_of(arm, "second"), [0.50, 0.10, 0.7], atol=1e-6, err_msg="left alone")


def test_place_puts_a_bolt_back_at_rest() -> None:
    arm = simulated()
    pull(arm, "first", (6.0, 0.0), 0.1)
    arm.place("first", Pose.from_rpy((0.45, -0.05, 0.10), (0.0, 0.0, -0.4)))
    np.testing.assert_allclose(place_of(arm, "first"), [0.45, -0.05, -0.4], atol=1e-12)
    assert not arm.data.qvel[7:10].any()
    pull(arm, "first", (0.0, 0.0), 0.5)
    np.testing.assert_allclose(place_of(arm, "first"), [0.45, -0.05, -0.4], atol=1e-6)
    with pytest.raises(ValueError, match="sliding fixture 'first' stays upright at a height of 0.1 m, got z axis"):
        arm.place("first", Pose(np.array([0.45, 0.0, 0.2])))
    with pytest.raises(ValueError, match="stays upright"):
        arm.place("first", Pose.from_rpy((0.45, 0.0, 0.1), (0.1, 0.0, 0.0)))
    with pytest.raises(KeyError, match=r"no movable fixture 'wall'; there are \['first', 'second'\]"):
        arm.place("wall", Pose())


def test_a_snapshot_holds_them_moving() -> None:
    arm = simulated()
    pull(arm, "first", (6.0, 0.0), 0.1)
    there, speed = place_of(arm, "first"), arm.data.qvel.copy()
    snapshot = arm.snapshot()
    pull(arm, "first", (0.0, 0.0), 0.05)
    once = place_of(arm, "first")
    arm.place("first", Pose(FIRST))
    arm.restore(snapshot)
    np.testing.assert_array_equal(place_of(arm, "first"), there)
    np.testing.assert_array_equal(arm.data.qvel, speed)
    pull(arm, "first", (0.0, 0.0), 0.05)
    np.testing.assert_array_equal(place_of(arm, "first"), once)


def test_a_scene_with_them_goes_to_another_process_as_plain_values() -> None:
    again = from_plain(to_plain(scene()))
    assert again.fixture("first").sliding == scene().fixture("first").sliding
    assert again.fixture("first").movable


def test_what_cannot_slide_is_refused() -> None:
    shape, sliding = (
        (Box(size_m=(0.02, 0.02, 0.02)),),
        Sliding(mass_kg=1.0, moment_kg_m2=1e-4, friction_n=1.0, friction_nm=0.01),
    )
    with pytest.raises(ValueError, match="sliding fixture 'stone' stays upright"):
        Fixture(name="stone", geoms=shape, sliding=sliding, T_base_fixture=Pose.from_rpy((0, 0, 0), (0.2, 0, 0)))
    with pytest.raises(ValueError, match="friction_n must be a finite number above 0, got 0"):
        Sliding(mass_kg=1.0, moment_kg_m2=1e-4, friction_n=0.0, friction_nm=0.01)
    with pytest.raises(ValueError, match=r"flat: a bolt must be higher than it is thick, got 0.01 m and 0.016 m"):
        bolt("flat", height_m=0.01)
    with pytest.raises(ValueError, match="a finger with a domed end must be longer than its radius"):
        round_finger_tool(length_m=0.005)
