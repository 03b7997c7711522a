"""Controller, supervisor, policy and operator as ROS programs, and the motor process watched through its memory.

This room knows no ROS: the programs are started by their names and spoken to over pipes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from controllers.latch_memory import forget_latch
from controllers.shared_memory.block import BlockError, SharedBlock
from controllers.shared_memory.liveness import process_start
from controllers.shared_memory.sides import ParentSide
from robot_rl.bench.faults.wall_clock import WallClock
from safety.reasons import Reason
from safety.supervision import SupervisorState

Array = NDArray[Any]
DECISION = np.dtype([("decided_ns", "i8"), ("stamp_ns", "i8"), ("sent_ns", "i8")])
"""As ros_nodes.bench_policy writes it."""
_ROUNDING_NS = 1_000
"""Ages are told in seconds."""
_START_S, _STEADY_S, _ANSWER_S, _LEAVE_S = 180.0, 30.0, 20.0, 10.0
_OF_OTHERS = ("ROS_NAMESPACE", "ROS_LOCALHOST_ONLY")


def missing() -> str | None:
    """Returns why no ROS program can run here, None where one can."""
    return None if find_spec("rclpy") else "rclpy is not there: install the extra [ros], or source ROS 2"


_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1


def _die_with_parent() -> None:
    """In the child: a bench that is killed leaves no arm moving behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One ROS program as a child, its words in a file, orders and answers over pipes."""

    def __init__(self, words: list[str], environment: dict[str, str], said: Path, node: bool) -> None:
        """node: ends in order after SIGTERM; the others are killed."""
        self._words, self._environment, self._said, self._node = words, environment, said, node
        self.child: Any = None
        self.start()

    def start(self) -> None:
        """Starts it, again after its end."""
        with self._said.open("a") as errors:
            self.child = subprocess.Popen(
                [sys.executable, "-m", *self._words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                text=True,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def ask(self, order: str) -> str:
        """Writes a line and returns the answer. Raises RuntimeError if none comes."""
        self.child.stdin.write(order + "\n")
        self.child.stdin.flush()
        ready, _, _ = select.select([self.child.stdout], [], [], _ANSWER_S)
        answer = self.child.stdout.readline() if ready else ""
        if not answer:
            last = self._said.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(f"{self._words[0]} did not answer {order!r}; it last said: {last[0]}")
        return str(answer).strip()

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal; returns when [ns]."""
        now_ns = time.monotonic_ns()
        self.child.send_signal(number)
        if number == signal.SIGKILL:
            self.child.wait()
        return now_ns

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child.poll() is None

    def end(self) -> None:
        """Ends it in order, and at last by force."""
        if self.alive and self._node:
            for number in (signal.SIGCONT, signal.SIGTERM):
                self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(_LEAVE_S)
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


