"""A simulated hand leads the arm by the guiding law, and only a simulated arm has one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.guiding import GUIDE_PERIOD_S, guide_command
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MAX_PUSH, MujocoArm, WristSensorConfig
from controllers.shared_memory.layout import Request
from controllers.types import Source
from tests.controllers.test_motor_requests import Desk

QUIET = WristSensorConfig(0.0, 1e-6, 0.0, 0.0, 0.0)
"""A sensor without errors; a hair of noise, since a reading that never changes counts as a broken one."""


@pytest.fixture
def link() -> Iterator[LockstepLink]:
    scene = Scene(tool=square_peg_tool())
    link = LockstepLink(MujocoArm(fr3(), scene, QUIET), ArmModel(fr3(), scene.tool))
    yield link
    link.close()


def guided(link: LockstepLink, seconds: float, force_n: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Pushes while guiding; returns how far the tool went (3,) [m], and the mean force at the wrist at the end (3,)."""
    began = link.latest().position_base_m
    for _ in range(round(seconds / GUIDE_PERIOD_S)):
        link.robot.push(np.array([*force_n, 0.0, 0.0, 0.0]), GUIDE_PERIOD_S)  # type: ignore[attr-defined]
        report = link.latest()
        link.send(guide_command(Pose(report.position_base_m, report.quaternion_base_xyzw)))
        reports = link.step(GUIDE_PERIOD_S)
    return link.latest().position_base_m - began, reports["wrench_tool"][:, :3].mean(axis=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_hand_leads_the_arm_and_the_wrist_does_not_feel_it(link: LockstepLink, axis: int) -> None:
    force = np.zeros(3)
    force[axis] = 15.0
    moved_m, felt_n = guided(link, 0.5, (force[0], force[1], force[2]))
    assert moved_m[axis] > 0.01
    assert np.linalg.norm(felt_n) < 3.0  # the inertia of the tool, not the hand
    assert link.latest().source == Source.HUMAN
    guided(link, 1.0, (0.0, 0.0, 0.0))
    stays_m, felt_n = guided(link, 0.5, (0.0, 0.0, 0.0))
    assert np.linalg.norm(stays_m) < 0.001
    assert np.linalg.norm(felt_n) < 0.5


def test_a_push_ends_by_itself(link: LockstepLink) -> None:
    arm = link.robot
    assert isinstance(arm, MujocoArm)
    arm.push(np.array([5.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 0.02)
    link.step(0.02)
    assert np.abs(arm.data.xfrc_applied).max() == pytest.approx(5.0)
    link.step(0.02)
    assert not arm.data.xfrc_applied.any()


@pytest.mark.parametrize(
    ("wrench", "duration_s", "expected"),
    [
        ([np.nan] * 6, 1.0, "a push needs 6 finite numbers"),
        ([0.0] * 6, -1.0, "a push needs 6 finite numbers"),
        ([0.0] * 3, 1.0, "a push needs 6 finite numbers"),
        ([2.0 * MAX_PUSH[0]] + [0.0] * 5, 1.0, "a hand pushes with at most 60 N and 10 Nm"),
    ],
)
def test_a_push_that_makes_no_sense_is_refused(
    link: LockstepLink, wrench: list[float], duration_s: float, expected: str
) -> None:
    arm = link.robot
    assert isinstance(arm, MujocoArm)
    with pytest.raises(ValueError, match=expected):
        arm.push(np.array(wrench), duration_s)
    assert not arm.data.xfrc_applied.any()


def test_an_arm_that_is_not_simulated_refuses_a_simulated_hand() -> None:
    desk = Desk()
    try:
        assert desk.ask(Request.PUSH, values=[0.0] * 7) == (False, "Simulated cannot push: only a simulated arm can")
    finally:
        desk.close()
