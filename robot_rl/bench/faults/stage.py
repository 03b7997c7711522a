"""Motor process, arm and policy as a fault finds them: the tool presses on a wall, or hangs free above it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description.arm import vector
from controllers.description.fr3 import fr3
from controllers.description.geometry import Box, Pose
from controllers.description.scene import Fixture, Scene
from controllers.description.tool import square_peg_tool
from controllers.flight.config import FlightConfig
from controllers.motor_config import MotorConfig, mujoco_motor
from controllers.realtime import RealtimeConfig
from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.liveness import process_start
from controllers.shared_memory.sides import ParentSide
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command, Source
from robot_rl.bench.critics import made_up_weights
from robot_rl.bench.faults.arm import WALL, Error, FaultDesk
from safety.risk_critic import RiskCriticConfig
from safety.supervision import ResetRefused, SupervisorConfig

Array = NDArray[Any]
_RESETS = 40
MAX_TORQUE_NM = 0.8 * fr3().max_torque_nm
"""The default bound of the torque limits."""
WALL_TOP_M = 0.20
_GAP_M = 1e-4
"""Rigid on rigid, an impact at a few centimetres a second trips the force limit: the tool starts almost in touch."""
START = Pose(vector((0.45, 0.0, WALL_TOP_M + _GAP_M)), np.array([1.0, 0.0, 0.0, 0.0]))
STIFFNESS = np.array([600.0] * 3 + [40.0] * 3)


def scene() -> Scene:
    """A block under the tool, which can be moved."""
    block = Box(pose=Pose(vector((0.0, 0.0, -0.05))), size_m=(0.2, 0.2, 0.1))
    wall = Fixture(name=WALL, geoms=(block,), T_base_fixture=wall_pose(), movable=True)
    return Scene(tool=square_peg_tool(), fixtures=(wall,))


def wall_pose() -> Pose:
    """Where the wall stands before it is pushed."""
    return Pose(vector((0.45, 0.0, WALL_TOP_M)))


@cache
def start_joints() -> Array:
    """Joint positions (7,) [rad] with the tool just above the wall."""
    arm = fr3()
    return ArmModel(arm, square_peg_tool()).inverse_kinematics(START, arm.home_rad)


def pressing(depth_m: float = 0.03, **changes: Any) -> Command:
    """A command whose target lies in the wall: the leash lets the spring press with 12 N."""
    target = np.array([0.45, 0.0, WALL_TOP_M - depth_m])
    values = {"position_base_m": target, "quaternion_base_xyzw": START.quaternion_xyzw, "stiffness": STIFFNESS}
    return Command(**{**values, "source": Source.POLICY, **changes})


def motor_config(
    realtime: RealtimeConfig, desk: Path, chain: ChainConfig | None, simulated_person: bool = True
) -> MotorConfig:
    """A motor process with the arm that errs on order. simulated_person: latches are reset between repeats."""
    name = f"faults-{uuid.uuid4().hex[:12]}"
    plain = mujoco_motor(name, arm=fr3(), scene=scene(), chain=chain or ChainConfig(), realtime=realtime)
    return replace(
        plain,
        builder="robot_rl.bench.faults.arm:build",
        options={**plain.options, "desk": str(desk)},
        supervisor=SupervisorConfig(simulated_person=simulated_person, grants_per_minute=600),  # one a repeat
        flight=FlightConfig(folder=str(desk.parent)),
        leave_after_s=10.0,
    )


@dataclass
class Contact:
    """A tool in contact: the mean force before the fault."""

    force_n: float
    sequence: int


class Stage:
    """One motor process, commanded by this one."""

    def __init__(
        self, realtime: RealtimeConfig, chain: ChainConfig | None = None, simulated_person: bool = True
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="robot-rl-faults-")
        self.desk = FaultDesk(Path(self._folder.name) / "desk")
        self._settings = (realtime, self.desk.path, chain, simulated_person)
        self.ready: Callable[[], object] = lambda: None
        """Called when the stage is as a fault wishes it: from here on stalls disturb what is measured."""
        self.link = self._open()

    def _open(self) -> SharedMemoryLink:
        return SharedMemoryLink(SharedMemoryLinkConfig(motor_config(*self._settings)))

    def reopen(self) -> None:
        """A new motor process, after the old one died of a fault."""
        self.link.close()
        self.link = self._open()

    def pids(self) -> list[int]:
        """The processes whose stalls would disturb what is measured."""
        return [self.link.status().pid]

    def clear(self) -> None:
        """The wall in its place, the tool just above it, held, the tank full."""
        self.desk.order(Error.NONE)
        self.link.place(WALL, wall_pose())
        self.link.teleport(start_joints())
        self.start_over()
        self.ready()

    def start_over(self) -> None:
        """A reset with a grant, as soon as the supervisor finds the arm calm."""
        for attempt in range(_RESETS):
            try:
                self.link.reset()
                break
            except ResetRefused:
                if attempt == _RESETS - 1:
                    raise
                self.link.step(0.05)
        self.link.grant()
        self.link.step(0.01)

    def quiet(self) -> None:
        """Replaces the critic's weights by some that see no risk."""
        self.link.load_critic(made_up_weights(RiskCriticConfig(), version=self.link.status().critic_version + 1))

    def press(self, settle_s: float = 0.6, **changes: Any) -> Contact:
        """Clears the stage, then presses on the wall until the force stands still."""
        self.clear()
        self.link.send(pressing(**{"duration_s": 5.0, **changes}))
        reports = self.link.step(settle_s)
        force_n = float(np.linalg.norm(reports["wrench_tool"][-100:, :3], axis=1).mean())
        return Contact(force_n, int(reports["sequence"][-1]))

    def close(self) -> None:
        """Ends the motor process."""
        self.link.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