class RosStage:
    """Four ROS programs around one motor process. `steady` brings them back to a policy that is followed."""

    def __init__(self, realtime: bool, relay: bool = False, clock: bool = False) -> None:
        """relay: commands pass through the operator's process. clock: all programs share a wall clock to be set."""
        self._folder = tempfile.TemporaryDirectory(prefix="robot-rl-faults-")
        folder = Path(self._folder.name)
        self.name, self.decisions = f"faults_{uuid.uuid4().hex[:12]}", folder / "decisions"
        environment = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
        environment |= {"OMP_NUM_THREADS": "1", "ROS_LOG_DIR": str(folder / "log")}
        self.clock = WallClock(folder) if clock else None
        ours = environment | (self.clock.environment if self.clock else {})
        namespace = ["--ros-args", "-r", f"__ns:=/{self.name}"]
        settings = ["-p", f"motor:={self.name}", "-p", f"realtime:={str(realtime).lower()}"]
        settings += ["-p", "accept_critic:=true"]  # R9 sends weights
        detour = ["--ros-args", "-r", "motor/command:=relay/command"] if relay else []
        self._block: SharedBlock | None = None
        self.programs: dict[str, Program] = {}
        try:
            for program, words in {
                "controller": ["ros_nodes.controller_node", *namespace, *settings],
                "supervisor": ["ros_nodes.supervisor_node", *namespace, "-p", f"motor:={self.name}"],
                "operator": ["ros_nodes.bench_operator", self.name],
                "policy": ["ros_nodes.bench_policy", self.name, str(self.decisions), *detour],
            }.items():
                self.programs[program] = Program(words, ours, folder / f"{program}.log", words[0].endswith("_node"))
            if relay:
                self.order("relay", {"seed": 0, "drop": 0.0, "repeat": 0.0, "swap": 0.0})
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        def attached() -> bool:
            if not self.programs["controller"].alive:
                raise RuntimeError("the controller node ended while it started")
            try:
                self._block = SharedBlock.attach(self.name, command=False)
            except BlockError:
                return False
            return True

        _wait_for(attached, "a motor process", _START_S)
        if self._block is None:
            raise RuntimeError("no motor process")
        self.side = ParentSide(self._block)
        _wait_for(lambda: self.side.status().supervisor >= SupervisorState.ARMED, "torque control", _START_S)
        self.motor_pid = self.side.status().pid
        self._motor_start = process_start(self.motor_pid)

    def order(self, order: str, value: Any = None) -> dict[str, Any]:
        """Has the operator do something; see ros_nodes.bench_operator."""
        answer: dict[str, Any] = json.loads(self.programs["operator"].ask(json.dumps({order: value})))
        return answer

    def steady(self) -> None:
        """All programs run, nothing is latched, and the policy is followed from a fresh start with a full tank."""
        for program in self.programs.values():
            if not program.alive:
                program.end()
                program.start()
        _wait_for(self._followed, "the policy to be followed", _STEADY_S)
        _wait_for(lambda: self.programs["policy"].ask("reset").isdigit(), "a reset", _STEADY_S)
        _wait_for(self._followed, "the policy to be followed", _STEADY_S)

    def _followed(self) -> bool:
        if self.side.status().supervisor >= SupervisorState.PROTECTIVE_STOP:  # by the fault, or held for 5 s since
            self.order("call", "release")
            self.order("call", "reset")
        reports = self.watch(0.3)
        fine = (reports["sequence"] >= 0) & (reports["reason"] < Reason.REFUSED) & (reports["latched"] == 0)
        return len(reports) > 0 and bool(fine.all())

    def watch(self, duration_s: float) -> Array:
        """Returns the reports of the next while."""
        self.side.ring.skip()
        parts, until_s = [], time.monotonic() + duration_s
        while time.monotonic() < until_s:
            time.sleep(min(0.2, max(until_s - time.monotonic(), 0.0)))
            parts.append(self.side.ring.drain())
        return np.concatenate(parts)

    def decided(self, reports: Array) -> Array:
        """Returns when the policy made the decision that each report follows (n,) [ns].

        The stamp tells: a renewal's is later than that of its decision, and earlier than that of the next one.
        """
        log = np.fromfile(self.decisions, DECISION)
        stamp_ns = reports["stamp_ns"] - (1e9 * reports["command_age_s"]).astype(np.int64)
        index = np.searchsorted(log["stamp_ns"], stamp_ns + _ROUNDING_NS, side="right") - 1
        decided: Array = log["decided_ns"][np.maximum(index, 0)]
        return decided

    def close(self) -> None:
        """Ends all programs, and the motor process if it is left over."""
        for program in self.programs.values():
            program.end()
        if self._block is not None:
            self.side.release()
            self._block.close()
            if process_start(self.motor_pid) == self._motor_start:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.motor_pid, signal.SIGTERM)
                with contextlib.suppress(RuntimeError):
                    _wait_for(lambda: process_start(self.motor_pid) != self._motor_start, "its end", _LEAVE_S)
        forget_latch(self.name)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited for {what}, which did not come within {timeout_s:g} s")
        time.sleep(0.02)
