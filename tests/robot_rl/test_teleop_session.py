"""The dead-man and the edges of teleoperation, on the simulated arm in lock-step with its real supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.link import LockstepLink
from controllers.types import Command, Source, TickReport
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.teleop.devices.base import Button, DeviceLost
from robot_rl.teleop.mapping import Mapping, MappingConfig
from robot_rl.teleop.operator import EpisodeDiscarded, TeleopOperator, attend
from robot_rl.teleop.session import LOOK_S, AttendedLink, Session
from safety.reasons import Reason
from safety.supervision import Heartbeat
from tests.robot_rl.teleop_fakes import Hand, push

OBSERVED: dict[str, NDArray[Any]] = {}


class Watching:
    """A motor link that keeps what went through it."""

    def __init__(self, link: LockstepLink) -> None:
        self.link = link
        self.reports: list[NDArray[Any]] = []
        self.beats: list[tuple[int, bool]] = []
        self.commands: list[Command] = []

    def reset(self) -> None:
        self.link.reset()

    def grant(self) -> float:
        return self.link.grant()

    def send(self, command: Command) -> None:
        self.commands.append(command)
        self.link.send(command)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        self.reports.append(self.link.step(duration_s, interruptible))
        return self.reports[-1]

    def heartbeat(self, source: Heartbeat, in_use: bool = True) -> None:
        assert source is Heartbeat.OPERATOR
        self.beats.append((self.link.now_ns(), in_use))
        self.link.heartbeat(source, in_use)

    def latest(self) -> TickReport:
        return self.link.latest()

    def now_ns(self) -> int:
        return self.link.now_ns()

    def close(self) -> None:
        self.link.close()


class Desk:
    """A person at the peg task: above the plate, in free space."""

    def __init__(self) -> None:
        self.env: RobotEnv = make_env(PegInsertion(start_height_m=(0.015, 0.015)), teleport=True)
        assert isinstance(self.env.link, LockstepLink)
        self.watching, self.hand = Watching(self.env.link), Hand()
        self.env.link = self.watching
        mapping = Mapping(self.env.task.action, MappingConfig(frame="base", level=5))
        self.session = Session(self.hand, mapping, self.watching.now_ns)
        self.link = attend(self.env, self.session)
        self.operator = TeleopOperator(self.env, self.session)
        self.env.reset(seed=3)
        self.operator.reset()

    def decide(self, count: int = 1) -> list[Any]:
        results = []
        for _ in range(count):
            action = self.operator.act(OBSERVED, 7)
            self.env.source = self.operator.source
            results.append(self.env.step(action))
        return results

    @property
    def place_m(self) -> NDArray[np.float64]:
        return np.array(self.env.link.latest().position_base_m)

    def reference_steps_m(self) -> NDArray[np.float64]:
        """How far the reference went in each tick."""
        reference = np.concatenate(self.watching.reports)["executed_position_base_m"]
        return np.asarray(np.linalg.norm(np.diff(reference, axis=0), axis=1))


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    yield found
    found.env.close()


def test_without_the_dead_man_the_arm_stays_whatever_the_stick_says(desk: Desk) -> None:
    desk.hand.axes, before_m = push([1.0, 1.0, 1.0, 1.0]), desk.place_m
    desk.decide(100)
    assert np.linalg.norm(desk.place_m - before_m) < 1e-3
    assert desk.operator.source == Source.HOLD
    assert not any(in_use for _, in_use in desk.watching.beats)


def test_with_the_dead_man_it_goes_where_the_stick_points(desk: Desk) -> None:
    desk.hand.axes, desk.hand.held, before_m = push([0.0, 0.0, -1.0]), True, desk.place_m
    *_, (_, _, _, _, info) = desk.decide(3)
    moved_m = desk.place_m - before_m
    assert moved_m[2] < -0.004
    assert np.abs(moved_m[:2]).max() < 0.4 * abs(moved_m[2])
    assert (info["source"], desk.operator.source) == (Source.HUMAN, Source.HUMAN)


def test_heartbeats_come_with_each_look_while_it_is_held(desk: Desk) -> None:
    desk.hand.held = True
    desk.decide(5)
    beats_ns = np.array([stamp_ns for stamp_ns, in_use in desk.watching.beats if in_use])
    assert np.diff(beats_ns).max() <= LOOK_S * 1e9 + 1
    assert len(beats_ns) >= 5 * round(0.1 / LOOK_S)


def test_letting_go_stops_the_arm_within_a_look_and_rests_as_long_as_one_likes(desk: Desk) -> None:
    desk.hand.axes, desk.hand.held = push([0.0, 0.0, -1.0]), True
    desk.decide(1)
    looks = desk.hand.looks

    def let_go(hand: Hand) -> None:
        hand.held = hand.looks < looks + 3  # in the midst of the next decision

    desk.hand.script = let_go
    desk.watching.reports.clear()
    desk.decide(1)
    reports = np.concatenate(desk.watching.reports)
    assert len(reports) == 100
    asked = np.linalg.norm(reports["proposed_position_base_m"] - reports["position_base_m"], axis=1)
    assert asked[10] > 1e-3
    assert asked[-1] < 2e-3, "the last command asks for where the arm was when the hand let go"
    assert desk.watching.beats[-1][1] is False
    before_m = desk.place_m
    *_, (_, _, _, _, info) = desk.decide(80)  # 8 s: longer than any hold that the supervisor asks for may last
    assert not info["held"]
    assert np.linalg.norm(desk.place_m - before_m) < 2e-3


def test_pressing_again_begins_where_the_arm_is(desk: Desk) -> None:
    """Clutch: whatever the hand does while it is released, the reference never goes faster than its limit."""
    limiter = desk.env.task.chain_config().limiter
    desk.watching.reports.clear()
    strokes: list[tuple[bool, list[float]]] = [
        (True, [0, 1]),
        (False, [1, -1, 1]),
        (True, [0, -1]),
        (False, []),
        (True, [1.0]),
    ]
    for held, axes in strokes * 2:
        desk.hand.held, desk.hand.axes = held, push(axes)
        desk.decide(2)
    assert desk.reference_steps_m().max() <= limiter.max_speed_m_s / 1000.0 * 1.001


def test_a_program_that_stalls_with_the_dead_man_held_is_held_by_the_supervisor(desk: Desk) -> None:
    desk.hand.axes, desk.hand.held = push([0.0, 1.0]), True
    desk.decide(2)
    reports = desk.watching.link.step(0.4)  # nobody looks at the device meanwhile
    held = np.flatnonzero(reports["reason"] == Reason.HEARTBEAT)
    assert held.size
    assert held[0] <= 300, "0.25 s after the last beat, found within 50 ms of simulated time"


def test_an_unplugged_device_holds_the_arm_and_says_so(desk: Desk) -> None:
    desk.hand.axes, desk.hand.held = push([0.0, 1.0]), True
    desk.decide(2)
    looks = desk.hand.looks

    def unplug(hand: Hand) -> None:
        hand.gone = hand.looks >= looks + 4

    desk.hand.script = unplug
    with pytest.raises(DeviceLost, match="the arm holds where it is"):
        desk.decide(1)
    target_m, here_m = desk.watching.commands[-1].position_base_m, desk.place_m
    np.testing.assert_allclose(target_m, here_m, atol=1e-6)
    desk.watching.link.step(0.5)
    assert np.linalg.norm(desk.place_m - here_m) < 2e-3


def test_the_discard_key_drops_the_episode_and_success_is_a_verdict(desk: Desk) -> None:
    assert desk.operator.verdict() is None
    desk.hand.press(Button.SUCCESS)
    desk.decide(1)
    assert desk.operator.verdict() is True
    assert desk.operator.verdict() is None, "it counts once"
    desk.hand.press(Button.DISCARD)
    with pytest.raises(EpisodeDiscarded):
        desk.decide(1)


def test_what_is_pressed_during_the_reset_does_not_count(desk: Desk) -> None:
    desk.session.release()
    desk.hand.press(Button.DISCARD, Button.SUCCESS)
    desk.env.reset(seed=4)
    desk.operator.reset()
    desk.decide(1)
    assert desk.operator.verdict() is None


def test_a_grab_in_the_midst_of_a_decision_stops_the_policys_command(desk: Desk) -> None:
    desk.session.release(may_grab=True)
    down = np.array([0.0, 0.0, 1.0, 0, 0, 0, 0], np.float32)
    looks = desk.hand.looks

    def grab(hand: Hand) -> None:
        hand.held = hand.looks >= looks + 2
        hand.axes = push([0.2])

    desk.hand.script = grab
    desk.watching.commands.clear()
    desk.env.step(down)
    assert desk.session.grabbed
    assert desk.session.in_charge
    assert len(desk.watching.commands) == 2, "the policy's, and to stay"
    assert desk.watching.beats[-1][1]


def test_a_link_without_heartbeats_is_refused(desk: Desk) -> None:
    class Deaf:
        pass

    desk.env.link = Deaf()  # type: ignore[assignment]
    with pytest.raises(UserError, match="expected a link with heartbeats for the dead-man, got Deaf without"):
        attend(desk.env, desk.session)
    desk.env.link = AttendedLink(desk.watching, desk.session)
