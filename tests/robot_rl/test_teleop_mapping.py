"""From axes to actions: bounded, in the right frame, and nothing moves without the dead-man."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.action_map import quaternion_of_vector
from robot_rl.tasks.actions import POSE_NAMES, ActionSpec
from robot_rl.tasks.maze import Maze
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.teleop.devices.base import Button, DeviceState
from robot_rl.teleop.mapping import FRAMES, LEVELS, Mapping, MappingConfig
from tests.robot_rl.teleop_fakes import push

FULL = len(LEVELS) - 1
DOWN = np.diag([1.0, -1.0, -1.0])
"""A tool that points down: its z axis into the table."""
SPECS = [PegInsertion().action, Maze().action, ActionSpec(active=(*POSE_NAMES, "gripper"))]
axes = st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6).map(np.array)
rotations = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(lambda rpy: Pose.from_rpy(np.zeros(3), rpy).rotation)
configs = st.builds(
    MappingConfig,
    frame=st.sampled_from(FRAMES),
    view_yaw_rad=st.floats(-4.0, 4.0),
    rotation_frame=st.sampled_from(["tool", "same"]),
    level=st.integers(0, FULL),
)


def held(values: NDArray[np.float64]) -> DeviceState:
    return DeviceState(0, values, held=True)


def mapped(state: DeviceState, R: NDArray[np.float64] = DOWN, spec: ActionSpec | None = None, **config: Any) -> Any:
    return Mapping(spec or SPECS[0], MappingConfig(**{"level": FULL} | config)).action(state, R)


@given(axes, rotations, configs, st.sampled_from(SPECS))
def test_actions_are_bounded_and_inactive_columns_are_zero(
    values: NDArray[np.float64], R: NDArray[np.float64], config: MappingConfig, spec: ActionSpec
) -> None:
    action = Mapping(spec, config).action(held(values), R)
    assert action.shape == (spec.size,)
    assert (np.abs(action) <= 1.0).all()
    inactive = np.setdiff1d(np.arange(spec.size), spec.active_index)
    assert not action[inactive].any()


@given(axes, rotations, configs, st.sampled_from(SPECS))
def test_without_the_dead_man_nothing_moves(
    values: NDArray[np.float64], R: NDArray[np.float64], config: MappingConfig, spec: ActionSpec
) -> None:
    assert not Mapping(spec, config).action(DeviceState(0, values, held=False), R)[:6].any()


@given(axes, rotations, configs)
def test_a_stick_moves_as_far_in_every_direction(
    values: NDArray[np.float64], R: NDArray[np.float64], config: MappingConfig
) -> None:
    """The step in metres has the length of the deflection, whatever the frame and the task's scales."""
    spec = SPECS[0]
    action = Mapping(spec, config).action(held(values), R)
    moved_m = np.linalg.norm(action[:3] * spec.translation_m)
    wanted_m = min(1.0, float(np.linalg.norm(values[:3]))) * LEVELS[config.level] * min(spec.translation_m)
    assert moved_m == pytest.approx(wanted_m, abs=1e-8)


def in_base(action: NDArray[np.float32], R: NDArray[np.float64]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = R @ (action[:3] * SPECS[0].translation_m)
    return moved / min(SPECS[0].translation_m)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"frame": "base"}, [1.0, 0.0, 0.0]),
        ({"frame": "view", "view_yaw_rad": math.pi / 2}, [0.0, 1.0, 0.0]),
        ({"frame": "view", "view_yaw_rad": math.pi}, [-1.0, 0.0, 0.0]),
        ({"frame": "tool"}, [0.0, 0.0, -1.0]),
    ],
)
def test_away_from_the_person_is_where_the_frame_says(config: dict[str, Any], expected: list[float]) -> None:
    R = Pose.from_rpy(np.zeros(3), (0.0, math.pi / 2, 0.0)).rotation  # tool's x axis down, its z axis along base x
    np.testing.assert_allclose(in_base(mapped(held(push([1.0])), R, **config), R), expected, atol=1e-6)


def test_twisting_turns_about_the_tools_axes_or_those_of_the_frame() -> None:
    twist = held(push([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    assert mapped(twist, frame="base")[5] == 1.0
    assert mapped(twist, frame="base", rotation_frame="same")[5] == pytest.approx(-1.0), "the tool points down"


poses = st.builds(
    lambda place, rpy: Pose.from_rpy(np.array(place), rpy),
    st.tuples(*[st.floats(-0.02, 0.02)] * 3),
    st.tuples(*[st.floats(-0.1, 0.1)] * 3),
)


@given(poses, poses)
def test_holding_leads_back_to_the_anchor_and_no_farther(anchor: Pose, here: Pose) -> None:
    spec = ActionSpec()
    action = Mapping(spec).hold(anchor, here)
    assert (np.abs(action) <= 1.0).all()
    reached = here.position_m + here.rotation @ (action[:3] * spec.translation_m)
    turned = here.compose(Pose(quaternion_xyzw=quaternion_of_vector(action[3:6].astype(float) * spec.rotation_rad)))
    near_m, near_rad = anchor.distance(Pose(reached, turned.quaternion_xyzw))
    far_m, far_rad = anchor.distance(here)
    assert near_m <= far_m + 1e-8
    if np.abs(action).max() < 1.0:
        assert near_m < 1e-8
        assert near_rad < 1e-6
    assert not Mapping(spec).hold(here, here)[:6].any() or far_rad < 1e-6


def test_speed_levels_have_ends() -> None:
    mapping = Mapping(SPECS[0], MappingConfig(level=3))
    for _ in range(9):
        mapping.press(Button.FASTER)
    assert mapping.speed == 1.0
    for _ in range(9):
        mapping.press(Button.SLOWER)
    assert mapping.speed == LEVELS[0]
    assert np.abs(mapping.action(held(push([1.0])), DOWN)).max() == pytest.approx(LEVELS[0])


def test_the_gripper_keeps_what_was_pressed_last_also_without_the_dead_man() -> None:
    mapping = Mapping(SPECS[2])
    mapping.begin(0.2)
    column = SPECS[2].names.index("gripper")
    assert mapping.action(DeviceState(0), DOWN)[column] == pytest.approx(0.2)
    mapping.press(Button.GRIPPER_CLOSE)
    assert mapping.action(DeviceState(0), DOWN)[column] == -1.0
    mapping.press(Button.GRIPPER_OPEN)
    assert mapping.action(held(push([])), DOWN)[column] == 1.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frame": "tol"}, "frame=tol is unknown; did you mean tool"),
        ({"rotation_frame": "base"}, "rotation_frame=base is unknown; did you mean same"),
        ({"view_yaw_rad": math.nan}, "view_yaw_rad must be finite"),
        ({"level": 6}, "level must be 0..5, got 6"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        MappingConfig(**wrong)
