"""The real-time loop: read, command, tick, write, report; supervision of the parent; ordered stop.

Nothing in a tick waits for another process, prints, or takes memory that it does not give back.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.latch_memory import LatchMemory
from controllers.motor_config import MotorConfig, MotorParts
from controllers.motor_requests import RequestDesk
from controllers.motor_supervision import MotorSupervision
from controllers.pacing import pace_of
from controllers.robots.base import Connected, GripRelay, RobotFault, is_simulated
from controllers.shared_memory.layout import MotorState, Parent, Status
from controllers.shared_memory.mailbox import record_bytes
from controllers.shared_memory.sides import MotorSide
from controllers.types import COMMAND, REPORT, STATE
from safety.compilation import kernels_hash
from safety.reasons import Reason
from safety.risk_weights import CRITIC_WEIGHTS, WeightsRefusal
from safety.supervision import Answer, believed_ns
from safety.supervisor import Supervisor


def _word(field: str) -> int:
    """Returns the index of a field of REPORT among the words of a report; every field of it is made of 8-byte words."""
    return int((REPORT.fields or {})[field][1]) // 8  # type: ignore[index]


_LATENESS_WORD, _WORK_WORD, _OVERRUNS_WORD = _word("lateness_ns"), _word("work_ns"), _word("overruns")
_GRIPPER_WORD = _word("executed_gripper_m")


class TorqueRamp:
    """Ordered end of torque control: hold for a moment, then scale the torque to zero, never faster than a step a tick.

    tau_k = tau_{k-1} + clip(s_k tau_chain - tau_{k-1}, +-step), s falling from 1 to 0 over ramp_ticks.
    """

    def __init__(self, hold_ticks: int, ramp_ticks: int, max_step_nm: float) -> None:
        self._hold_ticks, self._ramp_ticks, self._max_step_nm = hold_ticks, max(ramp_ticks, 1), max_step_nm
        self._ticks = 0
        self._previous: NDArray[np.float64] | None = None

    def limit(self, tau_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns what may be applied of the chain's torque (7,) [Nm] in this tick."""
        scale = 1.0 - min(max(self._ticks - self._hold_ticks, 0) / self._ramp_ticks, 1.0)
        self._ticks += 1
        wished = np.nan_to_num(tau_nm, posinf=0.0, neginf=0.0) * scale
        if self._previous is not None:
            wished = self._previous + np.clip(wished - self._previous, -self._max_step_nm, self._max_step_nm)
        self._previous = wished
        return wished

    @property
    def done(self) -> bool:
        """Returns whether the time is over and all torques are zero."""
        over = self._ticks > self._hold_ticks + self._ramp_ticks
        return over and self._previous is not None and not self._previous.any()


