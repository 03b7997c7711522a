"""The supervisor between the words of a real block and a chain, tick by tick, at times that a test makes up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers.latch_memory import LatchMemory, forget_latch, latch_path
from controllers.motor_supervision import EVERY_TICKS, MotorSupervision
from controllers.person import PersonSeat, look, press_estop
from controllers.shared_memory import SharedBlock
from controllers.shared_memory.layout import Parent, Person, Status
from controllers.shared_memory.sides import MotorSide, ParentSide
from controllers.types import STATE
from safety.reasons import Reason
from safety.supervision import Answer, Heartbeat, SupervisorConfig, SupervisorState
from safety.supervisor import Supervisor
from tests.controllers.motor_fakes import EchoChain

MS = 1_000_000


class Bench:
    def __init__(self) -> None:
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.block = SharedBlock.create(self.name)
        self.side, self.chain, self.state = MotorSide(self.block), EchoChain(0.0), np.zeros(1, STATE)
        self.supervisor = Supervisor()
        self.supervisor.switch_on(True)
        self.supervision = MotorSupervision(self.supervisor, self.side, self.chain, self.state)
        self.now = time.monotonic_ns()

    def run(self, ticks: int, lateness_ns: int = 0) -> None:
        for _ in range(ticks):
            self.now += MS
            self.supervision.watch(self.now, lateness_ns)

    def button(self, pressed: bool) -> None:
        self.side.person[Person.BUTTON], self.side.person[Person.BUTTON_NS] = int(pressed), self.now

    def hold_button(self, duration_ms: int) -> None:
        for _ in range(duration_ms // 50):
            self.button(True)
            self.run(50)
        self.button(False)
        self.run(EVERY_TICKS)

    def close(self) -> None:
        self.side.release()
        self.block.close()
        latch_path(self.name).unlink(missing_ok=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.mark.parametrize("ticks", range(EVERY_TICKS))
def test_a_latch_is_the_supervisors_in_its_own_tick(bench: Bench, ticks: int) -> None:
    """A process that is killed right afterwards leaves it behind."""
    bench.run(EVERY_TICKS + ticks)
    for reason in (Reason.FORCE_TRIP, Reason.SPEED_TRIP):
        bench.chain.latched = int(reason)
        bench.run(1)
        assert bench.supervisor.reason == reason


def test_a_latch_of_the_chain_is_kept_until_a_button_was_pressed_and_released(bench: Bench) -> None:
    bench.chain.latched = int(Reason.SPEED_TRIP)
    bench.run(200)
    assert bench.side.status[Status.SUPERVISOR] == SupervisorState.PROTECTIVE_STOP
    assert bench.side.status[Status.LATCH_REASON] == Reason.SPEED_TRIP and bench.side.status[Status.TRIPS] == 1
    bench.chain.latched = 0
    bench.run(EVERY_TICKS)
    assert bench.chain.latched == Reason.SPEED_TRIP, "nothing but the supervisor ends it"
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.GRANTED and bench.side.status[Status.RELEASES] == 1
    assert bench.supervisor.ask_reseed(bench.now) == Answer.GRANTED


def test_the_arm_must_stand_and_be_free_for_a_reset(bench: Bench) -> None:
    bench.chain.latched = int(Reason.SPEED_TRIP)
    bench.state["qd_rad_s"][0, 3] = -0.2
    bench.run(200)
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.NOT_CALM
    bench.state["qd_rad_s"], bench.state["wrench_tool"][0, 1] = 0.0, 6.0
    bench.run(200)
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.NOT_CALM
    bench.state["wrench_tool"] = np.nan
    bench.run(200)
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.NOT_CALM


def test_a_press_that_nobody_repeats_is_void(bench: Bench) -> None:
    bench.chain.latched = int(Reason.SPEED_TRIP)
    bench.run(200)
    bench.button(True)
    bench.run(700)
    bench.button(False)
    bench.run(EVERY_TICKS)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.NO_PRESS


def test_a_press_that_ends_under_another_hand_is_void(bench: Bench) -> None:
    bench.chain.latched = int(Reason.SPEED_TRIP)
    bench.run(200)
    for _ in range(12):
        bench.button(True)
        bench.run(50)
    with PersonSeat(bench.name):  # the presser was killed; taking its seat lets go of the button
        bench.run(EVERY_TICKS)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.NO_PRESS
    assert bench.supervisor.ask_reseed(bench.now) == Answer.PERSON


def test_an_emergency_stop_is_there_within_four_ticks_and_stays_without_its_presser(bench: Bench) -> None:
    with PersonSeat(bench.name) as person:
        person.estop(True)
    bench.run(EVERY_TICKS)
    assert bench.chain.latched == Reason.ESTOP and bench.supervisor.state == SupervisorState.ESTOP
    bench.run(200)
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.ESTOP_PRESSED


def test_while_somebody_sits_at_the_buttons_others_look_and_press_the_emergency_stop(bench: Bench) -> None:
    bench.run(EVERY_TICKS)
    with PersonSeat(bench.name):
        assert look(bench.name).state == SupervisorState.ARMED
        press_estop(bench.name)
        bench.run(EVERY_TICKS)
        assert look(bench.name) == (SupervisorState.ESTOP, Reason.ESTOP, 0, 3, 1)


@pytest.mark.parametrize("late", [False, True])
def test_a_press_counts_however_short_and_one_upon_another_too(bench: Bench, late: bool) -> None:
    with PersonSeat(bench.name) as person:
        person.estop(True)
        person.estop(False)
        bench.run(EVERY_TICKS)
        assert bench.supervisor.trips == 1 and bench.supervisor.state == SupervisorState.ESTOP
        press_estop(bench.name)
        bench.run(EVERY_TICKS)
        press_estop(bench.name)
        if late:  # a press that was about to be written before the one that stands there
            bench.side.person[Person.ESTOP_NS] -= 1
        bench.run(EVERY_TICKS)
        assert bench.supervisor.trips == 3
        person.estop(False)
        bench.run(EVERY_TICKS)
        assert bench.supervisor.ask_reseed(bench.now) == Answer.NOT_CALM, "released; the rest of the ritual is due"


def test_a_request_for_an_emergency_stop_acts_at_once(bench: Bench) -> None:
    bench.supervision.estop()
    assert bench.chain.latched == Reason.ESTOP
    bench.run(200)
    bench.hold_button(600)
    assert bench.side.status[Status.RESET_ANSWER] == Answer.GRANTED, "nobody keeps it pressed"


@pytest.mark.parametrize("source", [Heartbeat.CAMERA, Heartbeat.OPERATOR])
def test_heartbeats_of_the_parents_words_hold_the_chain(bench: Bench, source: Heartbeat) -> None:
    other = SharedBlock.attach(bench.name)
    parent = ParentSide(other)
    parent.heartbeat(source, bench.now)
    bench.run(200)
    assert bench.chain.asked_hold == 0
    bench.run(150)
    assert bench.chain.asked_hold == Reason.HEARTBEAT == bench.side.status[Status.HOLD_REASON]
    assert bench.side.status[Status.LATE] == 1 << source
    parent.heartbeat(source, 0)
    bench.run(600)
    assert bench.chain.asked_hold == 0, "no longer in use"
    parent.release()
    other.close()


def test_a_seat_that_stays_is_watched_and_its_hold_outlives_it(bench: Bench) -> None:
    with PersonSeat(bench.name) as person:
        person.beat()
        bench.now = time.monotonic_ns()
        bench.run(200)
        assert bench.chain.asked_hold == 0 and bench.side.status[Status.LATE] == 1 << Heartbeat.SUPERVISOR
        bench.run(100)
        assert bench.chain.asked_hold == Reason.HEARTBEAT
        person.hold(True)
        bench.run(EVERY_TICKS)
        assert bench.chain.asked_hold == Reason.PERSON_HOLD == bench.side.status[Status.HOLD_REASON]
    bench.run(1000)
    assert bench.chain.asked_hold == Reason.PERSON_HOLD, "who left in order is missed no longer, his hold remains"
    with PersonSeat(bench.name) as person:
        person.hold(False)
        bench.run(EVERY_TICKS)
    assert bench.chain.asked_hold == 0


@pytest.mark.parametrize("word", [Parent.HEARTBEAT_NS, Parent.CAMERA_NS])
def test_a_beat_from_the_future_is_none(bench: Bench, word: Parent) -> None:
    bench.side.parent[word] = bench.now
    bench.run(EVERY_TICKS)
    bench.side.parent[word] = 2**62
    bench.run(1100)
    assert bench.chain.asked_hold == Reason.HEARTBEAT


def test_a_silent_commanding_process_holds_after_a_second(bench: Bench) -> None:
    bench.side.parent[Parent.HEARTBEAT_NS] = bench.now
    bench.run(900)
    assert bench.chain.asked_hold == 0 and bench.side.status[Status.LATE] == 1 << Heartbeat.POLICY
    bench.run(150)
    assert bench.chain.asked_hold == Reason.HEARTBEAT


@pytest.mark.parametrize(("realtime", "held"), [(0, 0), (1, int(Reason.HEARTBEAT))])
def test_fault_f8_late_ticks_and_gaps_count_in_a_loop_that_means_to_be_punctual(
    bench: Bench, realtime: int, held: int
) -> None:
    bench.side.status[Status.REALTIME] = realtime
    for _ in range(4):
        bench.run(1, lateness_ns=3 * MS)
        bench.run(50)
    assert bench.chain.asked_hold == 0
    bench.run(1, lateness_ns=3 * MS)
    bench.run(EVERY_TICKS)
    assert bench.chain.asked_hold == held
    bench.run(1000)
    assert bench.chain.asked_hold == 0
    bench.now += 60 * MS
    bench.run(EVERY_TICKS)
    assert bench.chain.asked_hold == held


class Life:
    """One motor process after the other under a bench's name."""

    def __init__(self, bench: Bench, **settings: Any) -> None:
        self.supervisor = Supervisor(SupervisorConfig(**settings))
        self.memory = LatchMemory(bench.name, self.supervisor)

    def tripped(self, reason: Reason, now_ns: int) -> None:
        self.supervisor.trip(int(reason), now_ns)
        self.memory.keep()  # and no close: the process is killed


