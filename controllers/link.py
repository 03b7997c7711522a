"""The motor link: how a slow process (policy, operator, reset) talks to the motor tick, whatever runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.flight.buffer import FlightBuffer
from controllers.flight.config import FlightConfig
from controllers.robots.base import GripRelay, Robot, is_simulated, require_real_person
from controllers.types import COMMAND, REPORT, STATE, Command, FeatureLog, TickReport
from data.errors import UserError
from safety.compilation import kernels_hash
from safety.reflex import ReflexConfig
from safety.risk_memory import FEATURES
from safety.risk_weights import examine_weights, require_acceptable
from safety.supervision import Answer, GrantRefused, Heartbeat, ResetRefused, SupervisorConfig
from safety.supervisor import Supervisor

KEEP_ALIVE_S = 0.05
"""A command that means to hold for longer than this is renewed at this interval while its sender answers [s].

A renewal is the same record with the same sequence and a fresh stamp: the chain takes the stamp, if it still follows
that command, and nothing else.
"""
_PATIENCE_S = 3.0
"""An arm that was latched in motion is given this long to come to rest before a reset is refused [s]."""


class MotorLink(Protocol):
    """In process, over shared memory or over ROS topics: the same verbs."""

    def reset(self) -> None:
        """Re-seeds the chain at the measured pose: a soft hold, no latch."""

    def grant(self) -> float:
        """Sets the energy tank to its start, for a new episode; returns the change [J]. Raises GrantRefused."""

    def send(self, command: Command) -> None:
        """Hands a command over; stamp and sequence are the link's to set."""

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """Lets the arm run for duration_s; returns the REPORT records (n,) of that time, which are the caller's.

        An interruptible step returns early once the reflex arbiter takes the arm, or gives it back.
        """

    def latest(self) -> TickReport:
        """The newest report."""

    def now_ns(self) -> int:
        """The motor's clock."""

    def close(self) -> None:
        """Ends torque control; may be called twice."""


