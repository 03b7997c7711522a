"""A taught task behaves as any other: drawn, observed, judged, reset, checked; its file is read as it was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.checker import check_env
from robot_rl.envs.make import make_env
from robot_rl.envs.reset import way_to
from robot_rl.tasks.base import Draw, Sensed
from robot_rl.tasks.registry import make_task, task_class, task_names
from robot_rl.tasks.taught import STATE_NAMES, TaughtTask
from robot_rl.tasks.taught_file import as_text, read_taught, write_taught
from robot_rl.tasks.taught_parts import StartBox, SuccessRule, TaughtAction, TaughtPose, Workspace, tilt_rad
from robot_rl.tasks.taught_tool import TaughtTool
from tests.robot_rl.taught_tools import DOWN, TOUCH, touch

numbers = st.floats(-0.04, 0.04)


def sensed_at(pose: Pose, force_n: float = 0.0, before: int = 0) -> Sensed:
    return Sensed(
        stamp_ns=0,
        T_base_tool=pose,
        rotation_base_tool=pose.rotation,
        twist_base=np.zeros(6),
        wrench_tool=np.array([0.0, 0.0, -force_n, 0.0, 0.0, 0.0]),
        peak_force_n=force_n,
        peak_moment_nm=0.0,
        T_base_reference=pose,
        q_rad=np.zeros(7),
        gripper_m=np.nan,
        reasons=frozenset(),
        reached_before=before,
    )


GOAL = TOUCH.goal.pose
SEEN = Draw({}, GOAL, GOAL)


@given(st.integers(0, 2**32 - 1))
def test_every_start_lies_in_workspace_and_cone(seed: int) -> None:
    task = TaughtTask(TOUCH)
    draw = task.draw(np.random.default_rng(seed))
    assert TOUCH.workspace.holds(draw.T_base_start.position_m)
    relative = draw.T_base_goal.inverse().compose(draw.T_base_start)
    assert (relative.position_m >= np.array(TOUCH.starts.position_min_m) - 1e-9).all()
    assert (relative.position_m <= np.array(TOUCH.starts.position_max_m) + 1e-9).all()
    assert tilt_rad(relative.quaternion_xyzw) <= TOUCH.tilt_rad


@given(numbers, numbers, numbers, st.floats(0.0, 30.0), st.integers(0, 5))
def test_success_takes_place_and_force_over_decisions_in_a_row(
    x: float, y: float, z: float, force_n: float, before: int
) -> None:
    task = TaughtTask(TOUCH)
    place = GOAL.compose(Pose(np.array([x, y, z])))
    judged = task.judge(sensed_at(place, force_n, before), SEEN)
    there = bool(np.linalg.norm([x, y, z]) <= 0.004 and 2.0 <= force_n <= 6.0)
    assert judged.reached == there
    assert judged.success == judged.terminated == (there and before >= 2)
    assert judged.reward == float(judged.success)
    progress = task.observe(sensed_at(place, force_n, before), SEEN, np.zeros(7))["state"][-1]
    assert progress == pytest.approx(min(before + 1, 3) / 3 if there else 0.0)


def test_where_a_person_decides_the_task_never_does() -> None:
    task = TaughtTask(touch(success=SuccessRule(operator=True)))
    judged = task.judge(sensed_at(GOAL, 3.0, 9), SEEN)
    assert (judged.reward, judged.terminated, judged.success, judged.reached) == (0.0, False, False, False)


@given(numbers, numbers, numbers)
def test_targets_stay_in_the_workspace(x: float, y: float, z: float) -> None:
    task = TaughtTask(TOUCH)
    clipped = task.clip_target(Pose(np.array([0.45, 0.0, 0.12]) + 5.0 * np.array([x, y, z]), np.array(DOWN)), SEEN)
    assert TOUCH.workspace.holds(clipped.position_m, 1e-9)


def test_the_environment_counts_decisions_in_a_row() -> None:
    """Success comes with the third decision in a row at the goal, and not before."""
    env = make_env(TaughtTask(touch(success=SuccessRule(0.003, 0.1, None, decisions=3), plate=None)), teleport=True)
    draw = Draw({}, GOAL, GOAL.compose(Pose(np.array([0.0, 0.0, -0.002]))))
    for _ in range(2):  # a count never crosses a reset
        env.reset(seed=0, options={"draw": draw})
        still, away = np.zeros(7, np.float32), np.array([0, 0, -1, 0, 0, 0, 0], np.float32)
        ends = [env.step(action)[2] for action in (still, still)]
        assert ends == [False, False]
    env.reset(seed=0, options={"draw": draw})
    outcomes = [env.step(action) for action in (still, away, away, away, *[-away] * 4)]
    assert not any(outcome[2] for outcome in outcomes[:6])
    progress = [round(3 * float(outcome[0]["state"][-1])) for outcome in outcomes]
    assert progress[0] == 1
    assert 0 in progress[1:]
    env.close()


def test_checker_and_operator_find_it_sound() -> None:
    task = TaughtTask(TOUCH)
    env = make_env(task)
    assert [str(finding) for finding in check_env(env)] == []
    successes = 0
    for seed in range(5):
        operator = task.operator(np.random.default_rng(seed))
        observation, info = env.reset(seed=seed)
        assert info["reset_kind"] == "automatic"
        ended = False
        while not ended:
            observation, _, terminated, truncated, info = env.step(operator.act(observation, task.action.size))
            ended = terminated or truncated
        successes += info["success"]
    env.close()
    assert successes >= 4
    assert len(STATE_NAMES) == len(observation["state"])


# files


@given(
    st.tuples(numbers, numbers, numbers),
    st.sampled_from([None, (1.0, 5.0)]),
    st.integers(1, 9),
    st.booleans(),
)
def test_a_file_is_read_as_it_was_written(
    place: tuple[float, float, float], force_n: Any, decisions: int, operator: bool
) -> None:
    import tempfile

    x, y, z = place
    config = touch(
        goal=TaughtPose((0.45 + 0.1 * x, 0.1 * y, 0.1 + 0.1 * z), DOWN),
        success=SuccessRule(0.003, None, force_n, decisions, operator),
        waypoints=(TaughtPose((0.45, 0.0, 0.15), DOWN), TaughtPose((0.45, 0.05, 0.15), DOWN)),
        tool=TaughtTool("plain", 0.4, (0.0, 0.0, 0.05), (0.0, 0.01, 0.1)),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "touch.json"
        write_taught(path, config)
        assert read_taught(path) == config
        assert [item.name for item in Path(folder).iterdir()] == ["touch.json"]


def changed(change: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(as_text(TOUCH))
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.update(format="x"), "is no taught task: expected a JSON object with the format"),
        (lambda c: c.update(version=9), "has version 9 of taught tasks, this program reads 1: teach it again"),
        (lambda c: c.update(name="other"), "holds the task 'other': a file is named as its task, other.json"),
        (lambda c: c.pop("goal"), "goal is missing"),
        (lambda c: c.update(gaol=1), "unknown entry gaol; did you mean goal?"),
        (lambda c: c["limits"].update(speed=1), "unknown entry limits.speed; "),
        (
            lambda c: c["goal"].update(position_m=[0, 0]),
            "goal: position_m=.* does not fit TaughtPose: expected a list of 3",
        ),
        (lambda c: c["goal"].update(quaternion_xyzw=[0, 0, 0, 2]), "goal: no pose: .* must have length 1"),
        (lambda c: c.update(starts=[]), "starts must be an object with entries"),
        (lambda c: c.update(waypoints=[{"position_m": [0, 0, 0]}]), r"waypoints\[0\].quaternion_xyzw is missing"),
        (
            lambda c: c["starts"].update(position_min_m=[0.2, 0, 0]),
            "starts: position_min_m must be finite and not above",
        ),
        (
            lambda c: c["workspace"].update(low_base_m=[0.44, -0.07, 0.07]),
            "a corner of the start box at .* lies outside",
        ),
        (lambda c: c["workspace"].update(high_base_m=[0.9, 0.1, 0.2]), "workspace: a workspace lies within"),
        (
            lambda c: c["success"].update(force_n=[20, 30]),
            "success asks for 20 N, a policy can push with 4.8 N at most",
        ),
        (lambda c: c["success"].update(decisions=0), "success: decisions must be 1 or more, got 0"),
        (lambda c: c.update(tilt_rad=0.05), "a start or way-point is tilted by 0.14"),
        (lambda c: c["tool"].update(kind="spoon"), "tool: tool spoon is unknown"),
        (lambda c: c["tool"].update(kind="plain"), "tool: a plain tool needs mass_kg"),
        (
            lambda c: c["action"].update(active=["dx", "gripper"]),
            "may move the gripper, but the tool square_peg has none",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(change: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "touch.json"
    path.write_text(json.dumps(changed(change)))
    with pytest.raises(UserError, match=expected) as caught:
        read_taught(path)
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "touch.json"
    path.write_text(as_text(TOUCH)[:200])
    with pytest.raises(UserError, match=r"cannot read the taught task .*touch\.json"):
        read_taught(path)


# names


def test_it_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "touch" not in task_names()
    write_taught(tmp_path / "tasks" / "touch.json", TOUCH)
    assert "touch" in task_names()
    assert task_class("touch").text == TOUCH.text
    for name in ("touch", str(tmp_path / "tasks" / "touch.json")):
        task = make_task(name, settings={"max_steps": 7, "operator_noise": 0})
        assert (task.name, task.max_steps) == ("touch", 7)
    with pytest.raises(UserError, match=r"has no setting 'depth'"):
        make_task("touch", settings={"depth": 7})
    with pytest.raises(UserError, match=r"has the variants default, got 'tight'"):
        make_task("touch", "tight")
    with pytest.raises(UserError, match=r"expected a taught task at .*none\.json, found none"):
        make_task("none.json")


def test_a_name_of_code_is_not_given_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_taught(tmp_path / "tasks" / "maze.json", touch(name="maze"))
    with pytest.raises(UserError, match=r"task maze is taken by code and by the file tasks/maze\.json: rename"):
        task_class("maze")


# the automatic reset's way-points


def pose(x: float, z: float) -> Pose:
    return Pose(np.array([x, 0.0, z]), np.array(DOWN))


A, B, C = pose(0.40, 0.15), pose(0.45, 0.18), pose(0.50, 0.15)


@pytest.mark.parametrize(
    ("here", "start", "expected"),
    [
        (pose(0.39, 0.10), pose(0.51, 0.10), (A, B, C)),
        (pose(0.51, 0.10), pose(0.39, 0.10), (C, B, A)),
        (pose(0.45, 0.17), pose(0.51, 0.10), (B, C)),
        (pose(0.51, 0.11), pose(0.51, 0.10), ()),
    ],
)
def test_waypoints_are_taken_in_the_direction_that_suits(here: Pose, start: Pose, expected: tuple[Pose, ...]) -> None:
    assert way_to((A, B, C), here, start) == expected
    assert way_to((C, B, A), here, start) == expected
    assert way_to((), here, start) == ()


def test_the_reset_drives_around_what_stands_in_the_way() -> None:
    """The straight way from the goal to the start leads through a wall of 0.06 m; the way-points lead over it."""
    from controllers.description.geometry import Box
    from controllers.description.scene import Fixture, Scene

    wall = Fixture(
        name="wall",
        geoms=(Box(size_m=(0.01, 0.3, 0.1)),),
        T_base_fixture=Pose(np.array([0.45, 0.0, 0.05])),
    )
    config = touch(
        goal=TaughtPose((0.40, 0.0, 0.05), DOWN),
        starts=StartBox((0.10, 0.0, -0.01), (0.10, 0.0, -0.01)),
        workspace=Workspace((0.36, -0.07, 0.03), (0.54, 0.07, 0.25)),
        waypoints=(TaughtPose((0.40, 0.0, 0.14), DOWN), TaughtPose((0.50, 0.0, 0.14), DOWN)),
        plate=None,
    )

    class Walled(TaughtTask):
        def scene(self) -> Scene:
            return replace(super().scene(), fixtures=(wall,))

    task = Walled(config)
    env = make_env(task)
    start = task.draw(np.random.default_rng(0))
    model: Any = env.link.model  # type: ignore[attr-defined]
    env.world.teleport(model.inverse_kinematics(config.goal.pose, env.world.arm.home_rad))
    _, info = env.reset(seed=0, options={"draw": start})
    env.close()
    assert info["reset_attempts"] == 1
    assert info["reset_peak_n"] < 15.0  # nothing was touched


def test_a_policy_that_may_hold_the_push_is_asked_for_nothing_more() -> None:
    assert TaughtAction().push_n() == pytest.approx(3.0)
    assert TaughtAction(active=("dz",), translation_m=(0.02, 0.02, 0.008)).push_n() == pytest.approx(4.8)
