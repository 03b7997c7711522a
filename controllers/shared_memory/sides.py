"""The two ends of a block: what the motor process writes and reads, and the same from its parent's side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from controllers.realtime import Histogram
from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.layout import (
    ANSWER,
    REQUEST,
    RING_CAPACITY,
    STATUS_TEXT,
    MotorState,
    Parent,
    Person,
    Status,
)
from controllers.shared_memory.mailbox import MailboxReader, MailboxWriter
from controllers.shared_memory.ring import RingReader, RingWriter
from controllers.types import COMMAND, REPORT
from safety.risk_weights import CRITIC_WEIGHTS, WeightsRefusal
from safety.supervision import Heartbeat, SupervisorState

PARENT_WORDS = {
    Heartbeat.CAMERA: Parent.CAMERA_NS,
    Heartbeat.LEARNER: Parent.LEARNER_NS,
    Heartbeat.OPERATOR: Parent.OPERATOR_NS,
}
"""Where a parent writes the signs of life of others; its own is HEARTBEAT_NS."""


class MotorSide:
    """The owner's end."""

    def __init__(self, block: SharedBlock) -> None:
        self.commands = MailboxReader(block.region("commands"), COMMAND)
        self.requests = MailboxReader(block.region("requests"), REQUEST)
        self.critic = MailboxReader(block.region("critic"), CRITIC_WEIGHTS)
        self.answers = MailboxWriter(block.region("answers"), ANSWER)
        self.ring = RingWriter(block.region("ring"), REPORT, RING_CAPACITY)
        self.lateness = Histogram(block.region("lateness_histogram").cast("q"))
        self.work = Histogram(block.region("work_histogram").cast("q"))
        self.status = block.region("status").cast("q")
        self.parent = block.region("parent").cast("q")
        self.person = block.region("person").cast("q")
        self._text = block.region("status_text")

    def say(self, state: MotorState, kernels: str, message: str) -> None:
        """Writes the text, then the state that it belongs to."""
        text = np.zeros((), STATUS_TEXT)
        text["kernels"], text["message"] = kernels.encode(), shortened(message, STATUS_TEXT["message"].itemsize)
        self._text[: STATUS_TEXT.itemsize] = text.tobytes()
        self.status[Status.STATE] = state

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        mailboxes = (self.commands, self.requests, self.critic, self.answers)
        for part in (*mailboxes, self.ring, self.lateness, self.work):
            part.release()
        for view in (self.status, self.parent, self.person, self._text):
            view.release()


class PersonSide:
    """The end of somebody at the buttons, or of somebody who only looks or presses the emergency stop."""

    def __init__(self, block: SharedBlock) -> None:
        self._person = block.region("person").cast("q")
        self._status = block.region("status").cast("q")

    def button(self, pressed: bool, now_ns: int, pid: int) -> None:
        """Says whether the reset button is pressed; to be repeated while it is."""
        self._person[Person.PID], self._person[Person.BUTTON_NS] = pid, now_ns
        self._person[Person.BUTTON] = int(pressed)

    def beat(self, now_ns: int) -> None:
        """Writes the seat's sign of life; 0: it leaves in order."""
        self._person[Person.SEAT_NS] = now_ns

    def hold(self, held: bool) -> None:
        """Says whether a person wants the arm held."""
        self._person[Person.HOLD] = int(held)

    def press_estop(self, now_ns: int) -> None:
        """Presses the emergency stop. Any number of processes may do so at once: whatever word remains is a press."""
        self._person[Person.ESTOP_NS] = max(now_ns, self._person[Person.ESTOP_NS] + 1)

    def release_estop(self) -> None:
        """Releases the newest press of the emergency stop, and those before it."""
        self._person[Person.RELEASED_NS] = self._person[Person.ESTOP_NS]

    def word(self, word: Status) -> int:
        """Returns a word of the motor process's status."""
        return self._status[word]

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        self._person.release()
        self._status.release()