class LockstepLink:
    """Runs the tick inside the caller, in simulated time: the arm waits while its caller thinks.

    A robot that offers `run_ticks` runs whole intervals as one compiled loop, in which it also follows the executed
    gripper opening; any other is stepped tick by tick. Raises UserError for a gripper that the robot cannot move,
    and for a simulated person beside a real robot.
    """

    def __init__(
        self,
        robot: Robot,
        model: ArmModel,
        config: ChainConfig | None = None,
        supervisor: SupervisorConfig | None = None,
        flight: FlightConfig | None = None,
    ) -> None:
        """flight: where latches leave their files; None: nowhere."""
        self.robot, self.model = robot, model
        self.chain = Chain(config or ChainConfig(), model.arm, model.tool.gripper_range_m)
        if not math.isclose(self.chain.config.rate_hz, robot.rate_hz):
            raise ValueError(
                f"chain and robot must tick at one rate, got {self.chain.config.rate_hz:g} and {robot.rate_hz:g} Hz"
            )
        self._gripper = GripRelay(robot, self.chain.gripper_range_m)
        self.terms, self.state = ModelTerms(), np.zeros(1, STATE)
        self.command = np.zeros(1, COMMAND)
        self.command["sequence"] = -1
        self._report = np.zeros(1, REPORT)
        self._sequence = 0
        self._sent: Command | None = None
        self._sent_ns = 0
        self.supervisor = Supervisor(supervisor, is_simulated(robot))
        require_real_person(robot, self.supervisor.config.simulated_person)
        self._flight: FlightBuffer | None = None
        if flight is not None and flight.enabled:
            self._flight = FlightBuffer(flight, "lock-step", kernels_hash(), robot.rate_hz)
        self._critic: tuple[NDArray[Any], ReflexConfig | None] | None = None
        self._log: list[FeatureLog] | None = None
        robot.start()
        self.supervisor.switch_on(True)
        self.reset()

    def reset(self) -> None:
        """Re-seeds the chain at the measured pose; the last command no longer counts, even if no tick has seen it.

        Raises ResetRefused while the arm is latched and the supervisor does not let it go on.
        """
        self._sent = None
        self._start_over()
        if self.chain.latched:  # this seed cut the reflex short that was one too many
            self._start_over()

    def _start_over(self) -> None:
        was_latched = self.supervisor.latched
        self._leave_latch()
        self.command["sequence"] = -1
        if self._critic is not None:
            self._adopt_critic(*self._critic)
            self._critic = None
        self.robot.read(self.state)
        self.model.terms(self.state["q_rad"][0], self.state["qd_rad_s"][0], self.terms)
        self.chain.reseed(self.state, self.terms)
        if was_latched:
            self.chain.grant()
        self.step(1.0 / self.robot.rate_hz)

    def _adopt_critic(self, weights: NDArray[Any], reflex: ReflexConfig | None) -> None:
        chain = self.chain
        require_acceptable(chain.adopt_critic(weights))
        if reflex is not None:
            chain.config = replace(chain.config, reflex=reflex)
            chain.config_record["reflex"] = reflex.to_record(1.0 / chain.config.rate_hz)

    def _leave_latch(self) -> None:
        """Lets an arm that is latched come to rest, and asks the supervisor."""
        reason, left = self.supervisor.reason, round(_PATIENCE_S / KEEP_ALIVE_S)
        answer = self.supervisor.ask_reseed(self.now_ns())
        if answer != Answer.GRANTED:
            self.chain.carried()  # perhaps: a simulated arm may be put elsewhere before it is reset
        while answer == Answer.NOT_CALM and left > 0:
            self.step(KEEP_ALIVE_S)
            answer, left = self.supervisor.ask_reseed(self.now_ns()), left - 1
        if answer != Answer.GRANTED:
            raise ResetRefused(answer, reason, "")

    def heartbeat(self, source: Heartbeat, in_use: bool = True, stamp_ns: int | None = None) -> None:
        """A sign of life of a camera, the learner or the operator; in_use false: it is watched no longer.

        stamp_ns: when it was given, in simulated time; now by default.
        """
        if in_use:
            self.supervisor.beat(source, self.now_ns() if stamp_ns is None else stamp_ns, self.now_ns())
        else:
            self.supervisor.forget(source)

    def estop(self) -> None:
        """Emergency stop in software: soft hold from the next tick on, latched until a person resets."""
        self.supervisor.estop(True, self.now_ns())
        self.supervisor.estop(False, self.now_ns())
        self.chain.latched = self.supervisor.reason

    def grant(self) -> float:
        """Sets the chain's energy tank to its start; returns by how much it changed [J].

        A latched arm gets its grant when the latch ends. Raises GrantRefused where the supervisor does not allow it.
        """
        if self.supervisor.latched:
            return 0.0
        answer = self.supervisor.ask_grant(self.now_ns(), self.chain.following, self.chain.resetting)
        if answer != Answer.GRANTED:
            raise GrantRefused(answer)
        return self.chain.grant()

    def load_critic(self, weights: NDArray[Any], reflex: ReflexConfig | None = None) -> None:
        """Hands weights of the safety critic over, a () CRITIC_WEIGHTS record; they come into use at the next reset.

        reflex: the arbiter's settings that go with them, from the same reset on; None: those in use stay.
        Raises UserError for weights that the chain refuses.
        """
        require_acceptable(examine_weights(weights, self.chain.critic_version, self.chain.config_record["critic"][0]))
        self._critic = weights.copy(), reflex

    def take_features(self) -> FeatureLog:
        """Returns what the safety critic saw in each tick since the last call; the first call begins to keep it."""
        kept, self._log = self._log or [], []
        features = [np.zeros((0, FEATURES), np.float32), *(part.features for part in kept)]
        wrenches = [np.zeros((0, 6)), *(part.wrench_tool for part in kept)]
        return FeatureLog(np.concatenate(features), np.concatenate(wrenches))

    def send(self, command: Command) -> None:
        """Makes `command` the newest, stamped now."""
        self._sent, self._sent_ns = command, self.now_ns()
        command.write_to(self.command[0])
        self._sequence += 1
        self.command["sequence"], self.command["stamp_ns"] = self._sequence, self._sent_ns
        if self._flight is not None:
            self._flight.add_command(self.command)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """Advances by round(duration_s * rate_hz) ticks, at least one; less if it is interrupted."""
        ticks = max(1, round(duration_s * self.robot.rate_hz))
        reports = np.zeros(ticks, REPORT)
        block = round(KEEP_ALIVE_S * self.robot.rate_hz)
        taken = self.chain.taken
        for first in range(0, ticks, block):
            self._keep_alive()
            part = reports[first : first + block]
            features = np.zeros((0 if self._log is None else len(part), FEATURES), np.float32)
            done = self._run(part, features, interruptible)
            if self._log is not None:
                self._log.append(FeatureLog(features[:done], part["wrench_tool"][:done].copy()))
            self._supervise(part[:done])
            if done < len(part) or (interruptible and self.chain.taken != taken):
                reports = reports[: first + done]
                break
        if self._flight is not None:
            self._flight.add(reports)
        self._report[0] = reports[-1]
        return reports

    def _keep_alive(self) -> None:
        """Renews the last command, once it is due, while its sender means it."""
        if self._sent is None:
            return
        due = (now_ns := self.now_ns()) - int(self.command["stamp_ns"][0]) >= KEEP_ALIVE_S * 1e9
        if due and now_ns - self._sent_ns < self._sent.duration_s * 1e9:
            self.command["stamp_ns"] = now_ns

    def _supervise(self, reports: NDArray[Any]) -> None:
        """Shows the supervisor what these ticks brought, and lets the chain have its word."""
        supervisor, chain, now_ns = self.supervisor, self.chain, self.now_ns()
        supervisor.observe(now_ns, chain.latched, chain.following, chain.holding)
        if supervisor.latched:
            speed_rad_s = float(np.abs(reports["qd_rad_s"]).max())  # NaN stays NaN: never calm
            supervisor.measure(now_ns, speed_rad_s, float(np.linalg.norm(reports["wrench_tool"][:, :3], axis=1).max()))
            chain.latched = supervisor.reason
        chain.asked_hold = supervisor.hold

    def _run(self, reports: NDArray[Any], features: NDArray[np.float32], interruptible: bool) -> int:
        run_ticks = getattr(self.robot, "run_ticks", None)
        if run_ticks is not None:
            return int(run_ticks(self.command, self.chain, self.state, reports, features, interruptible))
        taken = self.chain.taken
        for index in range(len(reports)):
            report = reports[index : index + 1]
            self.robot.read(self.state)
            self.model.terms(self.state["q_rad"][0], self.state["qd_rad_s"][0], self.terms)
            self.chain.tick(self.state, self.terms, self.command, report)
            features[index : index + 1] = self.chain.record["risk"]["features"]
            self._gripper.follow(report["executed_gripper_m"].item())
            self.robot.write(report["tau_executed_nm"][0])
            if interruptible and self.chain.taken != taken:
                return index + 1
        return len(reports)

    def _records(self) -> dict[str, NDArray[Any]]:
        records = {"chain": self.chain.record, "state": self.state, "command": self.command, "report": self._report}
        return {f"link.{name}": record.view(np.uint8) for name, record in records.items()}

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Memory of the chain and the link as arrays, for exact continuation in simulation."""
        records = {name: record.copy() for name, record in self._records().items()}
        words = {"link.sequence": np.array([self._sequence]), "link.supervisor": self.supervisor.memory()}
        return {**records, **words}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `snapshot` returned; whatever was sent last is not sent again.

        Raises UserError, before anything is changed, for the snapshot of another version.
        """
        records = self._records()
        for name, record in {**records, "link.supervisor": self.supervisor.memory()}.items():
            if snapshot[name].shape != record.shape:
                raise UserError(
                    f"expected {record.size} bytes of {name}, the snapshot holds {snapshot[name].size}: it was written "
                    "by another version of the controller; resume with that version or start a new run"
                )
        for name, record in records.items():
            record[:] = snapshot[name]
        self._sequence, self._sent = int(snapshot["link.sequence"][0]), None
        self.supervisor.recall(snapshot["link.supervisor"])
        self._gripper.forget()

    def latest(self) -> TickReport:
        """The report of the last tick run."""
        return TickReport.from_record(self._report[0])

    def now_ns(self) -> int:
        """Simulated time of the last tick."""
        return int(self.state["stamp_ns"][0])

    def close(self) -> None:
        """Stops the robot; a latch of the last moment still leaves its file."""
        if self._flight is not None:
            self._flight.finish()
        self.robot.stop()
