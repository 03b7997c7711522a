"""A person at a device who takes over from a policy, on the simulated arm in lock-step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.link import LockstepLink
from controllers.types import Source
from robot_rl.envs.make import make_env
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.teleop.devices.base import Button
from robot_rl.teleop.mapping import Mapping, MappingConfig
from robot_rl.teleop.operator import attend
from robot_rl.teleop.person import DevicePerson
from robot_rl.teleop.session import Session
from robot_rl.training.takeover import PersonTakeover, TakeoverConfig
from robot_rl.training.workplace import ArmWorkplace, Outcome
from safety.reasons import Reason
from tests.robot_rl.teleop_fakes import Hand, push
from tests.robot_rl.test_teleop_session import Watching


class Policy:
    """Goes down slowly; counts how often it had to forget its plan."""

    forgot = 0

    def begin_episode(self) -> None:
        self.forgot += 1

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Any:
        from robot_rl.agents.base import Proposal

        return Proposal(np.array([0.0, 0.0, 0.05, 0.0, 0.0, 0.0], np.float32), Source.POLICY)


class Shift:
    """A policy at work, a person beside it."""

    def __init__(self) -> None:
        env = make_env(PegInsertion(start_height_m=(0.015, 0.015)), teleport=True)
        assert isinstance(env.link, LockstepLink)
        env.task.max_steps = 1000
        self.watching, self.hand, self.policy = Watching(env.link), Hand(), Policy()
        env.link = self.watching
        self.session = Session(self.hand, Mapping(env.task.action, MappingConfig("base")), self.watching.now_ns)
        attend(env, self.session)
        self.workplace = ArmWorkplace(env, restorable=False)
        self.takeover = PersonTakeover(DevicePerson(self.workplace, self.session, TakeoverConfig(hand_back_s=0.5)))
        self.workplace.reset(3)
        self.takeover.begin(3)
        self.last: Outcome | None = None

    def works(self, decisions: int) -> list[int]:
        """Returns who acted in each of the next decisions."""
        sources = []
        for _ in range(decisions):
            proposal = self.takeover.propose(self.policy, np.zeros(0, np.float32), {}, True)
            self.last = self.takeover.look(self.workplace.step(proposal.action, proposal.source), self.policy)
            sources.append(int(self.last.info["source"]))
        return sources

    def moves(self, held: bool, axes: NDArray[np.float64] | None = None) -> None:
        self.hand.held, self.hand.axes = held, np.zeros(6) if axes is None else axes


POLICY, HUMAN, HOLD = int(Source.POLICY), int(Source.HUMAN), int(Source.HOLD)
AWAY = push([0.5])


@pytest.fixture
def shift() -> Iterator[Shift]:
    found = Shift()
    yield found
    found.workplace.close()


def test_a_stick_alone_or_the_dead_man_alone_takes_nothing_over(shift: Shift) -> None:
    shift.moves(held=False, axes=AWAY)
    assert shift.works(2) == [POLICY] * 2
    shift.moves(held=True)
    assert shift.works(2) == [POLICY] * 2
    assert not any(in_use for _, in_use in shift.watching.beats), "nobody is watched while the policy has the arm"


def test_both_together_do_until_the_stick_has_rested_for_a_while(shift: Shift) -> None:
    assert shift.works(1) == [POLICY]
    shift.moves(held=True, axes=AWAY)
    assert shift.works(1) == [POLICY], "the decision in which the hand came"
    assert shift.works(3) == [HUMAN] * 3
    shift.moves(held=True)
    sources = shift.works(8)
    assert sources == [HUMAN] * 6 + [POLICY] * 2, "0.5 s at 10 Hz, and the decision that was under way"
    assert shift.takeover.takeovers == 1
    assert shift.policy.forgot == 3 + 6


def test_by_the_button_the_arm_is_kept_until_it_is_handed_back(shift: Shift) -> None:
    shift.hand.press(Button.TAKEOVER)
    assert shift.works(1) == [POLICY]
    assert shift.works(3) == [HOLD] * 3, "nobody holds the dead-man: the arm stays"
    shift.moves(held=True)
    assert shift.works(10) == [HUMAN] * 10, "also with the stick at rest"
    shift.hand.press(Button.HAND_BACK)
    assert shift.works(3) == [HUMAN, POLICY, POLICY]


def test_neither_edge_makes_the_reference_jump(shift: Shift) -> None:
    limiter = shift.workplace.env.task.chain_config().limiter
    shift.watching.reports.clear()
    for held, axes in [(False, None), (True, push([0, 1])), (False, None), (True, push([0, -1, 1]))] * 2:
        shift.moves(held, axes)
        shift.works(8)
    assert shift.takeover.takeovers >= 2
    reference = np.concatenate(shift.watching.reports)["executed_position_base_m"]
    steps_m = np.linalg.norm(np.diff(reference, axis=0), axis=1)
    assert steps_m.max() <= limiter.max_speed_m_s / 1000.0 * 1.001


def test_the_hand_is_watched_while_it_has_the_arm_and_no_longer(shift: Shift) -> None:
    shift.moves(held=True, axes=AWAY)
    shift.works(3)
    assert any(in_use for _, in_use in shift.watching.beats)
    shift.hand.press(Button.HAND_BACK)
    shift.moves(held=False)
    shift.works(2)
    assert not shift.watching.beats[-1][1]
    reports = shift.watching.link.step(1.0)
    assert Reason.HEARTBEAT not in reports["reason"], "forgotten, not late"


def test_the_end_of_an_episode_takes_the_arm_from_everybody(shift: Shift) -> None:
    shift.moves(held=True, axes=AWAY)
    shift.works(2)
    assert shift.last is not None
    shift.takeover.look(replace(shift.last, truncated=True), shift.policy)
    assert not shift.takeover.has_arm
    assert not shift.session.in_charge
    shift.moves(held=False)
    shift.hand.press(Button.TAKEOVER)
    shift.workplace.reset(4)
    assert not shift.session.in_charge, "the reset cannot be grabbed"
    shift.takeover.begin(4)
    assert not shift.takeover.has_arm, "a press during the reset does not count"


def test_keys_judge_the_episode(shift: Shift) -> None:
    assert shift.takeover.verdict() is None
    shift.hand.press(Button.SUCCESS)
    shift.works(1)
    assert shift.takeover.verdict() is True
    shift.hand.press(Button.DISCARD)
    shift.works(1)
    assert shift.takeover.verdict() is False
