"""A step ends when the reflex arbiter takes the arm, and the arm then lets go of what it pressed on."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.chain import ChainConfig
from controllers.description import Pose
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm
from controllers.types import Command, Source
from safety.reasons import Reason
from safety.reflex import Mode, ReflexConfig
from safety.watch import WatchConfig
from tests.controllers.risk_tools import tell
from tests.controllers.test_link import DOWN, OneByOne, make

UNWATCHED = WatchConfig(enabled=False)
"""The force at the impact must not trip the other layer."""
PRESSING = ChainConfig(reflex=ReflexConfig(recovery="scripted"), watch=UNWATCHED)


class Alarm(OneByOne):
    """The simulated arm, tick by tick, with a critic that is alarmed by a force."""

    def watch(self, link: LockstepLink, force_n: float) -> None:
        read = self.read

        def reading(state: np.ndarray) -> None:
            read(state)
            tell(link.chain, 0.9 if np.linalg.norm(state["wrench_tool"][0, :3]) > force_n else 0.0)

        self.read = reading


def above_the_plate(config: ChainConfig) -> LockstepLink:
    """Beside the hole, 5 mm above the plate."""
    link = make(config=config)
    arm = link.robot
    assert isinstance(arm, MujocoArm)
    arm.teleport(link.model.inverse_kinematics(Pose(np.array([0.475, 0.02, 0.125]), DOWN), link.model.arm.home_rad))
    link.reset()
    return link


def push_down(link: LockstepLink, depth_m: float = 0.02) -> None:
    here = link.latest().position_base_m
    link.send(Command(here - np.array([0.0, 0.0, depth_m]), DOWN, np.array([1000.0] * 3 + [30.0] * 3)))


def say(link: LockstepLink, risk: float, recovery: tuple[float, ...] | None = None) -> None:
    tell(link.chain, risk, recovery)


def test_a_step_ends_with_the_tick_in_which_the_command_is_dropped() -> None:
    link = above_the_plate(PRESSING)
    assert isinstance(link.robot, MujocoArm)
    robot = Alarm(link.robot)
    alarmed = LockstepLink(robot, link.model, PRESSING)
    robot.watch(alarmed, 12.0)
    lengths = []
    for _ in range(20):
        push_down(alarmed)
        reports = alarmed.step(0.1, interruptible=True)
        lengths.append(len(reports))
        if len(reports) < 100:
            break
    assert lengths[-1] not in (1, 100), lengths
    assert (reports["mode"][:-1] < Mode.REFLEX).all()
    assert (reports["mode"][-1], reports["source"][-1]) == (Mode.REFLEX, Source.RECOVERY)
    assert alarmed.latest().tick == reports["tick"][-1]
    recovery = alarmed.step(0.1, interruptible=True)
    assert (recovery["mode"][:-1] >= Mode.REFLEX).all()
    assert recovery["tick"][0] == reports["tick"][-1] + 1


@pytest.mark.parametrize("compiled", [True, False])
def test_the_compiled_loop_stops_at_the_same_tick_and_loses_no_noise(compiled: bool) -> None:
    link = make(compiled, config=PRESSING)
    push_down(link, 0.005)
    link.step(0.037)
    say(link, 0.9)
    assert len(link.step(0.1, interruptible=True)) == 1
    say(link, 0.0)
    reports = link.step(0.2, interruptible=True)
    assert len(reports) == 60, "the shortest reflex, across the keep-alive's block of 50 ticks"
    assert (reports["mode"][-2], reports["mode"][-1]) == (Mode.REFLEX, Mode.NORMAL)
    assert len(link.step(0.1, interruptible=True)) == 100
    say(link, 0.9)
    push_down(link)
    assert len(link.step(0.1)) == 100, "not asked to stop"
    other = make(True, config=PRESSING)
    push_down(other, 0.005)
    other.step(0.037)
    say(other, 0.9)
    other.step(0.001)
    say(other, 0.0)
    np.testing.assert_allclose(other.step(0.06)["wrench_tool"], reports["wrench_tool"], atol=1e-9)


@pytest.mark.parametrize("recovery", ["scripted", "learned"])
def test_an_arm_that_presses_lets_go_within_the_reflex(recovery: str) -> None:
    config = ChainConfig(reflex=ReflexConfig(recovery=recovery), watch=UNWATCHED)
    link = above_the_plate(config)
    say(link, 0.0)
    for _ in range(15):
        push_down(link)
        pressing = link.step(0.1)
    pressed_n = np.linalg.norm(pressing["wrench_tool"][-50:, :3], axis=1).mean()
    assert pressed_n > 10.0
    say(link, 0.9, recovery=(0.0, 0.0, -0.5, -1.0))  # the tool's z axis points down
    reports = link.step(0.4)
    force_n = np.linalg.norm(reports["wrench_tool"][:, :3], axis=1)
    assert force_n.max() < pressed_n + 3.0
    assert force_n[150:].mean() < 0.3 * pressed_n
    assert (reports["reason"] == Reason.REFLEX).sum() > 300


def test_a_recovery_into_the_plate_is_held_with_a_bounded_force() -> None:
    config = ChainConfig(watch=UNWATCHED)
    link = above_the_plate(config)
    for _ in range(5):
        say(link, 0.0)
        push_down(link, 0.005)
        link.step(0.1)
    for hold in range(3):
        say(link, 0.9, recovery=(0.0, 0.0, 20.0, 20.0))  # into the plate
        push_down(link, 0.005)
        reports = link.step(0.65)
        modes = reports["mode"]
        assert (modes == Mode.REFLEX).sum() == 600
        assert modes[-1] == (Mode.STOP if hold == 2 else Mode.HOLD)
        force_n = np.linalg.norm(reports["wrench_tool"][:, :3], axis=1)
        assert force_n[200:600].mean() < 150.0 * 0.02 + 6.0, "stiffness x offset, and friction"
        assert force_n[200:600].mean() > 2.0, "it does press"
        say(link, 0.0)
        link.step(0.6)
    assert link.latest().latched == Reason.RISK_STOP
