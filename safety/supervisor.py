"""The supervisor's rules: which state the arm is in, when a missing heartbeat holds it, and what ends a latch.

No clock, no files, no threads: whoever drives the arm tells what it sees and at what time, on any clock that does not
jump, and carries out `reason` (latch the chain with it) and `hold` (hold it softly). The same object serves the motor
process and the simulation in lock-step.

A latch ends only if the arm is calm and either a person has reset it (a press of at least press_s that began after
the latch, and its release), or its reason is on the list of automatic recoveries and their budget is not used up.
A latch that a former process left always takes a person.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from safety.reasons import Reason
from safety.supervision import Answer, Heartbeat, SupervisorConfig, SupervisorState, believed_ns

_NEVER = -(2**62)
_STATES = {int(Reason.STATE_INVALID): SupervisorState.FAULT, int(Reason.ESTOP): SupervisorState.ESTOP}
_LATE_WINDOW_NS = 1_000_000_000
_GRANT_WINDOW_NS = 60_000_000_000


def _ns(duration_s: float) -> int:
    return 2**62 if math.isinf(duration_s) else round(duration_s * 1e9)


class Supervisor:
    """State machine of one arm. All times are ints [ns] of the caller's clock; a clock set back counts as standing."""

    def __init__(self, config: SupervisorConfig | None = None, simulation: bool = False) -> None:
        """simulation: a simulated arm in lock-step, where a supervisor that is switched off demands nothing at all."""
        self.config = config = config or SupervisorConfig()
        self._simulation = simulation
        self.state = SupervisorState.INIT
        self.reason = 0
        """Reason code of the latch, 0 without one: the chain shall be latched with it."""
        self.hold = 0
        """Reason code of a hold that a heartbeat or a person asks for, 0 without one."""
        self.late = 0
        """Bit i is set while source i of Heartbeat is beyond its soft limit."""
        self.trips = 0
        """How often the arm was latched."""
        self.automatic = self.by_person = self.simulated = 0
        """How often a latch was ended without a person, by one, by a simulated one."""
        self.answer = Answer.NO_PRESS
        """What became of the last release of a person's button."""
        self._soft_ns = [_ns(config.heartbeats.limits_s(source)[0]) for source in Heartbeat]
        self._hard_ns = [_ns(config.heartbeats.limits_s(source)[1]) for source in Heartbeat]
        self._required = [config.heartbeats.required(source) for source in Heartbeat]
        self._beats = [_NEVER] * len(Heartbeat)
        self._automatic_codes = frozenset(int(Reason[name]) for name in config.automatic)
        self._recoveries = [_NEVER] * config.automatic_max
        self._late_ticks = [_NEVER] * config.late_ticks
        self._grants: deque[int] = deque(maxlen=config.grants_per_minute)
        self._hold_until_ns = self._pressed_ns = self._reset_ns = self._calm_ns = self._tripped_ns = _NEVER
        self._estop_pressed = self._inherited = self._person_holds = False

    @property
    def latched(self) -> bool:
        """Whether the arm is in one of the latched states."""
        return self.state >= SupervisorState.PROTECTIVE_STOP

    # What the driver of the arm tells

    def switch_on(self, torque_control: bool) -> None:
        """Torque control began (ARMED) or ended (IDLE); a latch stays."""
        if not self.latched:
            self.state = SupervisorState.ARMED if torque_control else SupervisorState.IDLE

    def beat(self, source: Heartbeat, stamp_ns: int, now_ns: int) -> None:
        """A sign of life of a source, which was given at stamp_ns.

        An older one than the newest changes nothing, nor does one from the future: it would never age.
        """
        given_ns = believed_ns(stamp_ns, now_ns)
        if given_ns is None:
            return
        stamp_ns, before_ns = given_ns, self._beats[source]
        if source == Heartbeat.LOOP and before_ns != _NEVER and stamp_ns - before_ns > self._hard_ns[source]:
            self._ask_hold(stamp_ns)  # the gap is over by the time that anybody can look for it
        if stamp_ns > before_ns:
            self._beats[source] = stamp_ns

    def forget(self, source: Heartbeat) -> None:
        """A source is no longer in use: it is watched again from its next beat on."""
        self._beats[source] = _NEVER

    def late_tick(self, now_ns: int) -> None:
        """A tick began late; the last of too many within a second asks for a hold."""
        times = self._late_ticks
        times[times.index(min(times))] = now_ns
        if now_ns - min(times) <= _LATE_WINDOW_NS:
            self._ask_hold(now_ns)

    def observe(self, now_ns: int, latched: int, following: bool, holding: bool) -> None:
        """Looks at the chain and the heartbeats.

        latched: the reason code of the chain's latch, 0 without; following: a command was accepted since the last
        seed; holding: the chain holds softly.
        """
        if latched > self.reason:
            self.trip(latched, now_ns)
        self._watch_heartbeats(now_ns)
        if self.latched or self.state < SupervisorState.ARMED:
            return
        if self.hold or holding:
            self.state = SupervisorState.HOLD
        else:
            self.state = SupervisorState.RUN if following else SupervisorState.ARMED

    def measure(self, now_ns: int, speed_rad_s: float, force_n: float) -> None:
        """While latched: the greatest joint speed and the force on the tool; NaN is never calm."""
        if not (speed_rad_s <= self.config.still_rad_s and force_n <= self.config.low_force_n):
            self._calm_ns = _NEVER
        elif self._calm_ns == _NEVER:
            self._calm_ns = now_ns

    def trip(self, reason: int, now_ns: int) -> None:
        """Latches the arm. What a person pressed or reset before this moment no longer counts."""
        self.state = max(self.state, _STATES.get(reason, SupervisorState.PROTECTIVE_STOP))
        self.reason = max(self.reason, reason)
        self.trips += 1
        self._tripped_ns, self._reset_ns, self._calm_ns = now_ns, _NEVER, _NEVER

    # What a person does

    def estop(self, pressed: bool, now_ns: int) -> None:
        """The emergency stop's level; every press latches, no release unlatches."""
        if pressed and not self._estop_pressed:
            self.trip(int(Reason.ESTOP), now_ns)
        self._estop_pressed = pressed

    def person_hold(self, held: bool) -> None:
        """The level of a person's wish that the arm be held softly."""
        self._person_holds = held

    def press(self, now_ns: int) -> None:
        """The reset button went down."""
        if self._pressed_ns == _NEVER:
            self._pressed_ns = now_ns

    def cancel(self) -> None:
        """Whoever pressed the button is gone without a release: it never happened."""
        self._pressed_ns = _NEVER

    def release(self, now_ns: int) -> Answer:
        """The reset button came up. Returns, and keeps as `answer`, what that meant."""
        pressed_ns, self._pressed_ns = self._pressed_ns, _NEVER
        self.answer = self._judge(pressed_ns, now_ns)
        if self.answer == Answer.GRANTED:
            self._reset_ns = now_ns
        return self.answer

    def _judge(self, pressed_ns: int, now_ns: int) -> Answer:
        if pressed_ns == _NEVER:
            return Answer.NO_PRESS
        if not self.latched:
            return Answer.NOT_LATCHED
        if pressed_ns <= self._tripped_ns:
            return Answer.PRESSED_BEFORE
        if now_ns - pressed_ns < _ns(self.config.press_s):
            return Answer.TOO_SHORT
        return self._obstacle(now_ns)

    def _obstacle(self, now_ns: int) -> Answer:
        """Returns what stands against any reset, GRANTED if nothing does."""
        if self._estop_pressed:
            return Answer.ESTOP_PRESSED
        calm = self._calm_ns != _NEVER and now_ns - self._calm_ns >= _ns(self.config.calm_s)
        return Answer.GRANTED if calm else Answer.NOT_CALM

    # What a program may do

    def ask_reseed(self, now_ns: int) -> Answer:
        """A program wishes to start over. GRANTED ends the latch: the chain is then to be reseeded where the arm is."""
        if not self.latched:
            return Answer.GRANTED
        if not self.config.enabled and (self._simulation or not self._takes_a_person):
            return self._leave()
        obstacle = self._obstacle(now_ns)
        if obstacle != Answer.GRANTED:
            return obstacle
        if self._reset_ns != _NEVER and now_ns - self._reset_ns <= _ns(self.config.reset_valid_s):
            self.by_person += 1
            return self._leave(budget_anew=True)
        listed = self.reason in self._automatic_codes and not self._inherited
        if listed and self.recoveries_left(now_ns) > 0:
            self._recoveries[self._recoveries.index(min(self._recoveries))] = now_ns
            self.automatic += 1
            return self._leave()
        if self.config.simulated_person:
            self.simulated += 1
            return self._leave(budget_anew=True)
        return Answer.PERSON

    def ask_grant(self, now_ns: int, following: bool, resetting: bool) -> Answer:
        """A program wishes for the energy of a new episode. GRANTED counts it.

        following: a command was accepted since the last seed; resetting: it is one of the automatic reset. Energy
        that came in the middle of a policy's motion would make the tank no bound of an episode.
        """
        if not self.config.enabled:
            return Answer.GRANTED
        if following and not resetting:
            return Answer.FOLLOWING
        if len(self._grants) == self._grants.maxlen and now_ns - self._grants[0] < _GRANT_WINDOW_NS:
            return Answer.TOO_MANY_GRANTS
        self._grants.append(now_ns)
        return Answer.GRANTED

    @property
    def _takes_a_person(self) -> bool:
        """Whether a program may not even end this latch where the supervisor is switched off."""
        return self._inherited or self._estop_pressed or self.state == SupervisorState.ESTOP

    def recoveries_left(self, now_ns: int) -> int:
        """Returns how many automatic recoveries the budget still holds."""
        window_ns = _ns(self.config.automatic_window_s)
        return sum(now_ns - used_ns > window_ns for used_ns in self._recoveries)

    # Memory

    def memory(self) -> NDArray[np.int64]:
        """Returns what outlives this object: latch, budget, counts and times, as ints."""
        words = [self.state, self.reason, self.trips, self.automatic, self.by_person, self.simulated]
        times = [self._tripped_ns, self._reset_ns, self._calm_ns, self._hold_until_ns]
        return np.array([*words, *times, int(self._estop_pressed), *self._beats, *self._recoveries], np.int64)

    def recall(self, memory: NDArray[np.int64]) -> None:
        """Takes over what `memory` of a supervisor with the same budget returned; a button must be pressed anew."""
        words = [int(word) for word in memory]
        state, self.reason, self.trips, self.automatic, self.by_person, self.simulated = words[:6]
        self.state = SupervisorState(state)
        self._tripped_ns, self._reset_ns, self._calm_ns, self._hold_until_ns = words[6:10]
        self._estop_pressed = bool(words[10])
        self._beats, self._recoveries = words[11 : 11 + len(Heartbeat)], words[11 + len(Heartbeat) :]
        self._pressed_ns = _NEVER
        self._grants.clear()  # the clock may have been put back with the rest

    @property
    def recoveries(self) -> list[int]:
        """Times of the automatic recoveries that the budget remembers [ns], oldest first."""
        return sorted(used_ns for used_ns in self._recoveries if used_ns != _NEVER)

    def inherit(self, state: SupervisorState, reason: int, recoveries: list[int], now_ns: int) -> None:
        """Takes over what a former process left: the latch, which takes a person, and what it used of the budget.

        reason: 0 without a latch; recoveries: as `recoveries`, of a budget of any size.
        """
        budget = self.config.automatic_max
        kept = sorted(recoveries)[max(len(recoveries) - budget, 0) :]
        self._recoveries = [*kept, *[_NEVER] * (budget - len(kept))]
        if reason:
            self.state, self.reason, self._inherited, self._tripped_ns = state, reason, True, now_ns

    # Parts

    def _leave(self, budget_anew: bool = False) -> Answer:
        if budget_anew:
            self._recoveries = [_NEVER] * self.config.automatic_max
        self.state, self.reason, self._inherited = SupervisorState.ARMED, 0, False
        self._reset_ns = self._calm_ns = _NEVER
        return Answer.GRANTED

    def _ask_hold(self, now_ns: int) -> None:
        self._hold_until_ns = max(self._hold_until_ns, now_ns + _ns(self.config.release_s))

    def _watch_heartbeats(self, now_ns: int) -> None:
        self.hold = int(Reason.PERSON_HOLD) if self._person_holds else 0
        if not self.config.enabled:
            return
        late = 0
        for source in Heartbeat:
            beat_ns = self._beats[source]
            if beat_ns == _NEVER:
                if self._required[source]:
                    late |= 1 << source
                    self._ask_hold(now_ns)
                continue
            age_ns = now_ns - beat_ns
            if age_ns > self._soft_ns[source]:
                late |= 1 << source
            if age_ns > self._hard_ns[source]:
                self._ask_hold(now_ns)
        self.late = late
        if now_ns < self._hold_until_ns and not self._person_holds:
            self.hold = int(Reason.HEARTBEAT)