class MotorLoop:
    """One robot, one chain, one parent."""

    def __init__(
        self,
        config: MotorConfig,
        parts: MotorParts,
        side: MotorSide,
        supervisor: Supervisor,
        memory: LatchMemory | None,
    ) -> None:
        self._config, self._parts, self._side = config, parts, side
        self._state = np.zeros(1, STATE)
        self._command = np.zeros(1, COMMAND)
        self._command["sequence"] = -1
        self._report = np.zeros(1, REPORT)
        # Views made once: looking up a field of a record costs more than a whole read of the mailbox.
        self._q, self._qd = self._state["q_rad"][0], self._state["qd_rad_s"][0]
        self._stamp = record_bytes(self._state).cast("q")
        self._tau = self._report["tau_executed_nm"][0]
        self._command_bytes = record_bytes(self._command)
        self._report_bytes = record_bytes(self._report)
        self._report_words = self._report_bytes.cast("q")
        self._report_floats = self._report_bytes.cast("d")
        self._gripper = GripRelay(parts.robot, parts.chain.gripper_range_m)
        self._desk = RequestDesk(side, parts.robot, self)
        self._supervisor, self._memory = supervisor, memory
        self._supervision = MotorSupervision(supervisor, side, parts.chain, self._state)
        self._pace = pace_of(parts.robot, config.realtime.spin_us * 1000)
        self._simulated = is_simulated(parts.robot)
        self._connection = parts.robot if isinstance(parts.robot, Connected) else None
        self._complaint = ""
        self.ended_because = ""
        self._ramp: TorqueRamp | None = None
        self._stop_asked = False
        self._alive_ns = time.monotonic_ns()
        side.status[Status.RATE_MILLIHERTZ] = round(parts.robot.rate_hz * 1000)

    def stop(self) -> None:
        """Asks for an ordered stop; only sets a flag, so that signal handlers may call it."""
        self._stop_asked = True

    def warm(self) -> None:
        """Runs the tick at the home configuration without a robot, so that every kernel is compiled and at hand."""
        self._state["q_rad"] = self._parts.home_rad
        self._stamp[0] = time.monotonic_ns()
        self.reseed()
        for _ in range(self._config.warm_ticks):
            self._think()

    def run(self) -> None:
        """Arms the robot and ticks until an ordered stop is through. Whatever happens, the robot is stopped last."""
        try:
            self._alive_ns = time.monotonic_ns()
            self._parts.robot.start()
            self._read(time.monotonic_ns())
            self.reseed()
            self._supervisor.switch_on(True)
            self._supervision.look(time.monotonic_ns())
            self._pace.restart()
            while not (self._ramp is not None and self._ramp.done):
                self._tick()
        except RobotFault as fault:
            raise self._faulted(fault) from fault
        finally:
            self._parts.robot.stop()
            self._supervisor.switch_on(False)

    def restart(self, moved: bool = False) -> tuple[Answer, int]:
        """Reseeds if the supervisor grants it. Returns its answer, and the reason of the latch before (0: none).

        moved: the simulated arm was carried since the state was read; a reference where it was would pull it back.
        """
        if moved:
            self._read(time.monotonic_ns())
        for _ in range(2):
            reason = self._supervisor.reason
            answer = self._supervision.ask_reseed()
            if answer != Answer.GRANTED:
                break
            self.reseed()
            if reason:
                self._parts.chain.grant()
            if not self._parts.chain.latched:  # else this seed cut the reflex short that was one too many
                break
        if moved and answer != Answer.GRANTED:
            self._parts.chain.carried()
        return answer, max(reason, self._supervisor.reason)

    def grant(self) -> Answer:
        """Sets the energy tank to its start if the supervisor allows it; a latched arm gets it when the latch ends."""
        if self._supervisor.latched:
            return Answer.GRANTED
        answer = self._supervision.ask_grant()
        if answer == Answer.GRANTED:
            self._parts.chain.grant()
        return answer

    def estop(self) -> None:
        """Latches the arm for an emergency stop."""
        self._supervision.estop()

    def reseed(self) -> None:
        """Lets the chain start over from the state that was read last; a command that lies waiting is dropped."""
        self._side.commands.poll(self._command_bytes)
        self._command["sequence"] = -1
        self._adopt_critic()
        self._parts.model.terms(self._q, self._qd, self._parts.terms)
        self._parts.chain.reseed(self._state, self._parts.terms)

    def _adopt_critic(self) -> None:
        """Puts weights of the safety critic that lie waiting into use, or refuses them: then the old ones stay.

        Here alone, since a reseed stands between two episodes.
        """
        mailbox, status = self._side.critic, self._side.status
        number = mailbox.locate()
        if not number:
            return
        payload = mailbox.copy(number)
        verdict = int(WeightsRefusal.DAMAGED)
        if mailbox.accept(number, payload):
            verdict = self._parts.chain.adopt_critic(np.frombuffer(payload, CRITIC_WEIGHTS).reshape(()))
        status[Status.CRITIC_REFUSAL] = verdict
        status[Status.CRITIC_REFUSED] += int(verdict != WeightsRefusal.ACCEPTED)
        status[Status.CRITIC_VERSION] = self._parts.chain.critic_version

    def _read_robot(self) -> None:
        self._parts.robot.read(self._state)

    def _read(self, now_ns: int) -> None:
        self._read_robot()
        self._stamp[0] = now_ns  # commands are stamped by CLOCK_MONOTONIC: a simulator's own time would give no age

    def _think(self) -> None:
        """From state to torque."""
        self._parts.model.terms(self._q, self._qd, self._parts.terms)
        self._parts.chain.tick(self._state, self._parts.terms, self._command, self._report)

    def _tick(self) -> None:
        begin_ns, lateness_ns = self._pace.begin(self._read_robot)
        self._stamp[0] = begin_ns
        if self._ramp is None:
            self._side.commands.poll(self._command_bytes)
        self._think()
        if self._ramp is not None:
            self._tau[:] = self._ramp.limit(self._tau)
        work_ns = time.monotonic_ns() - begin_ns
        self._parts.robot.write(self._tau)
        if not self._simulated:  # a simulator's write is the world's own work
            work_ns = time.monotonic_ns() - begin_ns
        self._gripper.follow(self._report_floats[_GRIPPER_WORD])
        self._publish(lateness_ns, work_ns)
        if self._desk.serve():
            self._stop_asked = True
        self._supervision.watch(begin_ns, lateness_ns)
        if self._memory is not None:
            self._memory.keep()
        if self._connection is not None:
            self._watch_connection(self._connection)
        self._supervise(begin_ns)

    def _publish(self, lateness_ns: int, work_ns: int) -> None:
        """Completes the report, pushes it, counts."""
        words, side, status = self._report_words, self._side, self._side.status
        words[_LATENESS_WORD], words[_WORK_WORD], words[_OVERRUNS_WORD] = lateness_ns, work_ns, self._pace.overruns
        side.ring.push(self._report_bytes)
        side.lateness.add(lateness_ns)
        side.work.add(work_ns)
        status[Status.TICKS] += 1
        status[Status.OVERRUNS] = self._pace.overruns
        status[Status.TORN_COMMANDS] = side.commands.torn
        if lateness_ns > status[Status.LATENESS_MAX_NS]:
            status[Status.LATENESS_MAX_NS] = lateness_ns
        if work_ns > status[Status.WORK_MAX_NS]:
            status[Status.WORK_MAX_NS] = work_ns

    def _watch_connection(self, robot: Connected) -> None:
        """Tells how the connection to the robot does, and ends control in order where it is too poor."""
        status = self._side.status
        status[Status.PACKETS_LOST] = robot.lost_packets
        if robot.success_rate == robot.success_rate:  # NaN while it is unknown
            status[Status.SUCCESS_PPM] = round(1e6 * robot.success_rate)
        if robot.complaint == self._complaint:
            return
        self._complaint = robot.complaint
        if self._ramp is None and robot.must_stop:
            self._begin_stop(robot.complaint)
        elif self._ramp is None:
            self._side.say(MotorState(status[Status.STATE]), kernels_hash(), robot.complaint or "connection good again")

    def _faulted(self, fault: RobotFault) -> RobotFault:
        """Latches the arm for a robot that stopped itself; returns the words with what a person has to do."""
        self._supervisor.trip(int(Reason.ROBOT_FAULT), time.monotonic_ns())
        self._supervision.look(time.monotonic_ns())
        cure = "" if self._memory is None else f"; look at the arm, then `robot-rl safety reset {self._config.name}`"
        return RobotFault(f"{fault}{cure}")

    def _supervise(self, now_ns: int) -> None:
        """Looks for the parent's sign of life and for a wish to stop.

        The chain itself freezes the reference as commands age; here the state is told, and the end begun.
        """
        if self._ramp is not None:
            return
        beat_ns = believed_ns(self._side.parent[Parent.HEARTBEAT_NS], now_ns)
        if beat_ns is not None:  # a stamp from the future is no sign of life: it would never age
            self._alive_ns = max(self._alive_ns, beat_ns)
        silence_s = (now_ns - self._alive_ns) * 1e-9
        if self._stop_asked or silence_s > self._config.leave_after_s:
            why = "asked to stop" if self._stop_asked else f"no sign of life from the parent for {silence_s:.1f} s"
            self._begin_stop(why)
            return
        orphaned = silence_s > self._config.orphan_after_s
        status = self._side.status
        if orphaned != (status[Status.STATE] == MotorState.ORPHANED):
            status[Status.STATE] = MotorState.ORPHANED if orphaned else MotorState.RUNNING

    def _begin_stop(self, why: str) -> None:
        self.ended_because = why
        self.reseed()
        config, rate_hz = self._config, self._parts.robot.rate_hz
        hold_ticks, ramp_ticks = round(config.hold_s * rate_hz), round(config.ramp_s * rate_hz)
        self._ramp = TorqueRamp(hold_ticks, ramp_ticks, config.max_torque_step_nm)
        self._side.say(MotorState.STOPPING, kernels_hash(), why)


def forbidden_modules(loaded: Any) -> list[str]:
    """Returns which modules are loaded that have no place beside a 1 kHz loop; loaded: the keys of sys.modules."""
    return sorted({"torch", "rclpy"} & set(loaded))
