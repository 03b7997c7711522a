"""The supervisor in the motor loop: what it is shown, and how its word reaches the chain and the status."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.motor_config import TickChain
from controllers.shared_memory.layout import Parent, Person, Status
from controllers.shared_memory.sides import PARENT_WORDS, MotorSide
from safety.supervision import Answer, Heartbeat
from safety.supervisor import Supervisor

EVERY_TICKS = 4
"""The supervisor looks at every fourth tick, and at those that latch: well within the shortest limit, at a quarter of
the cost."""
_BUTTON_SILENCE_NS = 500_000_000


class MotorSupervision:
    """Shows the supervisor the chain, the signs of life and a person's buttons, and lets the chain have its word."""

    def __init__(self, supervisor: Supervisor, side: MotorSide, chain: TickChain, state: NDArray[Any]) -> None:
        """state: the loop's STATE array (1,)."""
        self.supervisor = supervisor
        self._side, self._chain = side, chain
        self._qd, self._force = state["qd_rad_s"][0], state["wrench_tool"][0, :3]
        self._late_ns = round(supervisor.config.late_tick_s * 1e9)
        self._countdown = 0
        self._pressed, self._presser, self._estop_ns = False, 0, 0

    def watch(self, now_ns: int, lateness_ns: int) -> None:
        """Once a tick. A loop without its real-time measures said so at its start; its lateness is only counted."""
        if self._side.status[Status.REALTIME]:
            self.supervisor.beat(Heartbeat.LOOP, now_ns, now_ns)
            if lateness_ns > self._late_ns:
                self.supervisor.late_tick(now_ns)
        self._countdown -= 1
        if self._countdown < 0 or self._chain.latched > self.supervisor.reason:  # a latch is remembered at once
            self._countdown = EVERY_TICKS - 1
            self.look(now_ns)

    def look(self, now_ns: int) -> None:
        """Looks at everything at once."""
        supervisor, chain = self.supervisor, self._chain
        self._take_beats(now_ns)
        self._take_buttons(now_ns)
        supervisor.observe(now_ns, chain.latched, chain.following, chain.holding)
        if supervisor.latched:
            speed_rad_s = float(np.abs(self._qd).max())  # NaN stays NaN: never calm
            supervisor.measure(now_ns, speed_rad_s, float(np.sqrt(self._force @ self._force)))
            chain.latched = supervisor.reason
        chain.asked_hold = supervisor.hold
        self._tell(now_ns)

    def ask_reseed(self) -> Answer:
        """Whether the chain may be reseeded now; GRANTED ends a latch."""
        now_ns = time.monotonic_ns()
        self.look(now_ns)
        answer = self.supervisor.ask_reseed(now_ns)
        self._tell(now_ns)
        return answer

    def ask_grant(self) -> Answer:
        """Whether the energy tank may be set to its start now."""
        return self.supervisor.ask_grant(time.monotonic_ns(), self._chain.following, self._chain.resetting)

    def estop(self) -> None:
        """Somebody who commands asks for an emergency stop: pressed and let go at once."""
        now_ns = time.monotonic_ns()
        self.supervisor.estop(True, now_ns)
        self.look(now_ns)

    def _take_beats(self, now_ns: int) -> None:
        parent = self._side.parent
        if parent[Parent.HEARTBEAT_NS]:
            self.supervisor.beat(Heartbeat.POLICY, parent[Parent.HEARTBEAT_NS], now_ns)
        for source, word in PARENT_WORDS.items():
            stamp_ns = parent[word]
            if stamp_ns:
                self.supervisor.beat(source, stamp_ns, now_ns)
            else:
                self.supervisor.forget(source)
        if (seat_ns := self._side.person[Person.SEAT_NS]) != 0:
            self.supervisor.beat(Heartbeat.SUPERVISOR, seat_ns, now_ns)
        else:
            self.supervisor.forget(Heartbeat.SUPERVISOR)

    def _take_buttons(self, now_ns: int) -> None:
        person, supervisor = self._side.person, self.supervisor
        supervisor.person_hold(person[Person.HOLD] != 0)
        estop_ns = person[Person.ESTOP_NS]
        if estop_ns != self._estop_ns:  # another press, even if it is over, or came while the former one lasts
            self._estop_ns = estop_ns
            supervisor.estop(False, now_ns)
            supervisor.estop(True, now_ns)
        supervisor.estop(estop_ns != person[Person.RELEASED_NS], now_ns)
        pressed = person[Person.BUTTON] != 0
        if pressed and now_ns - person[Person.BUTTON_NS] > _BUTTON_SILENCE_NS:
            supervisor.cancel()  # a release that comes after all is one without a press
        elif pressed != self._pressed:
            self._pressed = pressed
            if pressed:
                self._presser = person[Person.PID]
                supervisor.press(now_ns)
            else:
                if person[Person.PID] != self._presser:
                    supervisor.cancel()  # whoever took the seat after the presser's death has not pressed
                supervisor.release(now_ns)
                self._side.status[Status.RESET_ANSWER] = supervisor.answer
                self._side.status[Status.RELEASES] += 1

    def _tell(self, now_ns: int) -> None:
        supervisor, status = self.supervisor, self._side.status
        status[Status.SUPERVISOR], status[Status.TRIPS] = supervisor.state, supervisor.trips
        status[Status.LATCH_REASON] = supervisor.reason
        status[Status.HOLD_REASON], status[Status.LATE] = supervisor.hold, supervisor.late
        status[Status.RECOVERIES_LEFT] = supervisor.recoveries_left(now_ns)