def test_a_latch_and_the_budget_are_remembered_by_name_until_somebody_resets(bench: Bench) -> None:
    life = Life(bench, automatic_max=2)
    life.supervisor.trip(int(Reason.FORCE_TRIP), bench.now)
    life.supervisor.measure(bench.now, 0.0, 0.0)
    assert life.supervisor.ask_reseed(bench.now + 200 * MS) == Answer.GRANTED
    life.tripped(Reason.SPEED_TRIP, bench.now + 300 * MS)
    life = Life(bench, automatic_max=2)
    assert life.supervisor.reason == Reason.SPEED_TRIP and life.supervisor.recoveries_left(bench.now) == 1
    assert life.supervisor.ask_reseed(bench.now + 400 * MS) == Answer.NOT_CALM, "calm is to be seen anew"
    life.memory.close(bench.now)
    assert forget_latch(bench.name) and not forget_latch(bench.name)
    life = Life(bench, automatic_max=2)
    assert not life.supervisor.latched
    life.memory.close(bench.now)
    assert not latch_path(bench.name).exists()


@pytest.mark.parametrize("others", [{"automatic_max": 0}, {"automatic_max": 100}, {"late_ticks": 50}], ids=str)
@pytest.mark.parametrize("reason", [Reason.LATCHED, Reason.ESTOP])
def test_other_settings_forget_no_latch_and_a_restart_takes_a_person(bench: Bench, others: Any, reason: Reason) -> None:
    Life(bench).tripped(reason, bench.now)
    supervisor = Life(bench, **others).supervisor
    assert supervisor.reason == reason
    supervisor.measure(bench.now, 0.0, 0.0)
    assert supervisor.ask_reseed(bench.now + 200 * MS) == Answer.PERSON, "even for a reason that is on the list"
    assert Life(bench).supervisor.reason == reason, "still remembered"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_is_torn_cut_or_foreign_latches(bench: Bench, data: Any) -> None:
    forget_latch(bench.name)
    Life(bench).tripped(Reason.SPEED_TRIP, bench.now)
    path = latch_path(bench.name)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(1, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    life = Life(bench)
    life.supervisor.measure(bench.now, 0.0, 0.0)
    assert life.supervisor.reason in (Reason.SPEED_TRIP, Reason.LATCH_UNREADABLE)
    assert life.supervisor.ask_reseed(bench.now + 200 * MS) == Answer.PERSON
    life.memory.close(bench.now)
    assert Life(bench).supervisor.latched, "until somebody resets"


def test_a_new_file_that_nobody_wrote_yet_latches_nothing(bench: Bench) -> None:
    latch_path(bench.name).write_bytes(bytes(64))
    assert not Life(bench).supervisor.latched
