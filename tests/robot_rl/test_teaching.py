"""What follows from what an operator shows, and what happens when the arm moves, is pressed or stops meanwhile."""

from __future__ import annotations

import io
import os
import pty
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.types import REPORT, Command, Source, TickReport
from data.errors import UserError
from robot_rl.envs.acceptance import require_acceptable_actions
from robot_rl.tasks.taught import TaughtTask
from robot_rl.tasks.taught_parts import FARTHEST_HIGH_M, FARTHEST_LOW_M
from robot_rl.tasks.taught_tool import TaughtTool
from robot_rl.teaching.guide import Guide, RestlessError, mean_pose
from robot_rl.teaching.hand import SimulatedHand
from robot_rl.teaching.lesson import LEAST_PRESS_N, MOST_PRESS_N, START_MARGIN_M, Lesson, action_for, speed_for
from robot_rl.teaching.procedure import stage, teach
from robot_rl.training.keys import Keys
from safety.reasons import Reason
from safety.supervision import Answer, ResetRefused

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
spots = st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.01, 0.1))
GOAL = np.array([0.45, 0.0, 0.1])


def lesson_of(
    starts: list[tuple[float, float, float]], waypoints: list[tuple[float, float, float]] | None = None
) -> Lesson:
    lesson = Lesson("touch", "touch it", TaughtTool())
    lesson.goal = Pose(GOAL, DOWN)
    lesson.starts = [Pose(GOAL + start, DOWN) for start in starts]
    lesson.waypoints = [Pose(GOAL + place, DOWN) for place in waypoints or []]
    return lesson


@given(st.lists(spots, min_size=1, max_size=5), st.lists(spots, max_size=3), st.lists(spots, max_size=3))
def test_the_task_holds_all_that_was_shown(starts: Any, waypoints: Any, visited: Any) -> None:
    lesson = lesson_of(starts, waypoints)
    lesson.visited_m = [GOAL + place for place in visited]
    config = lesson.config()
    for pose in (lesson.goal_pose(), *lesson.starts, *lesson.waypoints):
        assert config.workspace.holds(pose.position_m, 2e-4)
    for place in lesson.visited_m:
        assert config.workspace.holds(place.clip(FARTHEST_LOW_M, FARTHEST_HIGH_M), 2e-4)
    for start in lesson.starts:
        relative = lesson.relative(start).position_m
        assert (relative >= np.array(config.starts.position_min_m) - 1e-4).all()
        assert (relative <= np.array(config.starts.position_max_m) + 1e-4).all()
    assert (np.array(config.workspace.low_base_m) >= FARTHEST_LOW_M).all()
    assert (np.array(config.workspace.high_base_m) <= FARTHEST_HIGH_M).all()
    require_acceptable_actions(TaughtTask(config))


@given(st.lists(st.floats(0.002, 0.1), min_size=1, max_size=4))
def test_the_start_box_keeps_half_the_way_to_the_goal(heights_m: list[float]) -> None:
    box = lesson_of([(0.0, 0.0, height) for height in heights_m]).start_box()
    assert -box.position_max_m[2] >= 0.5 * min(heights_m) - 1e-4
    assert -box.position_max_m[2] >= min(heights_m) - START_MARGIN_M - 1e-4


def test_the_workspace_shrinks_to_what_the_arm_reaches_but_never_below_what_is_needed() -> None:
    lesson = lesson_of([(0.0, 0.0, 0.05)])
    lesson.visited_m = [np.array([0.69, 0.3, 0.6])]
    box = lesson.workspace(lambda corner: bool(np.linalg.norm(corner) < 0.7))
    assert np.linalg.norm(box.high_base_m) < 0.75
    assert all(box.holds(place, 2e-4) for place in lesson.needed_m())
    with pytest.raises(UserError, match=r"the arm does not reach all corners of the box around goal, starts"):
        lesson.workspace(lambda corner: False)
    with pytest.raises(UserError, match=r"goal, starts and way-points span .* show them nearer to the arm"):
        lesson_of([(0.3, 0.0, 0.05)]).workspace()


