"""A motor link in real time, whatever leads to the motor process: memory of this machine, or topics.

Commands and requests go out through a `Side`, answers and tick reports come in. What differs from way to way is how one
notices that nobody is there any more.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.link import KEEP_ALIVE_S
from controllers.link_side import Side
from controllers.motor_child import MotorProcessDied
from controllers.pulse import Pulse
from controllers.request_client import RequestClient
from controllers.shared_memory.layout import RING_CAPACITY, Request
from controllers.shared_memory.sides import MotorStatus
from controllers.types import COMMAND, Command, TickReport
from data.errors import UserError
from safety.reflex import Mode
from safety.risk_weights import examine_weights, require_acceptable
from safety.supervision import Heartbeat

_LOOK_NS, _KEEP_ALIVE_NS = 2_000_000, round(KEEP_ALIVE_S * 1e9)


class LinkTimeouts(NamedTuple):
    """How long a link waits [s]."""

    answer_s: float = 2.0
    """For a request to be answered."""
    stall_s: float = 0.5
    """For another tick, before the motor process counts as dead."""
    suspension_s: float = 0.25
    """A command made before a suspension of this process longer than this is sent as old as it is."""
    decision_s: float = 1.0
    """So is one that took longer than this to be made, by a policy that hangs in a computation."""


class PacedLink(ABC):
    """Verbs of controllers.link.MotorLink on the clock. One thread at a time may use it.

    A motor process that is dead or silent raises MotorProcessDied from every verb: the episode is then invalid.
    """

    def __init__(self, name: str, side: Side, pulse: Pulse, timeouts: LinkTimeouts) -> None:
        """name: of the motor process. pulse: this process's own sign of life, to tell that it was suspended."""
        self.name = name
        self.side, self._pulse = side, pulse  # whoever only passes on (a node) may use the side itself
        self._stall_timeout_s, self._suspension_ns = timeouts.stall_s, round(timeouts.suspension_s * 1e9)
        self._decision_ns = round(timeouts.decision_s * 1e9)
        self.requests = RequestClient(side, name, timeouts.answer_s, self._require_alive, self._sleep)
        self._sequence = 0
        self._sent: Command | None = None
        self._sent_ns = self._seen_ns = self._cadence_ns = 0
        self._ticks, self._ticks_ns, self._taken = -1, 0, False
        self._command = np.zeros((), COMMAND)
        self._handed: int | None = None  # version of critic weights that wait for the next reset
        self._closed = False

    @abstractmethod
    def _death(self) -> str | None:
        """Returns None while the motor process may live, else what became of it, without a full stop."""

    @abstractmethod
    def _sleep(self, duration_s: float) -> None:
        """Sleeps, but not much beyond the death of the motor process."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the arm; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    # MotorLink

    def reset(self) -> None:
        """Lets the chain hold the measured pose; the last command no longer counts, earlier reports are passed over.

        Raises ResetRefused while the arm is latched and the supervisor does not let it go on, UserError with the reason
        if the motor refused the critic that was handed over: the arm then holds, and the critic in use is the old one.
        """
        self._sent = None
        refused = self.side.status().critic_refused
        self.requests.reseed()
        self.side.ring.skip()
        self._wait_until(self.now_ns() + 2_000_000)
        while not self.side.ring.waiting:
            self._wait_until(self.now_ns() + 1_000_000)
        self._seen_ns, self._taken = self.now_ns(), False
        self._cadence_ns = self._seen_ns
        self._require_critic_taken(refused)

    def grant(self) -> float:
        """Sets the energy tank to its start; returns by how much it changed [J].

        Raises GrantRefused where the supervisor does not allow it.
        """
        before_j = self.latest().tank_energy_j
        self.requests.ask(Request.GRANT)
        self._wait_until(self.now_ns() + 2_000_000)
        return self.latest().tank_energy_j - before_j

    def send(self, command: Command) -> None:
        """Publishes `command`, stamped now.

        If this process was suspended (SIGSTOP) after it last saw the arm, or saw it too long ago (a decision that took
        LinkTimeouts.decision_s), the command is as old as what it was made from: it is stamped so, and the chain
        refuses it.
        """
        self._require_alive()
        now_ns, seen_ns = self.now_ns(), self._seen_ns
        late = now_ns - seen_ns > self._decision_ns or self._suspended_since(seen_ns)
        stamp_ns = seen_ns if late else now_ns
        self._sent, self._sent_ns = None if late else command, stamp_ns  # what is late is not renewed as if it were not
        self._put(command, stamp_ns)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """Waits and returns the REPORT records (n,) since the last call: the caller's own copy.

        An interruptible step looks every 2 ms whether the reflex arbiter took the arm or gave it back, and then returns
        with all that has happened; the next step gets a whole `duration_s` from now.

        Calls in a row keep a constant cadence: the end is `duration_s` after the end of the step before, so that the
        time spent thinking between two steps counts. A caller that used up more than half of it gets a whole
        `duration_s` from now.
        """
        self._require_alive()
        duration_ns = round(duration_s * 1e9)
        if self.now_ns() - self._cadence_ns > duration_ns // 2:
            self._cadence_ns = self.now_ns()
        self._cadence_ns += duration_ns
        parts: list[NDArray[Any]] = []
        look_ns = _LOOK_NS if interruptible else _KEEP_ALIVE_NS
        self._keep_alive()  # steps may be shorter than the interval of renewals
        while self.now_ns() < self._cadence_ns:
            self._wait_until(min(self._cadence_ns, self.now_ns() + look_ns))
            if self.side.ring.waiting > RING_CAPACITY // 2:
                parts.append(self.side.ring.drain())
            if interruptible and self._arm_taken() != self._taken:
                self._cadence_ns = self.now_ns()
                break
            self._keep_alive()
        while not self.side.ring.waiting and not parts:
            self._wait_until(self.now_ns() + 1_000_000)
        parts.append(self.side.ring.drain())
        self._seen_ns = self.now_ns()
        reports = np.concatenate(parts)
        self._taken = bool(reports["mode"][-1] >= Mode.REFLEX)
        return reports

    def latest(self) -> TickReport:
        """Returns the newest report."""
        self._require_alive()
        newest = self.side.ring.newest()
        if newest is None:
            raise MotorProcessDied(f"motor process {self.name!r} has published no readable report")
        self._seen_ns = self.now_ns()
        return TickReport.from_record(newest[0])

    def now_ns(self) -> int:
        """Returns the motor's clock: CLOCK_MONOTONIC, one for all processes of a machine."""
        return time.monotonic_ns()

    # Beyond MotorLink

    @property
    def sent_ns(self) -> int:
        """Returns the stamp of the command that was sent last [ns]."""
        return self._sent_ns

    @property
    def lost_reports(self) -> int:
        """Returns how many reports were overwritten before this process fetched them."""
        return self.side.ring.lost

    def status(self) -> MotorStatus:
        """Returns state, measures, lateness and work of the motor process; also after its death, until `close`."""
        if self._closed:
            raise RuntimeError("the link is closed; its motor process has gone")
        return self.side.status()

    def heartbeat(self, source: Heartbeat, in_use: bool = True, stamp_ns: int | None = None) -> None:
        """A sign of life of a camera, the learner or the operator; in_use false: it is watched no longer.

        stamp_ns: when it was given, now by default; for a camera that is the exposure of its newest frame. Any thread
        may call it: nothing is asked of the motor process.
        """
        if self._closed:
            raise RuntimeError("the link is closed; make a new one")
        given_ns = self.now_ns() if stamp_ns is None else stamp_ns
        self.side.heartbeat(source, given_ns if in_use else 0)

    def estop(self) -> None:
        """Emergency stop in software: soft hold, latched until a person resets."""
        self.requests.ask(Request.ESTOP)

    def load_critic(self, weights: NDArray[Any]) -> None:
        """Hands a () CRITIC_WEIGHTS record over; the motor takes it at the next reset.

        Raises UserError for wrong weights. The motor looks again, and knows the limits of its task: where it refuses
        them, that reset raises UserError. See also critic_version and critic_refusal of `status`.
        """
        self._require_alive()
        require_acceptable(examine_weights(weights, self.side.status().critic_version))
        self.side.critic.publish(weights)
        self._handed = int(weights["version"])

    def teleport(self, q_rad: Sequence[float] | NDArray[np.float64]) -> None:
        """Simulation only: sets the joints (7,) [rad] at rest. Raises ValueError if the robot cannot."""
        self.requests.ask(Request.TELEPORT, values=q_rad)

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Simulation only: moves a movable fixture. Raises ValueError if there is none of that name."""
        self.requests.ask(Request.PLACE_FIXTURE, fixture, [*T_base_fixture.position_m, *T_base_fixture.quaternion_xyzw])

    def tare(self) -> None:
        """Tares the wrist sensor; in free space only. Raises ValueError if the robot has none."""
        self.requests.ask(Request.TARE)

    def reseed(self, seed: int) -> None:
        """Simulation only: restarts the random numbers of the sensor's noise and bias. seed: 0..2^53."""
        self.requests.ask(Request.SEED_SENSOR, values=[seed])

    def push(self, wrench_base: NDArray[np.float64], duration_s: float) -> None:
        """Simulation only: a hand pushes at the flange with (6,) [N, Nm], see MujocoArm.push. Raises ValueError."""
        self.requests.ask(Request.PUSH, values=[*wrench_base, duration_s])

    # Parts

    def _require_critic_taken(self, refused: int) -> None:
        """Raises UserError unless weights that were handed over are in use. refused: refusals before the reset."""
        version, self._handed = self._handed, None
        status = self.side.status()
        if version is None:
            return
        if status.critic_refused != refused:
            require_acceptable(status.critic_refusal)
        if status.critic_version != version:
            raise UserError(
                f"weights of the safety critic did not come into use: expected version {version}, the motor has "
                f"{status.critic_version}; hand them over again"
            )

    def _put(self, command: Command, stamp_ns: int) -> None:
        self._sequence += 1
        replace(command, sequence=self._sequence, stamp_ns=stamp_ns).write_to(self._command)
        self.side.commands.publish(self._command)

    def _keep_alive(self) -> None:
        """Renews the last command (the same, stamped afresh) while its sender means it and this process was awake."""
        if self._sent is None or self._suspended_since(self._sent_ns):
            return
        due = (now_ns := self.now_ns()) - int(self._command["stamp_ns"]) >= _KEEP_ALIVE_NS
        if due and now_ns < self._cadence_ns and now_ns - self._sent_ns < self._sent.duration_s * 1e9:
            self._command["stamp_ns"] = now_ns
            self.side.commands.publish(self._command)

    def _arm_taken(self) -> bool:
        """Whether the reflex arbiter has the arm now; as before if no report is readable."""
        newest = self.side.ring.newest()
        return self._taken if newest is None else bool(newest["mode"][0] >= Mode.REFLEX)

    def _suspended_since(self, moment_ns: int) -> bool:
        return self._pulse.silent_since(moment_ns, self._suspension_ns)

    def _wait_until(self, deadline_ns: int) -> None:
        """Sleeps until the deadline, but wakes at once when the motor process dies."""
        self._require_alive()
        while (now_ns := self.now_ns()) < deadline_ns:
            self._sleep(min((deadline_ns - now_ns) * 1e-9, self._stall_timeout_s / 2))
            self._require_alive()

    def _require_alive(self) -> None:
        """Raises MotorProcessDied if the process is dead or has run no tick for too long."""
        if self._closed:
            raise RuntimeError("the link is closed; make a new one")
        if (death := self._death()) is not None:
            raise MotorProcessDied(death)
        if (now_ns := self.now_ns()) and (ticks := self.side.ring.written) != self._ticks:
            self._ticks, self._ticks_ns = ticks, now_ns
        stall_s = (now_ns - self._ticks_ns) * 1e-9
        if stall_s > self._stall_timeout_s:
            if not self._suspended_since(self._ticks_ns):
                raise MotorProcessDied(f"motor process {self.name!r} runs no tick for {stall_s:.1f} s")
            # This process lay still too, perhaps the whole machine did: the motor process gets as long once more.
            self._ticks_ns = now_ns