class PolicyStage:
    """A policy process that commands a motor process, watched from a third one: this."""

    def __init__(self, realtime: RealtimeConfig) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="robot-rl-faults-")
        folder = Path(self._folder.name)
        self.desk, self.decisions = FaultDesk(folder / "desk"), folder / "decisions"
        config = motor_config(realtime, self.desk.path, None)
        program = [sys.executable, "-m", "robot_rl.bench.faults.policy", str(self.decisions)]
        self.policy = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.policy.stdin is None or self.policy.stdout is None:
            raise RuntimeError("the policy process has no pipes")
        self.policy.stdin.write(config.to_json())
        self.policy.stdin.close()
        line = self.policy.stdout.readline()
        if not line:
            raise RuntimeError("the policy process died while starting; its own words stand on standard error")
        self.ready: Callable[[], object] = lambda: None
        self.motor_pid = int(json.loads(line)["motor_pid"])
        self._motor_start = process_start(self.motor_pid)
        self._block = SharedBlock.attach(config.name, command=False)
        self.side = ParentSide(self._block)

    def pids(self) -> list[int]:
        """The processes whose stalls would disturb what is measured."""
        return [self.policy.pid, self.motor_pid]

    def watch(self, duration_s: float) -> Array:
        """Returns the reports of the next while."""
        self.side.ring.skip()
        parts, until_s = [self.side.ring.drain()], time.monotonic() + duration_s
        while time.monotonic() < until_s:
            time.sleep(min(0.2, max(until_s - time.monotonic(), 0.0)))
            parts.append(self.side.ring.drain())
        return np.concatenate(parts)

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal to the policy process; returns when [ns]."""
        now_ns = time.monotonic_ns()
        self.policy.send_signal(number)
        return now_ns

    def close(self) -> None:
        """Ends both processes."""
        self.side.release()
        self._block.close()
        self.policy.kill()
        self.policy.wait()
        if self.policy.stdout is not None:
            self.policy.stdout.close()
        if process_start(self.motor_pid) == self._motor_start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.motor_pid, signal.SIGTERM)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
