"""The hand's lead: an arm with dry friction goes where it is asked to; no lead exceeds an action."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from robot_rl.envs.make import make_env
from robot_rl.tasks.actions import ActionSpec
from robot_rl.tasks.taught import TaughtTask
from robot_rl.teleop.lead import Lead
from robot_rl.teleop.mapping import Mapping, MappingConfig
from robot_rl.teleop.operator import TeleopOperator, attend
from robot_rl.teleop.session import Session
from tests.robot_rl.taught_tools import TOUCH
from tests.robot_rl.teleop_fakes import Hand, push

SPEC = ActionSpec(translation_m=(0.005, 0.005, 0.008), rotation_rad=0.03)
UNIT = st.floats(-1.0, 1.0)


class Person:
    """Somebody who drives the arm of a taught task, in free space."""

    def __init__(self, level: int) -> None:
        task = TaughtTask(replace(TOUCH, plate=None))
        self.env, self.hand = make_env(task, teleport=True), Hand(held=True)
        self.mapping = Mapping(task.action, MappingConfig(frame="base", level=level))
        session = Session(self.hand, self.mapping, self.env.link.now_ns)
        attend(self.env, session)
        self.operator = TeleopOperator(self.env, session)
        self.env.reset(seed=3)
        self.operator.reset()

    def drive(self, axes: list[float], decisions: int) -> NDArray[np.float64]:
        """Returns how far the tool went, base axes [m]."""
        self.hand.axes, before_m = push(axes), self.env.link.latest().position_base_m.copy()
        for _ in range(decisions):
            action = self.operator.act({}, self.env.task.action.size)
            self.env.source = self.operator.source
            self.env.step(action)
        return np.asarray(self.env.link.latest().position_base_m - before_m)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("second", [1, 2])
def test_the_slowest_level_moves_the_arm_by_what_was_asked(axis: int, second: int) -> None:
    person = Person(level=0)
    stick = [1.0 if index == axis else 0.0 for index in range(3)]
    for _ in range(second):
        went_m = person.drive(stick, 10)[axis]
    asked_m = 10 * 0.1 * 0.005
    assert went_m == pytest.approx(asked_m, rel=0.2)
    assert abs(person.drive([0.0, 0.0, 0.0], 20)[axis]) < 3e-4, "a stick at rest lets the arm rest"
    person.env.close()


def test_a_faster_level_is_faster_and_a_stick_that_is_reversed_turns_the_arm_round_at_once() -> None:
    went_m = []
    for level in (0, 1, 3):
        person = Person(level)
        went_m.append(person.drive([0.0, 1.0, 0.0], 10)[1])
        assert person.drive([0.0, -1.0, 0.0], 10)[1] < -0.5 * went_m[-1]
        person.env.close()
    assert went_m[0] < 0.7 * went_m[1] < 0.7 * went_m[2]


def test_nothing_is_added_up_while_a_person_holds_the_arm() -> None:
    person = Person(level=0)
    person.drive([1.0, 0.0, 0.0], 3)
    supervisor = person.env.link.link.supervisor  # type: ignore[attr-defined]
    supervisor.person_hold(True)
    assert abs(person.drive([1.0, 0.0, 0.0], 20)[0]) < 1e-3
    supervisor.person_hold(False)
    assert person.drive([1.0, 0.0, 0.0], 3)[0] < 2.5e-3, "three decisions at this level ask for 1.5 mm"
    person.env.close()


@given(st.lists(st.lists(UNIT, min_size=6, max_size=6), min_size=1, max_size=8))
def test_the_lead_is_an_action_along_the_stick_whatever_it_does(sticks: list[list[float]]) -> None:
    lead, here = Lead(SPEC), Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    scale = np.array([*SPEC.translation_m, *(SPEC.rotation_rad,) * 3])
    for stick in sticks:
        asked = np.array(stick)
        found = lead.of(asked, here)
        assert np.abs(found).max() <= 1.0 + 1e-9
        for part in (slice(0, 3), slice(3, 6)):
            way, led = (asked * scale)[part], (found * scale)[part]
            assert np.linalg.norm(np.cross(way, led)) <= 1e-9 * scale[0] and way @ led >= 0.0
            assert np.linalg.norm(led) >= (1.0 - 1e-9) * np.linalg.norm(way), "it does not go"


def test_a_tool_that_was_blocked_goes_on_by_one_increment_when_it_comes_free() -> None:
    """The worst arm: once free, it is at the target in the next decision."""
    lead, size = Lead(SPEC), 0.1 * SPEC.translation_m[0]
    forward, here_m = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), 0.0
    for _ in range(100):
        found = lead.of(forward, Pose(np.zeros(3)))
    assert found[0] == pytest.approx(1.0), "it presses with what a whole increment gives"
    for decision in range(1, 20):
        here_m += found[0] * SPEC.translation_m[0]
        found = lead.of(forward, Pose(np.array([here_m, 0.0, 0.0])))
        assert here_m <= 1.5 * SPEC.translation_m[0] + (decision - 1) * size


def test_what_was_asked_for_to_one_side_is_not_done_to_another() -> None:
    lead, here = Lead(SPEC), Pose(np.zeros(3))
    for _ in range(100):
        lead.of(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), here)
    aside = lead.of(np.array([0.017, 0.098, 0.0, 0.0, 0.0, 0.0]), here)
    assert np.hypot(aside[0], aside[1]) < 0.4
    assert lead.of(np.array([-0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), here)[0] == pytest.approx(-0.125)


def test_an_arm_that_goes_too_far_is_not_pulled_back() -> None:
    lead = Lead(SPEC)
    forward = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    for place_m in np.arange(6) * 0.002:  # four times as far as asked
        found = lead.of(forward, Pose(np.array([place_m, 0.0, 0.0])))
        assert 0.0 <= found[0] <= 0.2 and not found[1:].any()
    lead.forget()
    assert lead.of(forward, Pose(np.array([1.0, 0.0, 0.0])))[0] == pytest.approx(0.125)
