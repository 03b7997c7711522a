"""The motor process: `python -m controllers.motor_process`, configuration as JSON on standard input.

It answers with one JSON line on standard output, `{"ready": ...}` or `{"error": ...}`, and from then on speaks
through its shared block only. Neither torch nor rclpy is ever loaded here. A link starts it; see
controllers.shared_memory_link.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from controllers.flight.launch import start_recorder
from controllers.latch_memory import LatchMemory, take_leave
from controllers.motor_config import MotorConfig
from controllers.motor_loop import MotorLoop, forbidden_modules
from controllers.realtime import NOT_PINNED, Measure, choose_core, take_measures
from controllers.robots.base import CanRecover, require_real_person
from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.layout import MotorState, Status
from controllers.shared_memory.sides import MotorSide
from data.errors import UserError
from safety.compilation import kernels_hash
from safety.reasons import Reason
from safety.supervisor import Supervisor


class _Stopper:
    """Turns SIGTERM and SIGINT into an ordered stop; before the loop runs they just end the process."""

    def __init__(self) -> None:
        self.loop: MotorLoop | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.loop is None:
            raise SystemExit(128 + number)
        self.loop.stop()


def main() -> int:
    """Runs one motor process to its end; returns the exit status."""
    stopper = _Stopper()
    try:
        config = MotorConfig.from_json(sys.stdin.read())
        block = SharedBlock.create(config.name)
    except UserError as error:
        _answer({"error": str(error)})
        return 2
    side, supervisor = MotorSide(block), Supervisor(config.supervisor)
    memory: LatchMemory | None = None
    try:
        if config.remember_latch:
            memory = LatchMemory(config.name, supervisor)
        return _serve(config, side, stopper, supervisor, memory)
    except (UserError, ValueError) as error:  # a mistake in the configuration, told in one line
        side.say(MotorState.FAILED, kernels_hash(), str(error))
        _answer({"error": str(error)})
        return 2
    except BaseException as error:
        side.say(MotorState.FAILED, kernels_hash(), f"{type(error).__name__}: {error}")
        _answer({"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        if memory is not None:
            memory.close(time.monotonic_ns())
        side.release()
        block.close()


def _serve(
    config: MotorConfig, side: MotorSide, stopper: _Stopper, supervisor: Supervisor, memory: LatchMemory | None
) -> int:
    """Builds, warms, arms and runs the loop."""
    side.status[Status.PID] = os.getpid()
    side.say(MotorState.STARTING, kernels_hash(), "building the parts and compiling the kernels")
    parts = config.build()
    require_real_person(parts.robot, config.supervisor.simulated_person)
    if isinstance(parts.robot, CanRecover) and parts.robot.fault:
        _recover(parts.robot, config, supervisor)
    if config.flight.enabled:  # before the measures: it shall share neither core nor priority; there when the loop arms
        core = choose_core(config.realtime.core)
        off_core = None if core == NOT_PINNED else core
        start_recorder(config.name, config.flight, kernels_hash(), parts.robot.rate_hz, off_core)
    loop = MotorLoop(config, parts, side, supervisor, memory)
    loop.warm()
    unwanted = forbidden_modules(sys.modules)
    if unwanted:
        raise UserError(
            f"{', '.join(unwanted)} got loaded by builder {config.builder!r}: a motor process must do without"
        )
    measures = take_measures(config.realtime)
    realtime = all(measure.obtained for measure in measures)
    side.status[Status.REALTIME] = realtime
    side.say(MotorState.RUNNING, kernels_hash(), describe(measures))
    if not realtime:
        _warn(f"motor {config.name}: NOT REAL TIME, ticks may come late. {describe(measures)}")
    stopper.loop = loop
    _answer({"ready": os.getpid()})
    loop.run()
    side.say(MotorState.STOPPED, kernels_hash(), f"stopped in order ({loop.ended_because})")
    return 0


def _recover(robot: CanRecover, config: MotorConfig, supervisor: Supervisor) -> None:
    """A robot that has stopped itself goes on only if a person has reset it within the last minute.

    Raises UserError with what to do otherwise, and then remembers a latch, so that there is something to reset.
    """
    now_ns = time.monotonic_ns()
    if supervisor.latched or not take_leave(config.name, now_ns, config.supervisor.reset_valid_s):
        supervisor.trip(int(Reason.ROBOT_FAULT), now_ns)
        cure = f"look at the arm, then `robot-rl safety reset {config.name}`, then start again within the next minute"
        raise UserError(f"{robot.fault}; {cure}")
    robot.recover()


def describe(measures: tuple[Measure, ...]) -> str:
    """Returns one line that names each measure and what became of it."""
    return "; ".join(f"{'ok' if item.obtained else 'MISSING'} {item.name}: {item.detail}" for item in measures)


def _answer(message: dict[str, Any]) -> None:
    """Writes the one line that the parent waits for, then leaves the pipe for good: no reader may block the loop."""
    if sys.stdout.closed:
        return
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        # The parent died while we started: the loop will find itself orphaned and leave in order.
        _warn("motor process: its parent is gone")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout.close()


def _warn(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be left to read it, which is no reason to let go of an arm
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
