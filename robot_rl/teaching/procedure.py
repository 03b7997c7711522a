"""A whole lesson: the arm is guided from the first step to the last; the file is written at the end or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, UnreachablePoseError
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.link import MotorLink
from data.errors import UserError
from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_file import write_taught
from robot_rl.tasks.taught_parts import FARTHEST_HIGH_M, FARTHEST_LOW_M, StartBox, TaughtPose, Workspace
from robot_rl.teaching import steps
from robot_rl.teaching.guide import Guide
from robot_rl.teaching.hand import KEYS, SimulatedHand
from robot_rl.teaching.lesson import Lesson
from robot_rl.teaching.session import BackError, QuitError, Session
from robot_rl.training.keys import Keys

_IK_TOLERANCE_M, _IK_RESTARTS = 1e-4, 3


def stage(lesson: Lesson) -> TaughtConfig:
    """Returns a task for the motor chain while teaching: the tool at hand, and all the room that any task may have."""
    home = ArmModel(fr3(), lesson.tool.description()).forward(fr3().home_rad)
    inside = np.clip(home.position_m, np.array(FARTHEST_LOW_M) + 0.01, np.array(FARTHEST_HIGH_M) - 0.01)
    return TaughtConfig(
        name=lesson.name,
        text=lesson.text,
        goal=TaughtPose.of(Pose(inside, home.quaternion_xyzw)),
        starts=StartBox((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        workspace=Workspace(FARTHEST_LOW_M, FARTHEST_HIGH_M),
        tool=lesson.tool,
        tilt_rad=1.5,
        plate=lesson.plate,
    )


def teach(lesson: Lesson, link: MotorLink, keys: Keys, path: Path, simulated: bool, out: TextIO | None = None) -> bool:
    """Goes through all steps and writes the file; returns whether it did. q or a lost terminal leave nothing behind.

    simulated: keys move a hand that pushes at the simulated arm. Raises UserError where there is no terminal, or the
    motor process is gone.
    """
    with keys:
        if not keys.available:
            raise UserError("expected a person at a terminal who leads the arm and presses keys, found none")
        session = Session(Guide(link, SimulatedHand() if simulated else None), keys, out)
        session.say(f"Teaching {lesson.name}: {lesson.text}. The arm can be led by hand from now on.")
        session.say("Keys: Enter takes, b goes back a step, q quits and writes nothing.")
        if simulated:
            session.say(f"No hand reaches a simulated arm; keys do: {KEYS}")
        try:
            config = _go_through(session, lesson, _reach(lesson))
        except QuitError:
            session.say("quit: nothing was written")
            return False
        write_taught(path, config)
        session.say(f"written: {path}")
        session.say(f"next: robot-rl task check {lesson.name}")
        return True


def _go_through(session: Session, lesson: Lesson, reachable: Callable[[NDArray[np.float64]], bool]) -> TaughtConfig:
    """Runs the steps in order; b leads to the one before."""
    teachings: tuple[Callable[[], None], ...] = (
        lambda: steps.teach_goal(session, lesson),
        lambda: steps.teach_starts(session, lesson),
        lambda: steps.teach_workspace(session, lesson, reachable),
        lambda: steps.teach_waypoints(session, lesson),
        lambda: steps.teach_success(session, lesson),
    )
    step = 0
    while True:
        try:
            if step == len(teachings):
                return steps.confirm(session, lesson, reachable)
            teachings[step]()
            step += 1
        except BackError:
            step = max(0, step - 1)
        except UserError as error:
            if step < len(teachings):
                raise
            session.say(f"   this does not make a task: {error}")
            step -= 1


def _reach(lesson: Lesson) -> Callable[[NDArray[np.float64]], bool]:
    """Returns whether the arm reaches a position (3,) with the tool turned as at the goal, or as it can be there."""
    model, home = ArmModel(fr3(), lesson.tool.description()), fr3().home_rad

    def reachable(position_base_m: NDArray[np.float64]) -> bool:
        wanted = Pose(position_base_m, lesson.goal_pose().quaternion_xyzw)
        try:
            model.inverse_kinematics(
                wanted, home, tolerance_m=_IK_TOLERANCE_M, tolerance_rad=1e-3, restarts=_IK_RESTARTS
            )
        except UnreachablePoseError:
            return False
        return True

    return reachable
