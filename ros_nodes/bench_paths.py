"""Measures how long a command takes until its torque is written: over topics, or over shared memory for comparison.

`python -m ros_nodes.bench_paths <namespace or -> <commands>` prints one JSON line. `-`: a motor process of its own.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import numpy as np

from controllers.description.fr3 import fr3
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.motor_config import mujoco_motor
from controllers.paced_link import PacedLink
from controllers.realtime import RealtimeConfig, choose_core, keep_threads_off_core
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command

_SETTLE_S, _STEP_S = 0.02, 0.03


def latencies_ms(link: PacedLink, commands: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Returns the time from `send` to the torque of that command (commands,) [ms]; NaN for one that never came.

    The tick's report holds the age of the command that it followed, so that the command is known by its stamp; the
    torque is written when the tick's work is done. Commands come at random times within a tick.
    """
    start = link.latest()
    times_ms = np.full(commands, np.nan)
    for number in range(commands):
        link.step(_SETTLE_S + float(rng.uniform(0.0, 0.002)))
        link.send(Command(start.position_base_m, start.quaternion_base_xyzw, np.array([300.0] * 3 + [20.0] * 3)))
        sent_ns = link.sent_ns
        reports = link.step(_STEP_S)
        made_ns = reports["stamp_ns"] - np.round(reports["command_age_s"] * 1e9)
        mine = np.flatnonzero(np.abs(made_ns - sent_ns) < 1000)
        if len(mine):
            written_ns = int(reports["stamp_ns"][mine[0]] + reports["work_ns"][mine[0]])
            times_ms[number] = (written_ns - sent_ns) * 1e-6
    return times_ms


def main() -> int:
    """See the module."""
    namespace, commands, core = sys.argv[1], int(sys.argv[2]), choose_core(-1)
    if namespace == "-":
        name, realtime = f"paths-{uuid.uuid4().hex[:8]}", RealtimeConfig(core=core)
        motor = mujoco_motor(name, arm=fr3(), scene=Scene(tool=square_peg_tool()), realtime=realtime)
        link: PacedLink = SharedMemoryLink(SharedMemoryLinkConfig(motor))
    else:
        from ros_nodes.topic_link import TopicLink

        link = TopicLink(namespace)
    keep_threads_off_core(core)
    try:
        times_ms = latencies_ms(link, commands, np.random.default_rng(0))
        punctual = link.status().realtime
    finally:
        link.close()
    good = times_ms[np.isfinite(times_ms)]
    p50_ms, p99_ms, max_ms = np.quantile(good, [0.5, 0.99, 1.0]) if len(good) else (np.nan,) * 3
    figures = {"p50_ms": p50_ms, "p99_ms": p99_ms, "max_ms": max_ms}
    told = {name: float(value) for name, value in figures.items()}
    print(json.dumps({**told, "commands": commands, "lost": commands - len(good), "realtime": punctual}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
