"""The motor link to a motor process on the same machine, in real time: verbs of `controllers.link.MotorLink`."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.link import KEEP_ALIVE_S
from controllers.motor_child import MotorChild, MotorProcessDied, SharedMemoryLinkConfig
from controllers.pulse import Pulse
from controllers.request_client import RequestClient
from controllers.shared_memory.block import BlockInUse, SharedBlock, remove_stale
from controllers.shared_memory.layout import RING_CAPACITY, MotorState, Request
from controllers.shared_memory.sides import MotorStatus, ParentSide
from controllers.types import COMMAND, Command, TickReport
from data.errors import UserError
from safety.reflex import Mode
from safety.risk_weights import examine_weights, require_acceptable
from safety.supervision import Heartbeat

__all__ = ["MotorProcessDied", "SharedMemoryLink", "SharedMemoryLinkConfig"]

_LOOK_NS, _KEEP_ALIVE_NS = 2_000_000, round(KEEP_ALIVE_S * 1e9)


class SharedMemoryLink:
    """Starts a motor process, commands it, and ends it. One thread at a time may use it.

    A dead or stalled motor process raises MotorProcessDied from every verb: the episode is then invalid. If this
    process dies, the motor process holds, stops and leaves by itself.
    """

    def __init__(self, config: SharedMemoryLinkConfig, environment: Mapping[str, str] | None = None) -> None:
        """environment: variables of the motor process on top of this process's own."""
        self.config = config
        self._sequence = 0
        self._sent: Command | None = None
        self._sent_ns = self._seen_ns = self._cadence_ns = 0
        self._ticks, self._ticks_ns, self._taken = -1, 0, False
        self._command = np.zeros((), COMMAND)
        self._handed: int | None = None  # version of critic weights that wait for the next reset
        self._closed = True
        self._child = MotorChild(config.motor, environment or {})
        try:
            self._child.wait_until_ready(config.start_timeout_s)
            self._block = SharedBlock.attach(config.motor.name)
        except BaseException as error:
            refused = isinstance(error, UserError) and not isinstance(error, MotorProcessDied)
            self._child.end(config.stop_timeout_s, wait_first=refused)
            self._remove_block()
            raise
        self._side = ParentSide(self._block)
        self._pulse = Pulse(self._side.beat)
        self._requests = RequestClient(
            self._side, config.motor.name, config.answer_timeout_s, self._require_alive, self._child.sleep
        )
        self._closed = False
        atexit.register(self.close)
        try:
            self.reset()
        except BaseException:  # nobody will hold this link: its arm must not stay armed, nor its pulse go on
            self.close()
            raise

    # MotorLink

    def reset(self) -> None:
        """Lets the chain hold the measured pose; the last command no longer counts, earlier reports are passed over.

        Raises ResetRefused while the arm is latched and the supervisor does not let it go on, UserError with the reason
        if the motor refused the critic that was handed over: the arm then holds, and the critic in use is the old one.
        """
        self._sent = None
        refused = self._side.status().critic_refused
        self._requests.reseed()
        self._side.ring.skip()
        self._wait_until(self.now_ns() + 2_000_000)
        while not self._side.ring.waiting:
            self._wait_until(self.now_ns() + 1_000_000)
        self._seen_ns, self._taken = self.now_ns(), False
        self._cadence_ns = self._seen_ns
        self._require_critic_taken(refused)

    def grant(self) -> float:
        """Sets the energy tank to its start; returns by how much it changed [J].

        Raises GrantRefused where the supervisor does not allow it.
        """
        before_j = self.latest().tank_energy_j
        self._requests.ask(Request.GRANT)
        self._wait_until(self.now_ns() + 2_000_000)
        return self.latest().tank_energy_j - before_j

    def send(self, command: Command) -> None:
        """Publishes `command`, stamped now.

        If this process was suspended (SIGSTOP, a sleeping laptop) after it last saw the arm, the command is as old as
        what it was made from: it is stamped so, and the chain refuses it.
        """
        self._require_alive()
        stamp_ns = self._seen_ns if self._suspended_since(self._seen_ns) else self.now_ns()
        self._sent, self._sent_ns = command, stamp_ns
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
            if self._side.ring.waiting > RING_CAPACITY // 2:
                parts.append(self._side.ring.drain())
            if interruptible and self._arm_taken() != self._taken:
                self._cadence_ns = self.now_ns()
                break
            self._keep_alive()
        while not self._side.ring.waiting and not parts:
            self._wait_until(self.now_ns() + 1_000_000)
        parts.append(self._side.ring.drain())
        self._seen_ns = self.now_ns()
        reports = np.concatenate(parts)
        self._taken = bool(reports["mode"][-1] >= Mode.REFLEX)
        return reports

    def latest(self) -> TickReport:
        """Returns the newest report."""
        self._require_alive()
        newest = self._side.ring.newest()
        if newest is None:
            raise MotorProcessDied(f"motor process {self.config.motor.name!r} has published no readable report")
        self._seen_ns = self.now_ns()
        return TickReport.from_record(newest[0])

    def now_ns(self) -> int:
        """Returns the motor's clock: CLOCK_MONOTONIC, one for all processes of a machine."""
        return time.monotonic_ns()

    def close(self) -> None:
        """Stops the motor process in order (hold, ramp, leave); kills it if it does not. May be called twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self._child.exit_status() is None:
            self._requests.publish(Request.STOP)
        self._child.end(self.config.stop_timeout_s, wait_first=True)
        self._pulse.stop()
        self._side.release()
        self._block.close()
        self._remove_block()

    def __enter__(self) -> SharedMemoryLink:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    # Beyond MotorLink

    @property
    def lost_reports(self) -> int:
        """Returns how many reports were overwritten before this process fetched them."""
        return self._side.ring.lost

    def status(self) -> MotorStatus:
        """Returns state, measures, lateness and work of the motor process; also after its death, until `close`."""
        if self._closed:
            raise RuntimeError("the link is closed; its motor process has gone")
        return self._side.status()

    def heartbeat(self, source: Heartbeat, in_use: bool = True, stamp_ns: int | None = None) -> None:
        """A sign of life of a camera, the learner or the operator; in_use false: it is watched no longer.

        stamp_ns: when it was given, now by default; for a camera that is the exposure of its newest frame. Any thread
        may call it: a single word is written, and nothing is asked of the motor process.
        """
        if self._closed:
            raise RuntimeError("the link is closed; make a new one")
        given_ns = self.now_ns() if stamp_ns is None else stamp_ns
        self._side.heartbeat(source, given_ns if in_use else 0)

    def estop(self) -> None:
        """Emergency stop in software: soft hold, latched until a person resets."""
        self._requests.ask(Request.ESTOP)

    def load_critic(self, weights: NDArray[Any]) -> None:
        """Hands a () CRITIC_WEIGHTS record over; the motor takes it at the next reset.

        Raises UserError for wrong weights. The motor looks again, and knows the limits of its task: where it refuses
        them, that reset raises UserError. See also critic_version and critic_refusal of `status`.
        """
        self._require_alive()
        require_acceptable(examine_weights(weights, self._side.status().critic_version))
        self._side.critic.publish(weights)
        self._handed = int(weights["version"])

    def teleport(self, q_rad: Sequence[float] | NDArray[np.float64]) -> None:
        """Simulation only: sets the joints (7,) [rad] at rest. Raises ValueError if the robot cannot."""
        self._requests.ask(Request.TELEPORT, values=q_rad)

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Simulation only: moves a movable fixture. Raises ValueError if there is none of that name."""
        self._requests.ask(
            Request.PLACE_FIXTURE, fixture, [*T_base_fixture.position_m, *T_base_fixture.quaternion_xyzw]
        )

    def tare(self) -> None:
        """Tares the wrist sensor; in free space only. Raises ValueError if the robot has none."""
        self._requests.ask(Request.TARE)

    def reseed(self, seed: int) -> None:
        """Simulation only: restarts the random numbers of the sensor's noise and bias. seed: 0..2^53."""
        self._requests.ask(Request.SEED_SENSOR, values=[seed])

    # Parts

    def _require_critic_taken(self, refused: int) -> None:
        """Raises UserError unless weights that were handed over are in use. refused: refusals before the reset."""
        version, self._handed = self._handed, None
        status = self._side.status()
        if version is None:
            return
        if status.critic_refused != refused:
            require_acceptable(status.critic_refusal)
        if status.critic_version != version:
            raise UserError(
                f"weights of the safety critic did not come into use: expected version {version}, the motor has "
                f"{status.critic_version}; hand them over again"
            )

    def _remove_block(self) -> None:
        """Takes away what a killed motor process left behind; by now the name may have a new, living owner."""
        with contextlib.suppress(BlockInUse):
            remove_stale(self.config.motor.name)

    def _put(self, command: Command, stamp_ns: int) -> None:
        self._sequence += 1
        replace(command, sequence=self._sequence, stamp_ns=stamp_ns).write_to(self._command)
        self._side.commands.publish(self._command)

    def _keep_alive(self) -> None:
        """Renews the last command (the same, stamped afresh) while its sender means it and this process was awake."""
        if self._sent is None or self._suspended_since(self._sent_ns):
            return
        due = (now_ns := self.now_ns()) - int(self._command["stamp_ns"]) >= _KEEP_ALIVE_NS
        if due and now_ns < self._cadence_ns and now_ns - self._sent_ns < self._sent.duration_s * 1e9:
            self._command["stamp_ns"] = now_ns
            self._side.commands.publish(self._command)

    def _arm_taken(self) -> bool:
        """Whether the reflex arbiter has the arm now; as before if no report is readable."""
        newest = self._side.ring.newest()
        return self._taken if newest is None else bool(newest["mode"][0] >= Mode.REFLEX)

    def _suspended_since(self, moment_ns: int) -> bool:
        return self._pulse.silent_since(moment_ns, round(self.config.suspension_s * 1e9))

    def _wait_until(self, deadline_ns: int) -> None:
        """Sleeps until the deadline, but wakes at once when the motor process dies."""
        self._require_alive()
        while (now_ns := self.now_ns()) < deadline_ns:
            self._child.sleep(min((deadline_ns - now_ns) * 1e-9, self.config.stall_timeout_s / 2))
            self._require_alive()

    def _require_alive(self) -> None:
        """Raises MotorProcessDied if the process is dead or has run no tick for too long."""
        if self._closed:
            raise RuntimeError("the link is closed; make a new one")
        if (status := self._child.exit_status()) is not None:
            said = self._side.status()
            last = f"; it last said: {said.message}" if said.state in (MotorState.FAILED, MotorState.STOPPED) else ""
            raise MotorProcessDied(f"motor process {self.config.motor.name!r} is dead ({status}){last}")
        if (now_ns := self.now_ns()) and (ticks := self._side.ring.written) != self._ticks:
            self._ticks, self._ticks_ns = ticks, now_ns
        stall_s = (now_ns - self._ticks_ns) * 1e-9
        # If this process lay still too, perhaps the whole machine did: that is no fault of the motor process.
        if stall_s > self.config.stall_timeout_s and not self._suspended_since(self._ticks_ns):
            raise MotorProcessDied(f"motor process {self.config.motor.name!r} runs no tick for {stall_s:.1f} s")
