"""The arm on a real gzserver: it moves, feels and presses as the one in MuJoCo does, and its server ends in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description import Box, Fixture, Pose, Scene, fr3, square_peg_tool
from controllers.description.fixtures import bolt, square_hole_plate
from controllers.description.tool import ToolDescription
from controllers.link import LockstepLink
from controllers.robots.gazebo_arm import GazeboArm
from controllers.robots.mujoco_arm import MujocoArm
from controllers.robots.wrist_sensor import WristSensorConfig
from controllers.types import STATE, Command
from tests.controllers.gazebo_tools import require_gazebo

pytestmark = pytest.mark.slow
ARM = fr3()
IDEAL = WristSensorConfig(0.0, 0.0, 0.0, 0.0, 0.0)
STIFF = np.array([800.0] * 3 + [40.0] * 3)
TURNED = replace(
    square_peg_tool(),
    com_flange_m=np.array([0.01, -0.02, 0.04]),
    T_flange_tool=Pose.from_rpy((0.03, -0.02, 0.11), (0.4, -0.3, 0.8)),
)
Make = Callable[..., GazeboArm]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes arms on Gazebo, whose servers end with the test."""
    require_gazebo()
    made: list[GazeboArm] = []

    def arm(scene: Scene | None = None, sensor: WristSensorConfig = IDEAL, seed: int = 0) -> GazeboArm:
        made.append(GazeboArm(ARM, scene or Scene(tool=square_peg_tool()), sensor, seed))
        return made[-1]

    yield arm
    for each in made:
        each.stop()


def reading(arm: GazeboArm | MujocoArm) -> NDArray[np.void]:
    state = np.zeros(1, STATE)
    arm.read(state)
    return np.asarray(state[0])