class MotorStatus(NamedTuple):
    """What the motor process says about itself and its loop."""

    state: MotorState
    pid: int
    realtime: bool
    kernels: str
    message: str
    ticks: int
    overruns: int
    torn_commands: int
    lateness_p50_us: float
    lateness_p99_us: float
    lateness_p999_us: float
    lateness_max_us: float
    work_p50_us: float
    work_p99_us: float
    work_max_us: float
    supervisor: SupervisorState
    latch_reason: int
    hold_reason: int
    late_heartbeats: tuple[str, ...]
    trips: int
    recoveries_left: int
    critic_version: int
    """Of the safety critic's weights in use, 0 without any."""
    critic_refused: int
    """How many times weights were refused since the start."""
    critic_refusal: WeightsRefusal
    """What became of the newest weights."""
    lost_packets: int
    """Packets of a robot behind a network connection that never arrived."""
    success_rate: float
    """Share of our commands that such a robot receives in time; NaN for any other."""


class ParentSide:
    """The commanding process's end."""

    def __init__(self, block: SharedBlock) -> None:
        self.commands = MailboxWriter(block.region("commands"), COMMAND)
        self.requests = MailboxWriter(block.region("requests"), REQUEST)
        self.critic = MailboxWriter(block.region("critic"), CRITIC_WEIGHTS)
        self.answers = MailboxReader(block.region("answers"), ANSWER)
        self.ring = RingReader(block.region("ring"), REPORT, RING_CAPACITY)
        self._lateness = Histogram(block.region("lateness_histogram").cast("q"))
        self._work = Histogram(block.region("work_histogram").cast("q"))
        self._status = block.region("status").cast("q")
        self._parent = block.region("parent").cast("q")
        self._text = block.region("status_text")

    def beat(self, now_ns: int, pid: int) -> None:
        """Writes a sign of life."""
        self._parent[Parent.PID] = pid
        self._parent[Parent.HEARTBEAT_NS] = now_ns

    def heartbeat(self, source: Heartbeat, now_ns: int) -> None:
        """Writes a source's sign of life; 0 for one that is no longer in use."""
        if source not in PARENT_WORDS:
            raise ValueError(f"expected one of {[known.name for known in PARENT_WORDS]}, got {source.name}")
        self._parent[PARENT_WORDS[source]] = now_ns

    def heard_ns(self, source: Heartbeat) -> int:
        """Returns a source's newest sign of life [ns], 0 for one that is not in use."""
        return int(self._parent[PARENT_WORDS[source]])

    @property
    def state(self) -> MotorState:
        """Returns where the motor process stands in its life."""
        return MotorState(self._status[Status.STATE])

    def status(self) -> MotorStatus:
        """Returns everything that the motor process says about itself."""
        words, late, work = self._status, self._lateness, self._work
        text = np.frombuffer(bytes(self._text[: STATUS_TEXT.itemsize]), STATUS_TEXT)[0]
        return MotorStatus(
            self.state,
            words[Status.PID],
            bool(words[Status.REALTIME]),
            text["kernels"].decode("ascii", "replace"),
            text["message"].decode("utf-8", "replace"),
            words[Status.TICKS],
            words[Status.OVERRUNS],
            words[Status.TORN_COMMANDS],
            late.quantile_us(0.5),
            late.quantile_us(0.99),
            late.quantile_us(0.999),
            words[Status.LATENESS_MAX_NS] * 1e-3,
            work.quantile_us(0.5),
            work.quantile_us(0.99),
            words[Status.WORK_MAX_NS] * 1e-3,
            SupervisorState(words[Status.SUPERVISOR]),
            words[Status.LATCH_REASON],
            words[Status.HOLD_REASON],
            tuple(source.name for source in Heartbeat if words[Status.LATE] >> source & 1),
            words[Status.TRIPS],
            words[Status.RECOVERIES_LEFT],
            words[Status.CRITIC_VERSION],
            words[Status.CRITIC_REFUSED],
            WeightsRefusal(words[Status.CRITIC_REFUSAL]),
            words[Status.PACKETS_LOST],
            words[Status.SUCCESS_PPM] * 1e-6 or math.nan,
        )

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        mailboxes = (self.commands, self.requests, self.critic, self.answers)
        for part in (*mailboxes, self.ring, self._lateness, self._work):
            part.release()
        for view in (self._status, self._parent, self._text):
            view.release()


def shortened(text: str, size: int) -> bytes:
    """Returns UTF-8 of at most `size` bytes, cut between characters."""
    return text.encode()[:size].decode("utf-8", "ignore").encode()
