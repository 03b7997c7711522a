"""Who presses the emergency stop, and how far traffic goes: rules without ROS."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_nodes.config_supervisor import SupervisorNodeConfig
from ros_nodes.network import LOOPBACK, OLD_PROFILES, OLD_RANGE, PROFILES, RANGE, stay_on_this_machine
from ros_nodes.stop_sources import ButtonWatch, Edge, Source, StopSources


@given(st.lists(st.tuples(st.sampled_from(list(Source)), st.booleans()), max_size=30))
def test_pressed_by_the_first_and_released_by_the_last(changes: list[tuple[Source, bool]]) -> None:
    sources, levels = StopSources(), dict.fromkeys(Source, False)
    for source, pressed in changes:
        before = dict(levels)
        levels[source] = pressed
        edge = sources.level(source, pressed)
        if pressed and not before[source]:
            assert edge is Edge.PRESS
        elif before[source] and not any(levels.values()):
            assert edge is Edge.RELEASE
        else:
            assert edge is Edge.NONE
        assert bool(sources.words) == any(levels.values())


def test_a_button_that_is_not_required_is_never_missed() -> None:
    watch = ButtonWatch(required=False, silence_s=0.1)
    watch.hear(0.0)
    assert not watch.awaited and not watch.absent(100.0, publishers=0)


def test_a_required_button_is_awaited_then_missed_when_it_vanishes_or_falls_silent() -> None:
    watch = ButtonWatch(required=True, silence_s=0.5)
    assert not watch.absent(10.0, publishers=0), "awaited is a hold, not a stop"
    awaited = [watch.awaited]
    watch.hear(10.0)
    assert [*awaited, watch.awaited] == [True, False]
    assert not watch.absent(10.4, publishers=1)
    assert watch.absent(10.6, publishers=1) and watch.absent(10.1, publishers=0)
    watch.hear(10.7)
    assert not watch.absent(10.8, publishers=1)
    quiet = ButtonWatch(required=True, silence_s=0.0)
    quiet.hear(0.0)
    assert not quiet.absent(1000.0, publishers=1) and quiet.absent(1.0, publishers=0)


@pytest.mark.parametrize(
    ("robot", "given_value", "held"),
    [("mujoco", None, False), ("fr3", None, True), ("mujoco", True, True), ("fr3", False, False)],
)
def test_every_arm_but_a_simulated_one_starts_held(robot: str, given_value: bool | None, held: bool) -> None:
    assert SupervisorNodeConfig(robot=robot, start_held=given_value).holds_at_start is held


def test_traffic_stays_on_this_machine_where_nothing_is_said() -> None:
    environment: dict[str, str] = {}
    assert stay_on_this_machine(environment) is None
    assert environment == {RANGE: "LOCALHOST", PROFILES: str(LOOPBACK)} and Path(LOOPBACK).is_file()


@pytest.mark.parametrize("said", [{OLD_RANGE: "1"}, {RANGE: "OFF"}, {RANGE: "LOCALHOST", OLD_PROFILES: "/mine.xml"}])
def test_what_somebody_said_is_kept(said: dict[str, str]) -> None:
    environment = dict(said)
    assert stay_on_this_machine(environment) is None
    assert said.items() <= environment.items() and (OLD_PROFILES not in said or PROFILES not in environment)


@pytest.mark.parametrize("reach", ["SUBNET", "SYSTEM_DEFAULT"])
def test_open_traffic_is_allowed_but_told(reach: str) -> None:
    environment = {RANGE: reach}
    words = stay_on_this_machine(environment)
    assert words is not None and reach in words and environment == {RANGE: reach}
