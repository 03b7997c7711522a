"""The action's map to a target and back: tool frame, held rotations, gripper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from controllers.description.geometry import Pose
from controllers.types import REPORT
from robot_rl.envs.action_map import ActionMap
from robot_rl.tasks.actions import GRIPPER_NAME, POSE_NAMES, STIFFNESS_AXES, ActionSpec

seeds = st.integers(0, 2**32 - 1)
SOME_HELD = (("dx", "dy", "dz", "drz"), ("drx",), ("dx", "drx", "dry"), ("dx",))


class Seen:
    """What the map reads of a decision: the measured pose, and where the limited reference stands."""

    def __init__(self, T_base_tool: Pose, T_base_reference: Pose | None = None) -> None:
        self.T_base_tool, self.rotation_base_tool = T_base_tool, T_base_tool.rotation
        self.T_base_reference = T_base_reference or T_base_tool


def any_pose(rng: np.random.Generator) -> Pose:
    return Pose(rng.normal(size=3), Rotation.random(random_state=int(rng.integers(2**31))).as_quat())


def beside(pose: Pose, turn_rad: Any) -> Pose:
    return Pose(pose.position_m, (Rotation.from_quat(pose.quaternion_xyzw) * Rotation.from_rotvec(turn_rad)).as_quat())


def round_trip(mapping: ActionMap, measured: Pose, action: Any) -> tuple[Any, Pose]:
    before: Any = Seen(measured)
    target, whole = mapping.target(before, action)
    after: Any = Seen(measured, target)
    return mapping.executed(before, after, whole), target


@given(seeds)
@settings(max_examples=100)
def test_trap_5_all_rotations_active_round_trip_whatever_the_poses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = ActionSpec(rotation_rad=float(rng.uniform(0.01, 1.0)))
    goal, measured, action = any_pose(rng), any_pose(rng), rng.uniform(-1.0, 1.0, spec.size)
    executed, _ = round_trip(ActionMap(spec, goal), measured, action)
    np.testing.assert_allclose(executed, [*action[:6], 0.0], atol=1e-9)


@given(seeds, st.sampled_from(SOME_HELD))
@settings(max_examples=100)
def test_trap_5_with_held_rotations_the_active_ones_round_trip(seed: int, active: tuple[str, ...]) -> None:
    rng = np.random.default_rng(seed)
    spec, goal = ActionSpec(active=active, rotation_rad=0.1), any_pose(rng)
    measured, action = beside(goal, rng.uniform(-0.3, 0.3, 3)), rng.uniform(-1.0, 1.0, spec.size)
    executed, target = round_trip(ActionMap(spec, goal), measured, action)
    own = np.isin(np.arange(spec.size), spec.active_index)
    np.testing.assert_allclose(executed, np.where(own, action, 0.0), atol=1e-9)
    turned = (Rotation.from_quat(goal.quaternion_xyzw).inv() * Rotation.from_quat(target.quaternion_xyzw)).as_rotvec()
    np.testing.assert_allclose(turned[~own[3:6]], 0.0, atol=1e-9, err_msg="held rotations are the goal's")


@given(seeds)
@settings(max_examples=50)
def test_an_increment_does_not_depend_on_the_frame_in_which_all_is_stated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec, goal, measured, moved = ActionSpec(), any_pose(rng), any_pose(rng), any_pose(rng)
    action = rng.uniform(-1.0, 1.0, spec.size)
    _, here = round_trip(ActionMap(spec, goal), measured, action)
    _, there = round_trip(ActionMap(spec, moved.compose(goal)), moved.compose(measured), action)
    assert moved.compose(here).is_close(there, 1e-9)
    own = measured.inverse().compose(here)
    np.testing.assert_allclose(own.position_m, action[:3] * spec.translation_m, atol=1e-9)
    turn = Rotation.from_quat(own.quaternion_xyzw).as_rotvec()
    np.testing.assert_allclose(turn, action[3:6] * spec.rotation_rad, atol=1e-9, err_msg="about the tool's own axes")


def test_near_the_goal_a_turn_in_tool_axes_is_one_in_goal_axes() -> None:
    spec, goal = ActionSpec(rotation_rad=0.08), Pose()
    measured, action = beside(goal, (0.03, -0.05, 0.02)), np.array([0, 0, 0, 0.5, -0.5, 0.2, 0])
    _, target = round_trip(ActionMap(spec, goal), measured, action)
    turned = Rotation.from_quat(target.quaternion_xyzw).as_rotvec()
    np.testing.assert_allclose(turned, np.array([0.03, -0.05, 0.02]) + 0.08 * action[3:6], atol=2e-3)


@pytest.mark.parametrize(("wish", "opening_m"), [(-1.0, 0.01), (0.0, 0.045), (0.5, 0.0625), (1.0, 0.08)])
def test_the_gripper_goes_from_closed_to_open_and_back(wish: float, opening_m: float) -> None:
    spec = ActionSpec(active=(*POSE_NAMES, GRIPPER_NAME))
    mapping, report = ActionMap(spec, Pose(), (0.01, 0.08)), np.zeros((), REPORT)
    seen: Any = Seen(Pose())
    _, whole = mapping.target(seen, np.array([0.0] * 6 + [wish]))
    assert mapping.gripper_m(whole) == pytest.approx(opening_m)
    report["proposed_gripper_m"], report["executed_gripper_m"], report["gripper_m"] = 9.0, opening_m, 0.033
    assert mapping.executed(seen, seen, whole, report)[6] == pytest.approx(wish), (
        "what the chain lets through, not what was wished or is reached"
    )
    report["executed_gripper_m"], report["gripper_m"] = np.nan, 0.045
    assert mapping.executed(seen, seen, whole, report)[6] == pytest.approx(0.0), "nothing followed: it stays as it is"


@pytest.mark.parametrize(
    ("active", "range_m"), [(POSE_NAMES, (0.0, 0.08)), (POSE_NAMES, None), ((*POSE_NAMES, GRIPPER_NAME), None)]
)
def test_a_gripper_that_no_policy_has_is_left_alone(
    active: tuple[str, ...], range_m: tuple[float, float] | None
) -> None:
    mapping = ActionMap(ActionSpec(active=active), Pose(), range_m)
    assert np.isnan(mapping.gripper_m(np.ones(7)))


COLUMNS = [("k_translation", "k_rotation"), ("k_x", "k_y"), ("k_z",), ("k_translation", "k_rz")]


@pytest.mark.parametrize("columns", COLUMNS, ids="+".join)
@given(seed=seeds)
@settings(max_examples=30)
def test_the_stiffness_that_a_policy_chooses_comes_back_as_its_action(columns: tuple[str, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = (*rng.uniform(100.0, 500.0, 3), *rng.uniform(5.0, 30.0, 3))
    spec = ActionSpec(stiffness=base, stiffness_factor=2.0, stiffness_columns=columns, active=(*POSE_NAMES, *columns))
    action = rng.uniform(-1.0, 1.0, spec.size)
    report = np.zeros((), REPORT)
    report["executed_stiffness"] = spec.stiffness_of(action)
    seen: Any = Seen(Pose())
    executed = ActionMap(spec, Pose()).executed(seen, seen, np.zeros(spec.size), report)
    np.testing.assert_allclose(executed[7:], action[7:], atol=1e-9)
    scaled = spec.stiffness_of(action) / np.array(base)
    for column, name in enumerate(columns, start=7):
        np.testing.assert_allclose(scaled[list(STIFFNESS_AXES[name])], 2.0 ** action[column])
    others = [axis for axis in range(6) if not any(axis in STIFFNESS_AXES[name] for name in columns)]
    np.testing.assert_array_equal(scaled[others], 1.0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("k_x", "k_translation"), "no two stiffness_columns may scale the same entry"),
        (("k_x", "k_x"), "no two stiffness_columns may scale the same entry"),
        (("k_w",), "stiffness_columns needs some of"),
        ((), "stiffness_columns needs some of"),
    ],
)
def test_stiffness_columns_that_make_no_sense_are_refused(columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionSpec(stiffness_factor=2.0, stiffness_columns=columns)
