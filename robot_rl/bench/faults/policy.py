"""A policy in a process of its own: presses the tool onto the wall, ten decisions a second, until it is ended.

`python -m robot_rl.bench.faults.policy`, with a motor configuration as JSON on standard input. It answers with one JSON
line when it presses. Every decision is written to the file of its argument: sequence and the moment it was made.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from controllers.motor_config import MotorConfig
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from robot_rl.bench.faults.stage import pressing, start_joints

DECISION = np.dtype([("sequence", "i8"), ("decided_ns", "i8")])
_THINKS_S, _PERIOD_S = 0.04, 0.1
_SETTLE_DECISIONS = 8


def main() -> None:
    """Runs until killed."""
    log = Path(sys.argv[1])
    config = MotorConfig.from_json(sys.stdin.read())
    with SharedMemoryLink(SharedMemoryLinkConfig(config)) as link, log.open("ab", buffering=0) as file:
        link.teleport(start_joints())
        link.reset()
        decisions = 0
        while True:
            command = pressing()
            decided_ns = time.monotonic_ns()
            time.sleep(_THINKS_S)  # a policy that is stopped here wakes with an old decision in its hands
            link.send(command)
            decisions += 1
            file.write(np.array((decisions, decided_ns), DECISION).tobytes())
            link.step(_PERIOD_S)
            if decisions == _SETTLE_DECISIONS:
                print(json.dumps({"motor_pid": link.status().pid}), flush=True)


if __name__ == "__main__":
    main()
