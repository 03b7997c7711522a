"""A parent process for the tests to kill: opens a link as its argument (JSON) says, names the pids, does as told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import numpy as np

from controllers.motor_config import MotorConfig
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def stepped(link: SharedMemoryLink) -> np.ndarray:
    """The newest report, made after what was sent before came in."""
    since_ns = link.now_ns() + 50_000_000
    report = link.step(0.1)[-1]
    while report["stamp_ns"] < since_ns:
        report = link.step(0.02)[-1]
    return report  # type: ignore[no-any-return]


def main() -> None:
    task = json.loads(sys.argv[1])
    link = SharedMemoryLink(SharedMemoryLinkConfig(MotorConfig.from_json(json.dumps(task["motor"]))))
    say(motor_pid=link.status().pid)
    if task["do"] == "estop":
        link.estop()
        say(estop=True)
        time.sleep(3600.0)
    if task["do"] == "wait":
        time.sleep(3600.0)
    if task["do"] == "stop_before_send":
        here = link.latest()
        command = Command(here.position_base_m, here.quaternion_base_xyzw, np.array([400.0] * 3 + [30.0] * 3))
        link.send(command)
        before = stepped(link)
        os.kill(os.getpid(), signal.SIGSTOP)
        link.send(command)  # made from what was seen before the stop
        stale = stepped(link)
        link.send(command)
        fresh = stepped(link)
        rows = {"before": before, "stale": stale, "fresh": fresh}
        say(**{name: [int(row["sequence"]), int(row["refused"])] for name, row in rows.items()})
    link.close()


if __name__ == "__main__":
    main()
