"""The steps of a lesson: each says what to do and what to see, and puts what was shown into the lesson."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_parts import SuccessRule
from robot_rl.teaching.guide import Reading
from robot_rl.teaching.lesson import START_MARGIN_M, START_MARGIN_RAD, WORKSPACE_MARGIN_M, Lesson
from robot_rl.teaching.session import ENTER, NEXT, Session
from robot_rl.teaching.words import millimetres, success_in_words, summary

Array = NDArray[np.float64]
Reach = Callable[[Array], bool]
_TO_GOAL = "from the goal {:5.1f} mm {:5.2f} rad"


def teach_goal(session: Session, lesson: Lesson) -> None:
    """Step 1."""
    session.say("1 of 6  GOAL. Lead the tool to where it shall be at the end of the task, and let go of it.")
    session.say("        Enter takes the mean of half a second.")
    while True:
        session.wait(ENTER)
        rest = session.rest()
        if rest is None:
            continue
        lesson.goal, lesson.goal_spread_m = rest.T_base_tool, rest.spread_m
        session.say(f"   goal at {millimetres(rest.T_base_tool.position_m)}, force {rest.force_n:.1f} N")
        return


def teach_starts(session: Session, lesson: Lesson) -> None:
    """Step 2."""
    lesson.starts = []
    session.say("2 of 6  STARTS. Lead the tool to a place where an episode may start, let go, Enter; again for others,")
    session.say("        far apart. n goes on. Episodes start anywhere in the box around them, and")
    session.say(f"        {1e3 * START_MARGIN_M:.0f} mm and {START_MARGIN_RAD:g} rad beyond.")
    while session.wait(ENTER + NEXT, _to_goal(lesson)) == ENTER or not lesson.starts:
        rest = session.rest()
        if rest is None:
            continue
        lesson.starts.append(rest.T_base_tool)
        relative = lesson.relative(rest.T_base_tool)
        session.say(f"   start {len(lesson.starts)}: {millimetres(relative.position_m)} from the goal, in its axes")


def teach_workspace(session: Session, lesson: Lesson, reachable: Reach) -> None:
    """Step 3."""
    session.say("3 of 6  WORKSPACE. Lead the tool along the limits of where it may ever be. Enter when done.")
    session.say(
        f"        The box holds goal and starts in any case, and reaches {1e3 * WORKSPACE_MARGIN_M:.0f} mm further."
    )
    low, high = np.full(3, np.inf), np.full(3, -np.inf)

    def visit(reading: Reading) -> None:
        low[:] = np.minimum(low, reading.T_base_tool.position_m)
        high[:] = np.maximum(high, reading.T_base_tool.position_m)

    while True:
        session.wait(ENTER, lambda reading: f"led over {millimetres(high - low)}", visit)
        lesson.visited_m = [low.copy(), high.copy()]
        try:
            box = lesson.workspace(reachable)
        except UserError as error:
            session.say(f"   not taken: {error} (b goes back)")
            continue
        session.say(f"   workspace {millimetres(box.low_base_m)} .. {millimetres(box.high_base_m)}")
        return


def teach_waypoints(session: Session, lesson: Lesson) -> None:
    """Step 4."""
    lesson.waypoints = []
    session.say(
        "4 of 6  WAY BACK. If something stands between goal and starts, show the way around it, from the goal to"
    )
    session.say("        the starts: lead, let go, Enter for each way-point. n goes on, also with none.")
    while session.wait(ENTER + NEXT, _to_goal(lesson)) == ENTER:
        rest = session.rest()
        if rest is not None:
            lesson.waypoints.append(rest.T_base_tool)
            session.say(f"   way-point {len(lesson.waypoints)}: {millimetres(rest.T_base_tool.position_m)}")


def teach_success(session: Session, lesson: Lesson) -> None:
    """Step 5."""
    place = lesson.place()
    session.say(
        "5 of 6  SUCCESS. When has an episode succeeded? You may lead the tool to the goal and look at the numbers."
    )
    session.say(f"        1  {success_in_words(place)}")
    session.say("        2  likewise, and pressing: you show how hard")
    session.say(f"        3  {success_in_words(SuccessRule(operator=True))}")
    choice = session.wait("123", _to_goal(lesson))
    if choice == "1":
        lesson.success = place
    elif choice == "3":
        lesson.success = SuccessRule(operator=True)
    else:
        lesson.success = _show_press(session, lesson)
    session.say(f"   success: {success_in_words(lesson.success)}")


def _show_press(session: Session, lesson: Lesson) -> SuccessRule:
    session.say("   Press the tool against the part at the goal as hard as the task shall, holding the arm above the")
    session.say("   sensor. Enter takes the mean of half a second.")
    while True:
        session.wait(ENTER, _to_goal(lesson))
        rest = session.rest(pressing=True)
        if rest is None:
            continue
        distance_m, _ = lesson.goal_pose().distance(rest.T_base_tool)
        try:
            rule = lesson.press(rest.force_n)
        except UserError as error:
            session.say(f"   not taken: {error}")
            continue
        if distance_m > (rule.distance_m or 0.0):
            session.say(
                f"   not taken: {1e3 * distance_m:.1f} mm from the goal, {1e3 * (rule.distance_m or 0):.1f} count"
            )
            continue
        return rule


def confirm(session: Session, lesson: Lesson, reachable: Reach) -> TaughtConfig:
    """Step 6: returns the task once the operator agrees."""
    config = lesson.config(reachable)
    session.say("6 of 6  LOOK. This is what will be written. Enter writes it, b goes back, q forgets it.")
    for line in summary(config):
        session.say(f"        {line}")
    session.wait(ENTER)
    return config


def _to_goal(lesson: Lesson) -> Callable[[Reading], str]:
    goal: Pose = lesson.goal_pose()
    return lambda reading: _TO_GOAL.format(*_in_mm(goal.distance(reading.T_base_tool)))


def _in_mm(distance: tuple[float, float]) -> tuple[float, float]:
    return 1e3 * distance[0], distance[1]
