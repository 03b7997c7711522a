"""Controller, supervisor, policy and operator as ROS programs, and the motor process watched through its memory.

This room knows no ROS: the programs are started by their names and spoken to over pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
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
from controllers.types import Source
from robot_rl.bench.faults.program import Program, Typist
from robot_rl.bench.faults.wall_clock import WallClock
from safety.reasons import Reason
from safety.supervision import SupervisorState

Array = NDArray[Any]
DECISION = np.dtype([("decided_ns", "i8"), ("stamp_ns", "i8"), ("sent_ns", "i8")])
"""As ros_nodes.bench_policy writes it."""
_ROUNDING_NS = 1_000
"""Ages are told in seconds."""
_START_S, _LEAVE_S = 180.0, 10.0
_LOOK_S = 0.1
_OF_OTHERS = ("ROS_NAMESPACE", "ROS_LOCALHOST_ONLY")


def missing() -> str | None:
    """Returns why no ROS program can run here, None where one can."""
    return None if find_spec("rclpy") else "rclpy is not there: install the extra [ros], or source ROS 2"


class RosStage:
    """ROS programs around one motor process. `steady` brings them back to a commander who is followed.

    That is a policy or, with `hand`, a person who drives by keyboard.
    """

    def __init__(
        self,
        realtime: bool,
        *,
        relay: bool = False,
        clock: bool = False,
        camera: str = "",
        hand: bool = False,
        recorder: bool = False,
    ) -> None:
        """relay: commands pass through the operator's process. clock: all programs share a wall clock to be set.

        camera: module of a camera node that runs as well. recorder: as does a recorder.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="robot-rl-faults-")
        self.folder = folder = Path(self._folder.name)
        self.name, self.decisions = f"faults_{uuid.uuid4().hex[:12]}", folder / "decisions"
        environment = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
        environment |= {"OMP_NUM_THREADS": "1", "ROS_LOG_DIR": str(folder / "log")}
        self.realtime = realtime
        self.ready: Callable[[], object] = lambda: None
        """Called when the stage is as a fault wishes it: from here on stalls disturb what is measured."""
        self.clock = WallClock(folder) if clock else None
        self._environment = environment | (self.clock.environment if self.clock else {})
        self.typist = Typist() if hand else None
        self._block: SharedBlock | None = None
        self._motor_start: int | None = None
        self.programs: dict[str, Program] = {}
        try:
            for program, words in self._all_words(realtime, relay, camera, recorder).items():
                self._begin(program, words)
            if relay:
                self.order("relay", {"seed": 0, "drop": 0.0, "repeat": 0.0, "swap": 0.0})
            self._attach()
            if hand:
                self._home()
        except BaseException:
            self.close()
            raise

    def _all_words(self, realtime: bool, relay: bool, camera: str, recorder: bool) -> dict[str, list[str]]:
        """Returns the words that start each program."""
        in_namespace = ["--ros-args", "-r", f"__ns:=/{self.name}"]
        settings = ["-p", f"motor:={self.name}", "-p", f"realtime:={str(realtime).lower()}"]
        settings += ["-p", "accept_critic:=true"]  # R9 sends weights
        detour = ["--ros-args", "-r", "motor/command:=relay/command"] if relay else []
        found = {
            "controller": ["ros_nodes.controller_node", *in_namespace, *settings],
            "supervisor": ["ros_nodes.supervisor_node", *in_namespace, "-p", f"motor:={self.name}"],
            "operator": ["ros_nodes.bench_operator", self.name],
        }
        if self.typist is None:
            found["policy"] = ["ros_nodes.bench_policy", self.name, str(self.decisions), *detour]
        else:
            found["teleop"] = ["ros_nodes.teleop_node", *in_namespace, "-p", "device:=keyboard"]
        if camera:
            found["camera"] = [camera, *in_namespace, "-p", "width_px:=64", "-p", "height_px:=64"]
        if recorder:
            out = self.folder / "recorded"
            found["recorder"] = ["ros_nodes.recorder_node", *in_namespace, "-p", f"out:={out}"]
        return found

    def _begin(self, program: str, words: list[str]) -> None:
        terminal = self.typist.terminal if self.typist and program == "teleop" else None
        said = self.folder / f"{program}.log"
        self.programs[program] = Program(words, self._environment, said, words[0].endswith("_node"), terminal)

    def _attach(self) -> None:
        controller = self.programs["controller"]

        def attached() -> bool:
            if not controller.alive:
                raise RuntimeError("the controller node ended while it started")
            try:
                self._block = SharedBlock.attach(self.name, command=False)
            except BlockError:
                return False
            return True

        wait_for(attached, "a motor process", _START_S)
        if self._block is None:
            raise RuntimeError("no motor process")
        self.side = ParentSide(self._block)
        wait_for(lambda: self.side.status().supervisor >= SupervisorState.ARMED, "torque control", _START_S)
        self.motor_pid = self.side.status().pid
        self._motor_start = process_start(self.motor_pid)

    def _detach(self) -> None:
        """Lets go of a motor process, and ends it if it was left over."""
        block, self._block = self._block, None
        if block is None:
            return
        self.side.release()
        block.close()
        if self.motor_lives:
            with contextlib.suppress(ProcessLookupError):
                for number in (signal.SIGCONT, signal.SIGTERM):
                    os.kill(self.motor_pid, number)
            with contextlib.suppress(RuntimeError):
                wait_for(lambda: not self.motor_lives, "its end", _LEAVE_S)

    @property
    def motor_lives(self) -> bool:
        """Whether the motor process that was attached to last is still there."""
        return self._motor_start is not None and process_start(self.motor_pid) == self._motor_start

    def _home(self) -> None:
        """A person may drive within the workspace only, and the arm starts outside of it."""
        self.order("call", "controller/home")
        wait_for(lambda: "home," in self.programs["controller"].said, "the arm at home", _START_S)

    def order(self, order: str, value: Any = None) -> dict[str, Any]:
        """Has the operator do something; see ros_nodes.bench_operator."""
        answer: dict[str, Any] = json.loads(self.programs["operator"].ask(json.dumps({order: value})))
        return answer

    def steady(self) -> None:
        """All programs run, nothing is latched, and the commander is followed, a policy with a full tank.

        What has to start is waited for; none of that time is measured.
        """
        self.restart_dead()
        if self.typist is not None:
            self.order("call", "teleop/start")
            self.typist.hold("a")
        wait_for(self._followed, "the commander to be followed", _START_S)
        if "policy" in self.programs:
            wait_for(lambda: self.programs["policy"].ask("reset").isdigit(), "a reset", _START_S)
            wait_for(self._followed, "the policy to be followed", _START_S)
        self.ready()

    def restart_dead(self) -> None:
        """Starts those programs again that have ended; with the controller node, a motor process."""
        dead = [program for program in self.programs.values() if not program.alive]
        controller = self.programs["controller"]
        if controller in dead:
            controller.end()
            self._detach()
            forget_latch(self.name)
        for program in dead:
            program.end()
            program.start()
        if controller in dead:
            self._attach()

    def _followed(self) -> bool:
        if self.side.status().supervisor >= SupervisorState.PROTECTIVE_STOP:  # by the fault, or held for 5 s since
            self.order("call", "release")
            self.order("call", "reset")
        reports = self.watch(_LOOK_S)
        fine = (reports["sequence"] >= 0) & (reports["reason"] < Reason.REFUSED) & (reports["latched"] == 0)
        if self.typist is not None and not (reports["source"] == Source.HUMAN).any():
            self.typist.press(" ")  # the dead-man is a toggle
            return False
        return len(reports) > 0 and bool(fine.all())

    def pids(self) -> list[int]:
        """The processes whose stalls would disturb what is measured."""
        return [self.motor_pid, *(program.child.pid for program in self.programs.values())]

    def watch(self, duration_s: float) -> Array:
        """Returns the reports of the next while."""
        self.side.ring.skip()
        parts, until_s = [self.side.ring.drain()], time.monotonic() + duration_s
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
        self._detach()
        if self.typist is not None:
            self.typist.close()
        forget_latch(self.name)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Raises RuntimeError where it does not come in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited for {what}, which did not come within {timeout_s:g} s")
        time.sleep(0.02)
