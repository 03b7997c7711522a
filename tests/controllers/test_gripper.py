"""A gripper from command to finger: moved, stopped by an object, bounded, left alone; in lock-step, compiled or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.description import FingerDescription, Scene, fr3, parallel_gripper_tool, square_peg_tool, to_mjcf
from controllers.description.arm import vector
from controllers.description.geometry import Box, Pose
from controllers.description.scene import Fixture
from controllers.description.urdf import to_urdf
from controllers.link import LockstepLink
from controllers.robots.base import CanGrip, GripRelay
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.types import STATE, Command
from data.errors import UserError
from tests.controllers.motor_fakes import FakeRobot, GrippingRobot

ARM, TOOL = fr3(), parallel_gripper_tool()
MODEL = ArmModel(ARM, TOOL)
IDEAL = WristSensorConfig(0.0, 0.0, 0.0, 0.0, 0.0)
SOFT = np.array([500.0] * 3 + [30.0] * 3)
BLOCK_M = 0.03


class OneByOne:
    """The same simulated arm without its compiled loop."""

    def __init__(self, arm: MujocoArm) -> None:
        self.rate_hz, self.start, self.stop = arm.rate_hz, arm.start, arm.stop
        self.read, self.write, self.grip = arm.read, arm.write, arm.grip


def block() -> Fixture:
    """A block between the pads of the arm at home, nearer to one of them."""
    where = MODEL.forward(ARM.home_rad).apply(np.array([0.0, 0.004, 0.0]))
    return Fixture(name="block", geoms=(Box(size_m=(BLOCK_M,) * 3),), T_base_fixture=Pose(where))


def make(*fixtures: Fixture, compiled: bool = True) -> LockstepLink:
    arm = MujocoArm(ARM, Scene(tool=TOOL, fixtures=fixtures), IDEAL)
    return LockstepLink(arm if compiled else OneByOne(arm), MODEL)


def grip(link: LockstepLink, opening_m: float, decisions: int = 10) -> Any:
    """Reports (n,) of decisions of 0.1 s that ask for an opening where the arm stands at home."""
    home = MODEL.forward(ARM.home_rad)
    parts = []
    for _ in range(decisions):
        link.send(Command(home.position_m, home.quaternion_xyzw, SOFT, gripper_m=opening_m))
        parts.append(link.step(0.1))
    return np.concatenate(parts)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_fingers_close_and_open_at_the_drives_speed(compiled: bool) -> None:
    link = make(compiled=compiled)
    assert link.latest().gripper_m == pytest.approx(0.08, abs=1e-6), "it begins open"
    for opening_m in (0.0, 0.08, 0.035):
        reports = grip(link, opening_m)
        assert reports["executed_gripper_m"][-1] == opening_m
        assert reports["gripper_m"][-1] == pytest.approx(opening_m, abs=1e-5)
        fastest_m_s = np.abs(np.diff(reports["gripper_m"])).max() * 1000.0
        assert fastest_m_s == pytest.approx(TOOL.fingers.max_speed_m_s, rel=0.01)


def test_compiled_loop_and_single_ticks_move_the_same_fingers() -> None:
    fast, slow = grip(make(block()), 0.0), grip(make(block(), compiled=False), 0.0)
    np.testing.assert_allclose(fast["gripper_m"], slow["gripper_m"], atol=1e-9)
    np.testing.assert_allclose(fast["q_rad"], slow["q_rad"], atol=1e-6)


def test_an_object_stops_the_fingers_and_is_pressed_with_the_drives_force() -> None:
    link = make(block())
    reports = grip(link, 0.0, 20)
    assert reports["executed_gripper_m"][-1] == 0.0
    assert reports["gripper_m"][-1] == pytest.approx(BLOCK_M, abs=2e-4)
    assert np.ptp(reports["gripper_m"][-500:]) < 1e-5, "at rest"
    assert isinstance(link.robot, MujocoArm)
    forces = np.zeros(6)
    presses = []
    for contact in range(link.robot.data.ncon):
        mujoco.mj_contactForce(link.robot.model, link.robot.data, contact, forces)
        presses.append(forces[0])
    assert sum(presses) == pytest.approx(2.0 * TOOL.fingers.max_force_n, rel=0.05), "two pads"
    assert grip(link, 0.06)["gripper_m"][-1] == pytest.approx(0.06, abs=1e-5), "and lets go"


def test_a_wish_outside_the_range_is_bounded_and_both_are_reported() -> None:
    link = make()
    for wish_m, opening_m in ((-0.5, 0.0), (3.0, 0.08)):
        last = grip(link, wish_m)[-1]
        assert (last["proposed_gripper_m"], last["executed_gripper_m"]) == (wish_m, opening_m)
        assert last["gripper_m"] == pytest.approx(opening_m, abs=1e-5)


def test_nan_a_reset_a_teleport_and_the_end_leave_the_gripper_as_it_is() -> None:
    link = make()
    grip(link, 0.02)
    last = grip(link, np.nan)[-1]
    assert np.isnan(last["executed_gripper_m"]) and last["gripper_m"] == pytest.approx(0.02, abs=1e-5)
    assert isinstance(link.robot, MujocoArm)
    link.robot.teleport(ARM.home_rad + 0.02)
    link.reset()
    assert link.step(0.3)["gripper_m"][-1] == pytest.approx(0.02, abs=1e-5)
    link.close()
    assert link.robot.data.ctrl[7] == 0.02 and not link.robot.data.ctrl[:7].any()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_snapshot_holds_the_fingers_in_motion_and_their_goal(compiled: bool) -> None:
    arm = MujocoArm(ARM, Scene(tool=TOOL), IDEAL)
    link = LockstepLink(arm if compiled else OneByOne(arm), MODEL)
    grip(link, 0.02, 3)
    saved = {**link.snapshot(), **arm.snapshot()}
    want = grip(link, np.nan, 5)
    assert 0.045 < want["gripper_m"][0] < 0.055 and want["gripper_m"][-1] == pytest.approx(0.02, abs=1e-3)
    grip(link, 0.08)
    arm.restore(saved)
    link.restore(saved)
    got = grip(link, np.nan, 5)
    for name in ("gripper_m", "q_rad", "wrench_tool"):
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    arm.restore(saved)
    link.restore(saved)
    assert grip(link, 0.08)["gripper_m"][-1] == pytest.approx(0.08, abs=1e-5), "asked for before the restore as well"


def test_the_tools_weight_is_removed_at_every_opening() -> None:
    arm, state = MujocoArm(ARM, Scene(tool=TOOL), IDEAL), np.zeros(1, STATE)
    for opening_m in (0.0, 0.03, 0.08):
        arm.data.qpos[7:], arm.data.ctrl[7] = 0.5 * opening_m, opening_m
        arm.teleport(ARM.home_rad + np.array([0.3, -0.2, 0.4, 0.3, 0.5, -0.4, 0.2]))
        arm.read(state)
        np.testing.assert_allclose(state["wrench_tool"][0], 0.0, atol=1e-3)
        assert state["gripper_m"][0] == pytest.approx(opening_m, abs=1e-12)


def test_a_robot_is_asked_once_for_each_new_opening() -> None:
    asked: list[float] = []

    class Listening(GrippingRobot):
        def grip(self, opening_m: float) -> None:
            asked.append(opening_m)

    link = LockstepLink(Listening({}), MODEL)
    for opening_m in (0.02, 0.02, np.nan, np.nan, 0.02, 0.5, 0.08, 0.0):
        grip(link, opening_m, 1)
    assert asked == [0.02, 0.02, 0.08, 0.0], "0.5 is 0.08 to this tool"


def test_a_gripper_that_the_robot_cannot_move_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"expected a robot that can move .*, got FakeRobot without grip\(opening_m\)"):
        LockstepLink(FakeRobot({}), MODEL)
    GripRelay(FakeRobot({}), None).follow(0.03)
    assert isinstance(MujocoArm(ARM, Scene(tool=TOOL)), CanGrip)
    with pytest.raises(RuntimeError, match="square_peg has no gripper: set gripper_range_m"):
        MujocoArm(ARM, Scene(tool=square_peg_tool())).grip(0.03)


def test_the_model_holds_two_fingers_behind_the_arm_and_the_tools_whole_mass() -> None:
    model = mujoco.MjModel.from_xml_string(to_mjcf(ARM, Scene(tool=TOOL)))
    assert (model.nq, model.nv, model.nu) == (9, 9, 8)
    assert [model.joint(f"finger_{side}").qposadr[0] for side in ("left", "right")] == [7, 8]
    np.testing.assert_allclose(model.actuator("gripper").ctrlrange, [0.0, 0.08])
    np.testing.assert_allclose(model.actuator("gripper").forcerange, [-70.0, 70.0])
    np.testing.assert_allclose(model.key("home").qpos, [*ARM.home_rad, 0.04, 0.04])
    links_kg = sum(link.inertia.mass_kg for link in ARM.links)
    assert float(model.body_mass.sum()) == pytest.approx(links_kg + TOOL.mass_kg, rel=1e-12)


def test_other_models_see_the_fingers_fixed_at_the_nominal_opening() -> None:
    boxes = TOOL.finger_boxes()
    own = [TOOL.T_flange_tool.inverse().apply(box.pose.position_m) for box in boxes]
    np.testing.assert_allclose(own, [[0.0, 0.025, -0.0145], [0.0, -0.025, -0.0145]], atol=1e-12)
    urdf = to_urdf(ARM, TOOL)
    assert urdf.count(f'size="{" ".join(str(size) for size in TOOL.fingers.size_m)}"') == 4, "seen and felt, two each"
    assert square_peg_tool().finger_boxes() == ()
    rest = TOOL.without_fingers()
    assert rest.mass_kg == pytest.approx(0.73)
    np.testing.assert_allclose(TOOL.T_flange_tool.rotation.T @ rest.com_m, [-0.01, 0.0, 0.03], atol=2e-3)


def test_fingers_that_the_tools_mass_has_no_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parallel_gripper: mass properties must hold those of two fingers of 1 kg"):
        replace(TOOL, fingers=FingerDescription(mass_kg=1.0))
    with pytest.raises(ValueError, match="fingers: max_force_n must be a finite number above 0, got 0.0"):
        FingerDescription(max_force_n=0.0)
    with pytest.raises(ValueError, match="square_peg has no gripper"):
        assert square_peg_tool().nominal_opening_m
    with pytest.raises(ValueError, match="a fixture needs a name of its own, got 'finger_left'"):
        Fixture(name="finger_left", geoms=(Box(size_m=vector((0.1, 0.1, 0.1))),))  # type: ignore[arg-type]
