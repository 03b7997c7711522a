"""A policy behind topics for `robot-rl bench faults`: sweeps the tool to and fro, ten decisions a second, until ended.

    python -m ros_nodes.bench_policy NAMESPACE DECISIONS [--ros-args -r motor/command:=relay/command]

Every decision is written to the file DECISIONS: when it was made, the stamp its command got, and when it had been
sent. Orders come as words on standard input, one a line, each answered by a line, the time [ns] or why not: `reset`,
`restart` (without a full tank), `critic blind` (one whose answers are no numbers), `critic calm`. What stops it, it
begins anew, as a training program would.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.utilities import remove_ros_args

from controllers.arm_model import ArmModel
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose
from controllers.motor_child import MotorProcessDied
from controllers.types import Command
from data.errors import UserError
from robot_rl.bench.critics import made_up_weights
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task
from ros_nodes.topic_link import TopicLink
from safety.supervision import ResetRefused, SupervisorState

DECISION = np.dtype([("decided_ns", "i8"), ("stamp_ns", "i8"), ("sent_ns", "i8")])
THINKS_S, PERIOD_S = 0.04, 0.1
_SWEEP_M, _SWEEP_PERIOD_S = 0.03, 2.0
_RESETS = 60
_STIFFNESS = np.array([600.0] * 3 + [40.0] * 3)


def target(home: Pose) -> Command:
    """The tool sweeps sideways around its place at home, at 0.1 m/s at most."""
    aside_m = _SWEEP_M * np.sin(2.0 * np.pi * time.monotonic() / _SWEEP_PERIOD_S)
    return Command(home.position_m + np.array([0.0, aside_m, 0.0]), home.quaternion_xyzw, _STIFFNESS, duration_s=0.2)


def drive(link: TopicLink, home: Pose, log: Any, orders: queue.SimpleQueue[str]) -> None:
    """Commands until something stops it."""
    while True:
        while not orders.empty():
            obey(link, orders.get())
        if link.status().supervisor >= SupervisorState.PROTECTIVE_STOP:
            with contextlib.suppress(ResetRefused):
                link.reset()
        decided_ns, command = time.monotonic_ns(), target(home)
        time.sleep(THINKS_S)  # a policy that is stopped here wakes with an old decision in its hands
        link.send(command)
        log.write(np.array((decided_ns, link.sent_ns, time.monotonic_ns()), DECISION).tobytes())
        link.step(PERIOD_S)


def obey(link: TopicLink, order: str) -> None:
    """Does what a line of standard input asks for, and answers: the time [ns], or why not."""
    try:
        if order.startswith("critic"):
            link.load_critic(_weights(link.status().critic_version + 1, blind=order == "critic blind"))
        _start_over(link)
        if order != "restart":
            link.grant()
        print(time.monotonic_ns(), flush=True)
    except UserError as error:
        print(f"refused: {' '.join(str(error).split())}", flush=True)


def _task() -> Task:
    return make_task("peg_insertion", "default", {})


def _weights(version: int, blind: bool) -> Any:
    weights = made_up_weights(chain_of(_task(), layers_from({})).critic, version=version)
    if blind:
        rng = np.random.default_rng(version)
        for name in ("first", "second", "risk_head"):  # finite numbers, which pass, whose products are not
            weights[name] = 3e38 * rng.choice([-1.0, 1.0], weights[name].shape)
    return weights


def _start_over(link: TopicLink) -> None:
    for attempt in range(_RESETS):
        try:
            link.reset()
            return
        except ResetRefused:  # not calm yet
            if attempt == _RESETS - 1:
                raise
            link.step(0.05)


def main() -> None:
    """Runs until killed."""
    namespace, decisions = remove_ros_args(sys.argv)[1:]
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line.strip())
        os._exit(0)  # whoever gave orders is gone

    threading.Thread(target=listen, daemon=True).start()
    arm = fr3()
    home = ArmModel(arm, _task().scene().tool).forward(arm.home_rad)
    with Path(decisions).open("ab", buffering=0) as log:
        while True:
            try:
                link = TopicLink(namespace)
            except UserError:
                time.sleep(0.1)
                continue
            try:
                drive(link, home, log, orders)
            except MotorProcessDied:  # the controller node was stopped: begin anew
                continue
            finally:
                link.close()


if __name__ == "__main__":
    main()
