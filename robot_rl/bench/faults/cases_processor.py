"""F18: busy processes on the policy's cores, or on all; beside it an empty loop, to tell our loop from the machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from controllers.realtime import Pacer, RealtimeConfig, choose_core, keep_off_core, take_measures
from robot_rl.bench.faults.judging import Outcome, judge_torque
from robot_rl.bench.faults.stage import MAX_TORQUE_NM, Stage

_PERIOD_NS = 1_000_000
_LOAD_S = 5.0
_QUANTILE = 0.999


def starved_policy(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F18: two busy processes on the policy's cores, all but the motor's, and the ring is not read for five seconds."""
    return _punctual(stage, off_motor_core=True)


def starved_machine(stage: Stage, rng: np.random.Generator) -> Outcome:
    """As F18, with the busy processes wherever the kernel puts them, on the motor's core too."""
    return _punctual(stage, off_motor_core=False)


def _punctual(stage: Stage, off_motor_core: bool) -> Outcome:
    """Judged by when ticks begin. How long they take holds the simulated arm's physics here, which no real arm has."""
    stage.press(0.3)
    with _hogs(off_motor_core):
        time.sleep(_LOAD_S - 0.2)  # the ring holds four seconds: the oldest reports are overwritten
        reports = stage.link.step(0.05)
    outcome = Outcome(float(np.quantile(reports["lateness_ns"], _QUANTILE)) * 1e-3)
    outcome.expect(len(reports) > 4000, f"only {len(reports)} reports are left in the ring")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def empty_loop(stage: Stage, rng: np.random.Generator) -> Outcome:
    """No fault: how punctual a loop of the same measures is that does nothing, beside two busy processes."""
    stage.link.close()
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    loop = multiprocessing.get_context("fork").Process(target=_loop, args=(sender,))
    with _hogs(off_motor_core=False):
        loop.start()
        sender.close()
        outcome = Outcome(float(receiver.recv_bytes().decode()))
        loop.join()
    receiver.close()
    stage.reopen()
    return outcome


def _loop(sender: Connection) -> None:
    realtime = RealtimeConfig()
    take_measures(realtime)
    pacer = Pacer(_PERIOD_NS, realtime.spin_us * 1000)
    lateness_ns = np.zeros(int(0.8 * _LOAD_S * 1e9) // _PERIOD_NS)
    pacer.restart()
    for tick in range(len(lateness_ns)):
        lateness_ns[tick] = pacer.wait()
    sender.send_bytes(str(np.quantile(lateness_ns, _QUANTILE) * 1e-3).encode())


@contextlib.contextmanager
def _hogs(off_motor_core: bool) -> Iterator[None]:
    settings = (time.monotonic() + _LOAD_S, off_motor_core)
    hogs: list[Any] = [multiprocessing.get_context("fork").Process(target=_hog, args=settings) for _ in range(2)]
    for hog in hogs:
        hog.start()
    try:
        yield
    finally:
        for hog in hogs:
            hog.join()


def _hog(until_s: float, off_motor_core: bool) -> None:
    if off_motor_core:
        keep_off_core(choose_core(RealtimeConfig().core))
    while time.monotonic() < until_s:
        pass