@given(st.floats(LEAST_PRESS_N, MOST_PRESS_N))
def test_a_press_that_was_shown_is_one_that_a_policy_can_hold(force_n: float) -> None:
    lesson = lesson_of([(0.0, 0.0, 0.05)])
    lesson.success = lesson.press(force_n)
    bounds = lesson.success.force_n
    assert bounds is not None
    assert bounds[0] < force_n < bounds[1]
    config = lesson.config()
    assert config.action.push_n() >= bounds[1]
    require_acceptable_actions(TaughtTask(config))


@pytest.mark.parametrize("force_n", [0.5, 9.5])
def test_a_press_that_is_noise_or_too_hard_is_refused(force_n: float) -> None:
    with pytest.raises(UserError, match=r"a press must have 2 to 9 N, felt were"):
        lesson_of([(0.0, 0.0, 0.05)]).press(force_n)


@given(st.floats(0.0, 0.021))
def test_the_speed_limit_lets_an_increment_through(distance_m: float) -> None:
    from robot_rl.envs.acceptance import shortest_time_s

    assert shortest_time_s(distance_m, speed_for(distance_m), 10.0) <= 0.1


def test_a_place_alone_needs_no_larger_increments() -> None:
    lesson = lesson_of([(0.0, 0.0, 0.05)])
    assert action_for(lesson.place(), (0.0, 0.0, -1.0)).translation_m == (0.005, 0.005, 0.005)


@given(st.lists(st.tuples(*[st.floats(-0.01, 0.01)] * 3), min_size=1, max_size=9))
def test_the_mean_of_poses_ignores_a_quaternions_sign(offsets: list[tuple[float, float, float]]) -> None:
    poses = [Pose(GOAL + offset, DOWN * (-1.0) ** index) for index, offset in enumerate(offsets)]
    mean = mean_pose(poses)
    assert np.allclose(mean.position_m, GOAL + np.mean(offsets, axis=0), atol=1e-9)
    assert mean.distance(Pose(mean.position_m, DOWN))[1] < 1e-9


def test_while_teaching_the_whole_room_is_open_and_no_more() -> None:
    limiter = TaughtTask(stage(Lesson("touch", "touch it", TaughtTool()))).chain_config().limiter
    assert limiter.box_min_base_m == FARTHEST_LOW_M
    assert limiter.box_max_base_m == FARTHEST_HIGH_M


# an arm that is led


