from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from controllers.description.geometry import Pose
from controllers.motor_requests import RequestDesk
from controllers.pulse import BEAT_S, Pulse
from controllers.shared_memory import SharedBlock
from controllers.shared_memory.layout import ANSWER, REQUEST, MotorState, Request
from controllers.shared_memory.mailbox import record_bytes
from controllers.shared_memory.sides import MotorSide, ParentSide, shortened
from safety.reasons import Reason
from safety.supervision import Answer


class Simulated:
    """A robot with the abilities of a simulator that writes down what it is told."""

    rate_hz = 1000.0

    def __init__(self) -> None:
        self.done: list[Any] = []

    def start(self) -> None:
        return

    def read(self, state: Any) -> None:
        return

    def write(self, tau_nm: Any) -> None:
        return

    def stop(self) -> None:
        return

    def teleport(self, q_rad: Any) -> None:
        self.done.append(q_rad.tolist())

    def reseed(self, seed: int) -> None:
        self.done.append(seed)

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        if fixture != "plate":
            raise KeyError(f"no movable fixture {fixture!r}")
        self.done.append((fixture, T_base_fixture.position_m.tolist()))


class Desk:
    def __init__(self) -> None:
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.owner, self.robot, self.reseeds = SharedBlock.create(name), Simulated(), 0
        self.grants = self.reason = 0
        self.other = SharedBlock.attach(name)
        self.motor, self.parent = MotorSide(self.owner), ParentSide(self.other)
        self.desk = RequestDesk(self.motor, self.robot, self)

    def restart(self, moved: bool = False) -> tuple[Answer, int]:
        if self.reason:
            return Answer.PERSON, self.reason
        self.reseeds += 1
        return Answer.GRANTED, 0

    def estop(self) -> None:
        self.reason = int(Reason.ESTOP)

    def grant(self) -> Answer:
        self.grants += 1
        return Answer.GRANTED if self.grants < 2 else Answer.FOLLOWING

    def ask(self, kind: int, name: str = "", values: Any = ()) -> tuple[bool, str]:
        request, answer = np.zeros((), REQUEST), np.zeros((), ANSWER)
        request["kind"], request["number"], request["name"] = kind, 7, name.encode()
        request["values"][: len(values)] = values
        self.parent.requests.publish(request)
        stop = self.desk.serve()
        assert self.parent.answers.poll(record_bytes(answer)) and answer["number"] == 7
        message = answer["message"].item().decode()
        self.verdict = Answer(int(answer["verdict"]))
        assert bool(answer["refused"]) == bool(message) or self.verdict != Answer.GRANTED
        return stop, message

    def close(self) -> None:
        for side, block in ((self.parent, self.other), (self.motor, self.owner)):
            side.release()
            block.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_requests_are_carried_out_once_and_answered(desk: Desk) -> None:
    assert not desk.desk.serve()
    assert desk.ask(Request.TELEPORT, values=np.arange(7.0)) == (False, "")
    assert desk.ask(Request.GRANT) == (False, "") and desk.grants == 1
    assert desk.ask(Request.PLACE_FIXTURE, "plate", [0.5, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0]) == (False, "")
    assert desk.ask(Request.RESEED) == (False, "")
    assert desk.ask(Request.SEED_SENSOR, values=[2**31 - 1]) == (False, "")
    assert desk.robot.done == [list(range(7)), ("plate", [0.5, 0.0, 0.1]), 2**31 - 1]
    assert desk.reseeds == 2, "a teleport starts the controller over too"
    assert not desk.desk.serve()


def test_a_latched_arm_is_not_reseeded_and_the_answer_says_why(desk: Desk) -> None:
    desk.ask(Request.ESTOP)
    desk.ask(Request.RESEED)
    assert desk.reseeds == 0 and desk.verdict == Answer.PERSON
    assert desk.ask(Request.TELEPORT, values=np.arange(7.0)) == (False, "")
    assert desk.robot.done == [list(range(7))] and desk.reseeds == 0, "moved, and still latched"


def test_energy_that_is_not_granted_is_told_by_the_verdict(desk: Desk) -> None:
    desk.ask(Request.GRANT)
    desk.ask(Request.GRANT)
    assert desk.verdict == Answer.FOLLOWING


def test_only_a_wish_to_stop_stops(desk: Desk) -> None:
    assert desk.ask(Request.STOP) == (True, "")


@pytest.mark.parametrize(
    ("kind", "name", "values", "message"),
    [
        (Request.PLACE_FIXTURE, "door", [0.0] * 6 + [1.0], "no movable fixture 'door'"),
        (Request.PLACE_FIXTURE, "plate", [0.0] * 7, "length 1"),
        (Request.TARE, "", (), "Simulated cannot tare: its driver needs a method `tare`"),
        (Request.SEED_SENSOR, "", [np.inf], "cannot convert float infinity to integer"),
        (99, "", (), "unknown request 99; known are"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(desk: Desk, kind: int, name: str, values: Any, message: str) -> None:
    stop, said = desk.ask(kind, name, values)
    assert not stop and message in said


def test_status_text_and_counters_cross_the_block(desk: Desk) -> None:
    desk.motor.say(MotorState.RUNNING, "0123456789abcdef", "läuft " * 200)
    desk.motor.lateness.add(1500)
    status = desk.parent.status()
    assert status.state == MotorState.RUNNING and status.kernels == "0123456789abcdef"
    assert status.message.startswith("läuft läuft") and len(status.message.encode()) <= 480
    assert status.lateness_p50_us == 2.0


def test_text_is_cut_between_characters() -> None:
    assert shortened("aä", 2) == b"a" and shortened("aä", 3).decode() == "aä"


def test_the_pulse_beats_until_it_is_stopped_and_an_awake_process_has_no_gap() -> None:
    beats: list[int] = []
    begin_ns = time.monotonic_ns()
    pulse = Pulse(lambda now_ns, pid: beats.append(now_ns))
    end_s = time.monotonic() + 30.0
    while len(beats) < 5 and time.monotonic() < end_s:
        time.sleep(BEAT_S)
    assert len(beats) >= 5 and beats == sorted(beats)
    assert not pulse.silent_since(begin_ns, 60_000_000_000)
    pulse.stop()
    count = len(beats)
    time.sleep(3 * BEAT_S)
    assert len(beats) == count
    time.sleep(0.1)
    assert pulse.silent_since(begin_ns, 100_000_000), "the gap that is open right now counts"