def follow(arm: GazeboArm | MujocoArm, goals: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The tool's path (ticks, 3) while it follows goals relative to its start, a second each."""
    link = LockstepLink(arm, ArmModel(ARM, arm.scene.tool))
    start, path = link.latest(), []
    for goal in goals:
        for _ in range(10):
            link.send(Command(start.position_base_m + goal, start.quaternion_base_xyzw, STIFF))
            path.append(link.step(0.1)["position_base_m"])
    return np.concatenate(path)


@pytest.mark.parametrize("tool", [square_peg_tool(), TURNED], ids=["straight", "turned"])
def test_its_drives_carry_arm_and_tool_and_the_sensor_takes_the_weight_off(make: Make, tool: ToolDescription) -> None:
    arm, rng = make(Scene(tool=tool)), np.random.default_rng(0)
    for _ in range(5):
        q = ARM.lower_rad + (ARM.upper_rad - ARM.lower_rad) * rng.uniform(0.3, 0.7, 7)
        arm.teleport(q)
        before = reading(arm)
        for _ in range(100):
            arm.write(np.zeros(7))
        after = reading(arm)
        np.testing.assert_allclose(after["q_rad"], q, atol=1e-9)
        for state in (before, after):
            np.testing.assert_allclose(state["wrench_tool"], 0.0, atol=1e-6)


def test_a_wrong_payload_reads_as_it_does_in_mujoco(make: Make) -> None:
    sensor = replace(IDEAL, mass_error=0.3)
    here, there = make(Scene(tool=TURNED), sensor), MujocoArm(ARM, Scene(tool=TURNED), sensor)
    for q in (ARM.home_rad, ARM.home_rad + 0.3):
        here.teleport(q)
        there.teleport(q)
        for _ in range(10):
            here.write(np.zeros(7))
        want = reading(there)["wrench_tool"]
        assert np.linalg.norm(want[:3]) > 0.5
        np.testing.assert_allclose(reading(here)["wrench_tool"], want, atol=1e-6)


def test_noise_bias_and_seed_are_those_of_the_arm_in_mujoco(make: Make) -> None:
    sensor, scene = WristSensorConfig(mass_error=0.0), Scene(tool=square_peg_tool())
    here, there = make(scene, sensor, 3), MujocoArm(ARM, scene, sensor, 3)
    for arm in (here, there):
        arm.reseed(5)
        arm.tare()
    for _ in range(3):
        np.testing.assert_allclose(reading(here)["wrench_tool"], reading(there)["wrench_tool"], atol=1e-9)


def test_it_follows_targets_as_the_arm_in_mujoco_does(make: Make) -> None:
    scene = Scene(tool=square_peg_tool())
    goals = [np.array(goal) for goal in ((0.05, 0.05, -0.05), (-0.03, 0.02, 0.04), (0.0, -0.06, 0.0), (0.0, 0.0, 0.0))]
    here, there = follow(make(scene), goals), follow(MujocoArm(ARM, scene, IDEAL), goals)
    apart_m = np.linalg.norm(here - there, axis=1)
    assert np.linalg.norm(here[-1] - here[0]) < 0.003, "it came back"
    assert np.abs(here - here[0]).max() > 0.04, "it moved"
    assert apart_m.max() < 0.003, f"{1e3 * apart_m.max():.2f} mm apart"


def test_a_push_moves_it_as_in_mujoco_and_its_wrist_does_not_feel_it(make: Make) -> None:
    scene = Scene(tool=TURNED)
    moved = []
    for arm in (make(scene), MujocoArm(ARM, scene, IDEAL)):
        link = LockstepLink(arm, ArmModel(ARM, TURNED))
        start = link.latest()
        arm.push(np.array([0.0, 12.0, 0.0, 0.0, 0.0, 0.0]), 1.0)
        for _ in range(9):
            link.send(Command(start.position_base_m, start.quaternion_base_xyzw, STIFF))
            reports = link.step(0.1)
        moved.append(reports["position_base_m"][-1] - start.position_base_m)
        assert np.abs(reports["wrench_tool"][-1][:3]).max() < 0.2
        for _ in range(10):
            link.send(Command(start.position_base_m, start.quaternion_base_xyzw, STIFF))
            reports = link.step(0.1)
        assert np.linalg.norm(reports["position_base_m"][-1] - start.position_base_m) < 0.003
    assert moved[0][1] > 0.01
    np.testing.assert_allclose(moved[0], moved[1], atol=0.002)


def test_a_push_ends_where_the_world_is_put_back(make: Make) -> None:
    for arm in (make(), MujocoArm(ARM, Scene(tool=square_peg_tool()), IDEAL)):
        link = LockstepLink(arm, ArmModel(ARM, square_peg_tool()))
        start, before = link.latest(), arm.snapshot()
        arm.push(np.array([0.0, 12.0, 0.0, 0.0, 0.0, 0.0]), 60.0)
        offsets_m = []
        for _ in range(2):
            link.send(Command(start.position_base_m, start.quaternion_base_xyzw, STIFF, duration_s=1.0))
            offsets_m.append(np.linalg.norm(link.step(1.0)["position_base_m"][-1] - start.position_base_m))
            arm.restore(before)
        assert offsets_m[0] > 0.01 and offsets_m[1] < 0.001, f"{type(arm).__name__}: {offsets_m}"


def press(arm: GazeboArm | MujocoArm, force_n: float, fixture_top_m: float = 0.0) -> NDArray[np.void]:
    """Presses the tool down on a level surface by a feed-forward force; returns the last 100 reports."""
    model = ArmModel(ARM, arm.scene.tool)
    above = Pose(np.array([0.5, 0.0, fixture_top_m + 0.0002]), np.array([1.0, 0.0, 0.0, 0.0]))
    arm.teleport(model.inverse_kinematics(above, ARM.home_rad))
    arm.tare()
    link = LockstepLink(arm, model, ChainConfig())
    wrench = np.array([0.0, 0.0, -force_n, 0.0, 0.0, 0.0])
    soft_down = np.array([400.0, 400.0, 1.0, 40.0, 40.0, 40.0])
    for _ in range(15):
        link.send(Command(above.position_m, above.quaternion_xyzw, soft_down, feedforward_wrench_base=wrench))
        reports = link.step(0.1)
    return reports


@pytest.mark.parametrize("force_n", [3.0, 8.0])
def test_it_presses_on_the_table_with_the_force_that_was_commanded(make: Make, force_n: float) -> None:
    scene = Scene(tool=square_peg_tool())
    arm = make(scene)
    reports, expected = press(arm, force_n), press(MujocoArm(ARM, scene, IDEAL), force_n)
    assert abs(reports["executed_wrench_base"][-1][2] + force_n) < 0.05
    pressed_n = -reports["wrench_tool"][:, 2]  # the tool points down: the table pushes along its -z
    assert pressed_n.mean() == pytest.approx(-expected["wrench_tool"][:, 2].mean(), abs=0.4)
    assert pressed_n.mean() == pytest.approx(force_n, abs=0.6), "but for the friction of the joints"
    assert pressed_n.std() < 0.3
    assert abs(reports["position_base_m"][-1][2]) < 5e-4


def test_a_fixture_is_where_it_was_placed(make: Make) -> None:
    block = Fixture(name="block", geoms=(Box(size_m=(0.1, 0.1, 0.04)),), movable=True)
    arm = make(
        Scene(tool=square_peg_tool(), fixtures=(replace(block, T_base_fixture=Pose(np.array([0.5, 0.5, 0.2]))),))
    )
    arm.place("block", Pose(np.array([0.5, 0.0, 0.02])))
    reports = press(arm, 5.0, fixture_top_m=0.04)
    assert -reports["wrench_tool"][-1][2] == pytest.approx(5.0, abs=0.6)
    assert reports["position_base_m"][-1][2] == pytest.approx(0.04, abs=5e-4)
    arm.place("block", Pose(np.array([0.5, 0.5, 0.2])))
    assert press(arm, 5.0)["position_base_m"][-1][2] == pytest.approx(0.0, abs=5e-4), "it is gone from there"
    with pytest.raises(KeyError, match="no movable fixture 'door'; there are \\['block'\\]"):
        arm.place("door", Pose())


def test_a_peg_goes_into_its_hole(make: Make) -> None:
    plate = square_hole_plate(0.022, T_base_fixture=Pose(np.array([0.5, 0.0, 0.06])))
    arm = make(Scene(tool=square_peg_tool(), fixtures=(plate,)))
    reports = press(arm, 5.0, fixture_top_m=0.06)
    assert reports["position_base_m"][-1][2] == pytest.approx(0.03, abs=1e-3), "on the floor of the hole"


def test_a_bolt_gives_way_beyond_its_friction_and_rests_where_it_is_placed(make: Make) -> None:
    first = Pose(np.array([0.45, 0.10, 0.0]))
    scene = Scene(tool=square_peg_tool(), fixtures=(bolt("bolt", T_base_fixture=first, slip_n=2.4),))
    felt_n = []
    for arm in (make(scene), MujocoArm(ARM, scene, IDEAL)):
        model = ArmModel(ARM, arm.scene.tool)
        arm.place("bolt", Pose(np.array([0.50, 0.03, 0.0])))
        start = Pose(np.array([0.5, 0.0, 0.012]), np.array([1.0, 0.0, 0.0, 0.0]))
        arm.teleport(model.inverse_kinematics(start, ARM.home_rad))
        link = LockstepLink(arm, model)
        peak = []
        for step in range(30):
            goal = start.position_m + np.array([0.0, 0.002 * min(step, 20), 0.0])
            link.send(Command(goal, start.quaternion_xyzw, STIFF))
            peak.append(np.median(np.linalg.norm(link.step(0.1)["wrench_tool"][:, :2], axis=1)))
        felt_n.append(np.array(peak))
        assert link.latest().position_base_m[1] > 0.035, "the bolt gave way"
    assert felt_n[0][:3].max() < 0.3, "free before it meets the bolt"
    for felt in felt_n:
        assert np.median(felt[10:22]) == pytest.approx(2.4, abs=0.6), "while it slides"
        assert felt[-3:].mean() == pytest.approx(2.4, abs=0.3), "and where it comes to rest"
