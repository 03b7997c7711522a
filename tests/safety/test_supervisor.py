"""The supervisor's rules by themselves: what latches, what holds, and that nothing but the whole ritual lets go."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from safety.reasons import Reason
from safety.supervision import (
    AUTOMATIC,
    Answer,
    Heartbeat,
    HeartbeatConfig,
    SupervisorConfig,
    SupervisorState,
    believed_ns,
)
from safety.supervisor import Supervisor

S = 1_000_000_000
MS = 1_000_000
START = 100 * S


class Scene:
    """A supervisor with a clock that a test lets run; the arm is calm unless said otherwise."""

    def __init__(self, **settings: Any) -> None:
        self.now, self.supervisor = START, Supervisor(SupervisorConfig(**settings))
        self.supervisor.switch_on(True)
        self.latched, self.following, self.holding = 0, True, False
        self.speed_rad_s, self.force_n = 0.0, 0.0

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s / 0.01)):
            self.now += 10 * MS
            self.supervisor.observe(self.now, self.latched, self.following, self.holding)
            if self.supervisor.latched:
                self.supervisor.measure(self.now, self.speed_rad_s, self.force_n)

    def trip(self, reason: Reason = Reason.SPEED_TRIP) -> None:
        self.latched = int(reason)
        self.run(0.3)

    def reset_by_person(self, held_s: float = 0.6) -> Answer:
        self.supervisor.press(self.now)
        self.run(held_s)
        return self.supervisor.release(self.now)

    def reseed(self) -> Answer:
        answer = self.supervisor.ask_reseed(self.now)
        if answer == Answer.GRANTED:
            self.latched = 0
        return answer


def state_of(scene: Scene) -> SupervisorState:
    return scene.supervisor.state


def test_the_way_from_the_start_to_a_stop_and_back() -> None:
    scene = Scene()
    assert Supervisor().state == SupervisorState.INIT
    assert state_of(scene) == SupervisorState.ARMED
    scene.run(0.1)
    assert state_of(scene) == SupervisorState.RUN
    scene.holding = True
    scene.run(0.1)
    assert state_of(scene) == SupervisorState.HOLD
    scene.trip()
    assert state_of(scene) == SupervisorState.PROTECTIVE_STOP and scene.supervisor.trips == 1
    assert scene.reseed() == Answer.PERSON
    assert scene.reset_by_person() == Answer.GRANTED
    assert scene.supervisor.latched, "a person's reset moves nothing: the program has to start over"
    assert scene.reseed() == Answer.GRANTED and state_of(scene) == SupervisorState.ARMED
    assert (scene.supervisor.by_person, scene.supervisor.automatic) == (1, 0)
    scene.supervisor.switch_on(False)
    assert state_of(scene) == SupervisorState.IDLE


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.LATCHED, SupervisorState.PROTECTIVE_STOP),
        (Reason.STATE_INVALID, SupervisorState.FAULT),
        (Reason.ESTOP, SupervisorState.ESTOP),
    ],
)
def test_every_latch_has_its_state_and_a_worse_one_wins(reason: Reason, state: SupervisorState) -> None:
    scene = Scene()
    scene.trip(reason)
    assert state_of(scene) == state and scene.supervisor.reason == reason
    scene.supervisor.estop(True, scene.now)
    assert state_of(scene) == SupervisorState.ESTOP
    scene.run(0.1)
    assert state_of(scene) == SupervisorState.ESTOP


def test_a_press_must_be_long_and_must_begin_after_the_latch() -> None:
    scene = Scene()
    scene.supervisor.press(scene.now)
    scene.run(1.0)
    scene.trip()
    scene.run(2.0)
    assert scene.supervisor.release(scene.now) == Answer.PRESSED_BEFORE
    assert scene.reset_by_person(0.49) == Answer.TOO_SHORT
    assert scene.supervisor.release(scene.now) == Answer.NO_PRESS
    scene.supervisor.press(scene.now)
    scene.run(5.0)
    assert scene.reseed() == Answer.PERSON, "a level resets nothing, however long"
    scene.supervisor.cancel()
    assert scene.supervisor.release(scene.now) == Answer.NO_PRESS
    assert scene.reset_by_person(0.5) == Answer.GRANTED and scene.reseed() == Answer.GRANTED
    assert scene.reset_by_person() == Answer.NOT_LATCHED


@pytest.mark.parametrize(("speed_rad_s", "force_n"), [(0.1, 0.0), (0.0, 6.0), (math.nan, 0.0), (0.0, math.nan)])
def test_nobody_resets_an_arm_that_is_not_calm(speed_rad_s: float, force_n: float) -> None:
    scene = Scene()
    scene.speed_rad_s, scene.force_n = speed_rad_s, force_n
    scene.trip(Reason.FORCE_TRIP)
    assert scene.reseed() == Answer.NOT_CALM, "not automatically"
    assert scene.reset_by_person() == Answer.NOT_CALM, "and not by a person"
    scene.speed_rad_s = scene.force_n = 0.0
    scene.run(0.05)
    assert scene.reseed() == Answer.NOT_CALM, "calm for a moment only"
    scene.run(0.1)
    assert scene.reseed() == Answer.GRANTED


def test_automatic_recoveries_are_for_listed_reasons_and_run_out_until_a_person_comes() -> None:
    scene = Scene()
    for left in (2, 1, 0):
        scene.trip(Reason.FORCE_TRIP)
        assert scene.reseed() == Answer.GRANTED and scene.supervisor.recoveries_left(scene.now) == left
    scene.trip(Reason.FORCE_TRIP)
    assert scene.reseed() == Answer.PERSON
    scene.run(600.0)
    assert scene.reseed() == Answer.GRANTED, "ten minutes after the first of the three"
    scene.trip(Reason.WORKSPACE_TRIP)
    assert scene.reseed() == Answer.PERSON, "not on the list"
    scene.reset_by_person()
    scene.reseed()
    assert scene.supervisor.recoveries_left(scene.now) == 3, "a person has looked"


def test_a_persons_reset_is_forgotten_by_the_next_trip_and_with_time() -> None:
    scene = Scene()
    scene.trip()
    scene.reset_by_person()
    scene.supervisor.trip(int(Reason.STATE_INVALID), scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.PERSON
    scene.reset_by_person()
    scene.run(61.0)
    assert scene.reseed() == Answer.PERSON


def test_fault_f15_the_emergency_stop_pressed_released_and_pressed_again() -> None:
    scene = Scene(automatic_max=0)
    scene.supervisor.estop(True, scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.ESTOP_PRESSED and scene.reset_by_person() == Answer.ESTOP_PRESSED
    scene.supervisor.estop(True, scene.now)
    assert scene.supervisor.trips == 1, "a press that lasts is one press"
    scene.supervisor.estop(False, scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.PERSON, "releasing it resets nothing"
    assert scene.reset_by_person() == Answer.GRANTED
    scene.supervisor.estop(True, scene.now)
    scene.supervisor.estop(False, scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.PERSON, "what a person reset before the second press does not count"
    assert scene.supervisor.trips == 2


def test_heartbeats_are_reported_late_then_hold_until_they_are_back() -> None:
    scene = Scene()
    scene.run(1.0)
    assert scene.supervisor.hold == 0, "who never beat is not watched"
    scene.supervisor.beat(Heartbeat.CAMERA, scene.now, scene.now)
    scene.run(0.15)
    assert scene.supervisor.late == 1 << Heartbeat.CAMERA and scene.supervisor.hold == 0
    scene.run(0.2)
    assert scene.supervisor.hold == Reason.HEARTBEAT and state_of(scene) == SupervisorState.HOLD
    for _ in range(20):
        scene.supervisor.beat(Heartbeat.CAMERA, scene.now, scene.now)
        scene.run(0.02)
    assert scene.supervisor.hold == Reason.HEARTBEAT, "back for 0.4 s"
    for _ in range(20):
        scene.supervisor.beat(Heartbeat.CAMERA, scene.now, scene.now)
        scene.run(0.02)
    assert scene.supervisor.hold == 0 and state_of(scene) == SupervisorState.RUN
    scene.supervisor.forget(Heartbeat.CAMERA)
    scene.run(2.0)
    assert scene.supervisor.hold == scene.supervisor.late == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_a_persons_hold_lasts_until_a_person_lets_go(enabled: bool) -> None:
    scene = Scene(enabled=enabled)
    scene.supervisor.person_hold(True)
    scene.run(20.0)
    assert scene.supervisor.hold == Reason.PERSON_HOLD and state_of(scene) == SupervisorState.HOLD
    scene.supervisor.person_hold(False)
    scene.run(0.01)
    assert scene.supervisor.hold == 0 and state_of(scene) == SupervisorState.RUN


def test_a_learner_that_is_late_is_told_and_holds_nothing() -> None:
    scene = Scene()
    scene.supervisor.beat(Heartbeat.LEARNER, scene.now, scene.now)
    scene.run(301.0)
    assert scene.supervisor.late == 1 << Heartbeat.LEARNER and scene.supervisor.hold == 0


def test_an_operator_who_must_be_there_holds_the_arm_until_he_is() -> None:
    scene = Scene(heartbeats=HeartbeatConfig(operator_required=True))
    scene.run(0.1)
    assert scene.supervisor.hold == Reason.HEARTBEAT
    for _ in range(60):
        scene.supervisor.beat(Heartbeat.OPERATOR, scene.now, scene.now)
        scene.run(0.01)
    assert scene.supervisor.hold == 0


def test_an_arm_that_needs_a_supervisor_is_held_before_one_comes_and_after_one_left_in_order() -> None:
    scene = Scene(heartbeats=HeartbeatConfig(supervisor_required=True))
    scene.run(0.1)
    assert scene.supervisor.hold == Reason.HEARTBEAT

    def supervise() -> None:
        for _ in range(60):
            scene.supervisor.beat(Heartbeat.SUPERVISOR, scene.now, scene.now)
            scene.run(0.01)

    supervise()
    assert scene.supervisor.hold == 0
    scene.supervisor.forget(Heartbeat.SUPERVISOR)
    scene.run(0.01)
    assert scene.supervisor.hold == Reason.HEARTBEAT
    assert scene.supervisor.late == 1 << Heartbeat.SUPERVISOR
    supervise()
    assert scene.supervisor.hold == 0


def test_a_loop_that_stood_still_and_one_that_is_often_late_hold() -> None:
    scene = Scene()
    scene.supervisor.beat(Heartbeat.LOOP, scene.now, scene.now)
    scene.now += 60 * MS
    scene.supervisor.beat(Heartbeat.LOOP, scene.now, scene.now)
    scene.supervisor.observe(scene.now, 0, True, False)
    assert scene.supervisor.hold == Reason.HEARTBEAT

    scene = Scene()
    for _ in range(4):
        scene.supervisor.late_tick(scene.now)
        scene.run(0.1)
    assert scene.supervisor.hold == 0
    scene.supervisor.late_tick(scene.now)
    scene.run(0.1)
    assert scene.supervisor.hold == Reason.HEARTBEAT, "five within a second"
    scene = Scene()
    for _ in range(20):
        scene.supervisor.late_tick(scene.now)
        scene.run(0.3)
    assert scene.supervisor.hold == 0, "never five within a second"


def test_switched_off_it_holds_nothing_and_lets_every_reseed_through() -> None:
    scene = Scene(enabled=False)
    scene.supervisor.beat(Heartbeat.CAMERA, scene.now, scene.now)
    scene.trip(Reason.STATE_INVALID)
    scene.speed_rad_s = math.nan
    assert scene.supervisor.hold == 0 and scene.reseed() == Answer.GRANTED


@pytest.mark.parametrize("released", [False, True])
def test_switched_off_an_emergency_stop_still_takes_its_release_and_a_person(released: bool) -> None:
    scene = Scene(enabled=False)
    scene.supervisor.estop(True, scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.ESTOP_PRESSED
    scene.supervisor.estop(not released, scene.now)
    assert scene.reseed() == (Answer.PERSON if released else Answer.ESTOP_PRESSED)
    scene.supervisor.trip(int(Reason.STATE_INVALID), scene.now)
    scene.supervisor.estop(False, scene.now)
    scene.run(0.3)
    assert scene.reseed() == Answer.PERSON, "a worse reason does not hide it"
    assert scene.reset_by_person() == Answer.GRANTED and scene.reseed() == Answer.GRANTED


def test_switched_off_in_a_simulation_every_reseed_ends_a_latch() -> None:
    supervisor = Supervisor(SupervisorConfig(enabled=False), simulation=True)
    supervisor.estop(True, START)
    assert supervisor.ask_reseed(START) == Answer.GRANTED


@given(ahead_ns=st.integers(-(2**61), 2**62), source=st.sampled_from(Heartbeat))
def test_no_beat_is_newer_than_now_or_comes_from_the_future(ahead_ns: int, source: Heartbeat) -> None:
    given_ns = believed_ns(START + ahead_ns, START)
    assert (given_ns is None) == (ahead_ns > 2 * MS)
    assert given_ns is None or given_ns == min(START + ahead_ns, START)
    scene = Scene()
    scene.supervisor.beat(source, scene.now, scene.now)
    scene.supervisor.beat(source, scene.now + ahead_ns, scene.now)
    scene.run(2.0)
    assert bool(scene.supervisor.hold) == (source != Heartbeat.LEARNER), "it ages like any other"


def test_energy_is_granted_before_and_between_but_not_in_a_policys_motion() -> None:
    supervisor = Supervisor()
    assert supervisor.ask_grant(START, following=False, resetting=False) == Answer.GRANTED
    assert supervisor.ask_grant(START, following=True, resetting=True) == Answer.GRANTED
    assert supervisor.ask_grant(START, following=True, resetting=False) == Answer.FOLLOWING
    assert Supervisor(SupervisorConfig(enabled=False)).ask_grant(START, True, False) == Answer.GRANTED


@given(most=st.integers(1, 20), steps_ms=st.lists(st.integers(0, 30_000), max_size=80))
def test_grants_are_counted_over_any_minute(most: int, steps_ms: list[int]) -> None:
    supervisor, now = Supervisor(SupervisorConfig(grants_per_minute=most)), START
    granted: list[int] = []
    for step_ms in steps_ms:
        now += step_ms * MS
        recent = sum(now - moment < 60 * S for moment in granted)
        answer = supervisor.ask_grant(now, following=False, resetting=False)
        assert answer == (Answer.GRANTED if recent < most else Answer.TOO_MANY_GRANTS)
        if answer == Answer.GRANTED:
            granted.append(now)


def test_episodes_of_a_second_with_an_automatic_reset_are_never_short_of_grants() -> None:
    supervisor = Supervisor()
    for episode in range(500):
        for _ in range(2):  # one for the reset, one for the episode
            assert supervisor.ask_grant(START + episode * S, following=False, resetting=False) == Answer.GRANTED


def test_a_simulated_person_resets_calm_arms_and_is_counted() -> None:
    scene = Scene(simulated_person=True)
    scene.speed_rad_s = 1.0
    scene.trip()
    assert scene.reseed() == Answer.NOT_CALM
    scene.speed_rad_s = 0.0
    scene.run(0.2)
    assert scene.reseed() == Answer.GRANTED and scene.supervisor.simulated == 1


def test_memory_outlives_the_object() -> None:
    scene = Scene()
    scene.trip(Reason.FORCE_TRIP)
    scene.reseed()
    scene.trip()
    other = Supervisor(scene.supervisor.config)
    other.recall(scene.supervisor.memory())
    assert other.state == SupervisorState.PROTECTIVE_STOP and other.reason == Reason.SPEED_TRIP
    assert other.recoveries_left(scene.now) == 2 and other.memory().tolist() == scene.supervisor.memory().tolist()


@given(budget=st.integers(0, 100), used=st.lists(st.integers(0, START), max_size=100))
def test_a_latch_that_was_left_takes_a_person_and_the_budget_fits_any_size(budget: int, used: list[int]) -> None:
    scene = Scene(automatic_max=budget)
    scene.supervisor.inherit(SupervisorState.PROTECTIVE_STOP, int(Reason.LATCHED), used, scene.now)
    scene.run(0.3)
    assert scene.supervisor.recoveries == sorted(used)[max(len(used) - budget, 0) :]
    assert scene.reseed() == Answer.PERSON
    assert scene.reset_by_person() == Answer.GRANTED and scene.reseed() == Answer.GRANTED
    if budget:
        scene.trip(Reason.LATCHED)
        assert scene.reseed() == Answer.GRANTED, "the next one is this process's own"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"automatic": ("OOPS",)}, "automatic must be some of .'LATCHED', 'FORCE_TRIP', 'MOMENT_TRIP'., got .'OOPS'"),
        ({"grants_per_minute": 0}, "grants_per_minute must be 1..10000"),
        ({"press_s": 0.0}, "press_s must be above 0"),
        ({"calm_s": math.inf}, "calm_s must be a finite number >= 0"),
        ({"automatic_max": -1}, "automatic_max must be 0..100"),
        ({"late_ticks": 1}, "late_ticks must be 2..1000"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisorConfig(**settings)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.name not in AUTOMATIC], ids=lambda r: r.name)
def test_no_setting_lets_a_program_end_what_takes_a_person(reason: Reason) -> None:
    with pytest.raises(ValueError, match=f"got .'{reason.name}'.: those take a person"):
        SupervisorConfig(automatic=(*AUTOMATIC, reason.name))


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="camera_s must be .soft, hard. with 0 < soft <= hard"):
        HeartbeatConfig(camera_s=(0.3, 0.1))


class AnySequence(RuleBasedStateMachine):
    """Whatever happens in whatever order, a latch ends only by the whole ritual, or within the budget."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.supervisor = Supervisor(SupervisorConfig())
        self.chain = 0
        self.pressed_at: int | None = None
        self.full_press_at: int | None = None
        self.latched_at = START
        self.calm_since: int | None = None
        self.granted: list[int] = []
        self.estop_pressed = False

    @initialize()
    def arm(self) -> None:
        self.supervisor.switch_on(True)

    @rule(step_ms=st.sampled_from([0, 1, 50, 200, 499, 500, 700, 70_000, 599_999]), calm=st.booleans())
    def time_passes(self, step_ms: int, calm: bool) -> None:
        self.now += step_ms * MS
        self.supervisor.observe(self.now, self.chain, True, False)
        if self.supervisor.latched:
            self.chain = self.supervisor.reason
            self.supervisor.measure(self.now, 0.0 if calm else 1.0, 0.0)
            if not calm:
                self.calm_since = None
            elif self.calm_since is None:
                self.calm_since = self.now

    @rule(reason=st.sampled_from([Reason.LATCHED, Reason.FORCE_TRIP, Reason.SPEED_TRIP, Reason.STATE_INVALID]))
    def trip(self, reason: Reason) -> None:
        if reason > self.supervisor.reason:
            self.forget_resets()
        self.chain = max(self.chain, int(reason))
        self.supervisor.observe(self.now, self.chain, True, False)

    @rule(pressed=st.booleans())
    def estop(self, pressed: bool) -> None:
        if pressed and not self.estop_pressed:
            self.forget_resets()
        self.estop_pressed = pressed
        self.supervisor.estop(pressed, self.now)

    def forget_resets(self) -> None:
        self.latched_at, self.full_press_at, self.calm_since = self.now, None, None

    @rule()
    def press(self) -> None:
        self.supervisor.press(self.now)
        if self.pressed_at is None:
            self.pressed_at = self.now

    @rule()
    def release(self) -> None:
        self.supervisor.release(self.now)
        after_latch = self.pressed_at is not None and self.pressed_at > self.latched_at
        if after_latch and self.now - (self.pressed_at or 0) >= S // 2 and self.supervisor.latched:
            self.full_press_at = self.now
        self.pressed_at = None

    @rule()
    def the_presser_dies(self) -> None:
        self.supervisor.cancel()
        self.pressed_at = None

    @rule()
    def the_program_starts_over(self) -> None:
        was, reason = self.supervisor.latched, Reason(self.supervisor.reason)
        by_person = self.full_press_at is not None and self.now - self.full_press_at <= 60 * S
        answer = self.supervisor.ask_reseed(self.now)
        if answer != Answer.GRANTED:
            assert was and self.supervisor.latched
            return
        self.chain = 0
        if not was:
            return
        assert self.calm_since is not None and self.now - self.calm_since >= S // 10, "calm"
        assert not self.estop_pressed
        if not by_person:
            assert reason in (Reason.LATCHED, Reason.FORCE_TRIP), "only listed reasons without a person"
            recent = [moment for moment in self.granted if self.now - moment <= 600 * S]
            assert len(recent) < 3, "the budget"
            self.granted.append(self.now)
        else:
            self.granted.clear()
        self.full_press_at = None

    @precondition(lambda self: self.supervisor.latched)
    @rule()
    def the_torque_is_switched(self) -> None:
        self.supervisor.switch_on(False)
        self.supervisor.switch_on(True)
        assert self.supervisor.latched

    @invariant()
    def counts_and_states_agree(self) -> None:
        supervisor = self.supervisor
        assert supervisor.latched == (supervisor.reason != 0)
        assert 0 <= supervisor.recoveries_left(self.now) <= 3
        ends = supervisor.automatic + supervisor.by_person + supervisor.simulated
        assert 0 <= ends <= supervisor.trips and supervisor.simulated == 0


TestAnySequence = AnySequence.TestCase