class LedArm:
    """A link whose tool is where it is put; `trip` latches it, and a person must reset it before it goes on."""

    name = "led-arm"

    def __init__(self) -> None:
        self.position_m, self.speed_m_s, self.force_n = np.array([0.45, 0.0, 0.3]), 0.0, 0.0
        self.latched, self.refusals, self.resets = 0, 0, 0
        self.sent: list[Command] = []

    def _report(self, ticks: int) -> NDArray[Any]:
        reports = np.zeros(ticks, REPORT)
        reports["position_base_m"], reports["quaternion_base_xyzw"] = self.position_m, DOWN
        reports["twist_base"][:, 0], reports["wrench_tool"][:, 2] = self.speed_m_s, -self.force_n
        reports["latched"] = reports["reason"] = self.latched
        return reports

    def reset(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ResetRefused(Answer.PERSON, self.latched, self.name)
        self.latched, self.resets = 0, self.resets + 1

    def grant(self) -> float:
        return 0.0

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        time.sleep(0.1 * duration_s)
        return self._report(max(1, round(1000 * duration_s)))

    def latest(self) -> TickReport:
        return TickReport.from_record(self._report(1)[0])

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def close(self) -> None:
        return


def test_guiding_follows_the_hand_softly() -> None:
    arm = LedArm()
    guide = Guide(arm)
    arm.position_m = np.array([0.5, 0.1, 0.3])
    guide.tick()
    guide.tick()
    command = arm.sent[-1]
    assert np.allclose(command.position_base_m, arm.position_m)
    assert command.source == Source.HUMAN
    assert command.stiffness.max() <= 20.0


def test_a_pose_is_taken_at_rest_only() -> None:
    arm = LedArm()
    guide = Guide(arm)
    assert np.allclose(guide.rest().T_base_tool.position_m, arm.position_m)
    arm.speed_m_s = 0.02
    with pytest.raises(RestlessError, match=r"the arm moves \(20 mm/s\): let it rest for a second, then press Enter"):
        guide.rest()
    arm.speed_m_s, arm.force_n = 0.0, 12.0
    with pytest.raises(RestlessError, match=r"the tool is pressed \(12 N\): lead it back a little"):
        guide.rest()
    assert guide.rest(pressing=True).force_n == pytest.approx(12.0)


@given(st.tuples(*[st.floats(-0.3, 0.3)] * 3), st.tuples(*[st.floats(-1.0, 1.0)] * 6))
def test_a_simulated_hand_never_pushes_harder_than_a_person(
    offset: tuple[float, float, float], twist: tuple[float, ...]
) -> None:
    hand, here = SimulatedHand(), Pose(GOAL, DOWN)
    hand.wrench(here, np.zeros(6))
    push = hand.wrench(Pose(GOAL + offset, DOWN), np.array(twist))
    assert np.abs(push[:3]).max() <= 25.0
    assert np.abs(push[3:]).max() <= 3.0


def test_keys_move_the_simulated_hand() -> None:
    hand, here = SimulatedHand(), Pose(GOAL, DOWN)
    assert not hand.move("b", here)
    assert hand.move("W", here)
    assert hand.move("u", here)
    push = hand.wrench(here, np.zeros(6))
    assert push[0] > 5.0
    assert push[5] > 0.5
    hand.let_go()
    assert not hand.wrench(here, np.zeros(6)).any()


class Pupil:
    """A lesson in its own thread, on a terminal of its own, with an arm that the test puts where it likes."""

    def __init__(self, path: Path) -> None:
        self.arm, self.out, self.path = LedArm(), io.StringIO(), path
        self.person, self._program = pty.openpty()
        self.written: bool | None = None
        self._thread = threading.Thread(target=self._learn, daemon=True)
        self._thread.start()

    def _learn(self) -> None:
        lesson = Lesson("touch", "touch it", TaughtTool())
        self.written = teach(lesson, self.arm, Keys(self._program), self.path, simulated=False, out=self.out)

    def sees(self, words: str, timeout_s: float = 20.0) -> None:
        """Waits until the words are on the screen."""
        deadline_s = time.monotonic() + timeout_s
        while words not in self.out.getvalue():
            assert time.monotonic() < deadline_s, f"{words!r} is not in:\n{self.out.getvalue()[-2000:]}"
            time.sleep(0.01)

    def types(self, keys: str) -> None:
        os.write(self.person, keys.encode())

    def shows(self, x: float, y: float, z: float, then: str) -> None:
        """Puts the tool somewhere, takes it, and waits for the answer."""
        self.arm.position_m = np.array([x, y, z])
        time.sleep(0.1)
        self.types("\n")
        self.sees(then)

    def ends(self) -> bool | None:
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        return self.written

    def close(self) -> None:
        self.types("q")
        self._thread.join(20.0)
        for descriptor in (self.person, self._program):
            os.close(descriptor)


@pytest.fixture
def pupil(tmp_path: Path) -> Iterator[Pupil]:
    pupil = Pupil(tmp_path / "tasks" / "touch.json")
    pupil.sees("1 of 6  GOAL")
    yield pupil
    pupil.close()


def test_a_lesson_from_the_first_step_to_the_file(pupil: Pupil) -> None:
    from robot_rl.tasks.taught_file import read_taught

    pupil.shows(0.45, 0.0, 0.20, "goal at +450 +0 +200 mm")
    pupil.shows(0.47, 0.0, 0.25, "start 1: +20 +0 -50 mm from the goal")
    pupil.shows(0.43, 0.02, 0.26, "start 2: -20 -20 -60 mm from the goal")
    pupil.types("n")
    pupil.sees("3 of 6  WORKSPACE")
    pupil.shows(0.50, 0.05, 0.30, "workspace +415 -15 +190 mm .. +510 +60 +310 mm")
    pupil.sees("4 of 6  WAY BACK")
    pupil.shows(0.46, 0.0, 0.24, "way-point 1: +460 +0 +240 mm")
    pupil.types("n")
    pupil.sees("5 of 6  SUCCESS")
    pupil.types("2")
    pupil.sees("Press the tool against the part")
    pupil.arm.force_n = 4.0
    pupil.shows(0.46, 0.0, 0.20, "not taken: 10.0 mm from the goal, 3.0 count")
    pupil.shows(
        0.45, 0.0, 0.20, "success: within 3.0 mm of the goal, turned by at most 0.10 rad, pressing with 2 to 6 N"
    )
    pupil.sees("6 of 6  LOOK")
    pupil.sees("too hard    above 40 N")
    assert not pupil.path.exists()
    pupil.types("\n")
    assert pupil.ends() is True
    task = read_taught(pupil.path)
    assert task.goal.position_m == (0.45, 0.0, 0.2)
    assert len(task.waypoints) == 1
    assert task.success.force_n == (2.0, 6.0)


def test_quitting_leaves_nothing_behind(pupil: Pupil) -> None:
    pupil.shows(0.45, 0.0, 0.20, "goal at")
    pupil.types("q")
    assert pupil.ends() is False
    pupil.sees("quit: nothing was written")
    assert not pupil.path.parent.exists()


def test_b_goes_back_a_step_and_what_is_shown_again_counts(pupil: Pupil) -> None:
    pupil.shows(0.45, 0.0, 0.20, "goal at +450 +0 +200 mm")
    pupil.sees("2 of 6  STARTS")
    pupil.types("b")
    time.sleep(0.2)
    pupil.shows(0.50, 0.0, 0.20, "goal at +500 +0 +200 mm")
    pupil.shows(0.50, 0.0, 0.25, "start 1: +0 +0 -50 mm from the goal")


def test_a_start_that_moves_is_not_taken(pupil: Pupil) -> None:
    pupil.arm.speed_m_s = 0.05
    pupil.shows(0.45, 0.0, 0.20, "not taken: the arm moves (50 mm/s): let it rest for a second, then press Enter")
    pupil.arm.speed_m_s, pupil.arm.force_n = 0.0, 20.0
    pupil.shows(0.45, 0.0, 0.20, "not taken: the tool is pressed (20 N): lead it back a little, then press Enter")


def test_a_stop_is_explained_and_teaching_goes_on_after_the_reset(pupil: Pupil) -> None:
    pupil.shows(0.45, 0.0, 0.20, "goal at +450 +0 +200 mm")
    pupil.arm.refusals, pupil.arm.latched = 1, int(Reason.FORCE_TRIP)
    pupil.sees("The arm stopped: ")
    pupil.sees("Then press Enter to go on (q quits).")
    time.sleep(0.3)
    assert pupil.arm.resets == 0, "nothing starts over before a person has looked"
    pupil.types("\n")
    pupil.sees("In another terminal: robot-rl safety reset led-arm")
    pupil.types("\n")
    pupil.sees("The arm can be led again.")
    assert pupil.arm.resets == 1
    pupil.shows(0.45, 0.0, 0.25, "start 1: +0 +0 -50 mm from the goal")


def test_without_a_terminal_nobody_can_teach(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"expected a person at a terminal who leads the arm and presses keys, found none"
    ):
        teach(Lesson("touch", "touch it", TaughtTool()), LedArm(), Keys(-1), tmp_path / "touch.json", simulated=False)
