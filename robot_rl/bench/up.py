"""`robot-rl bench up`: how long it takes from typing `robot-rl up sim` to the first command's torque."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import Any

from data.errors import UserError
from robot_rl.bringup.environment import require_ros
from robot_rl.bringup.leash import leashed
from robot_rl.config_bringup import BenchUpConfig

TARGET_S = 10.0
_LIMIT_S = 300.0
_DOMAIN = 97


def run(config: BenchUpConfig) -> dict[str, Any]:
    """Returns medians: `up_ready_s` until all is up, `up_to_first_action_s` until a commanding program that is started
    then (imports, discovery, reset and all) has its first torque written, `up_end_s` from Ctrl-C to the end.
    """
    require_ros(os.environ)
    _start(config.realtime)  # the first start may compile the kernels
    found = [_start(config.realtime) for _ in range(config.starts)]
    medians = {name: statistics.median(times[name] for times in found) for name in found[0]}
    worst_s = max(times["up_to_first_action_s"] for times in found)
    met = medians["up_to_first_action_s"] <= TARGET_S
    return {**medians, "worst_s": worst_s, "target_s": TARGET_S, "starts": config.starts, "ok": met}


def _start(realtime: bool) -> dict[str, float]:
    """Starts, acts, ends; returns the times [s]."""
    namespace = f"bench{os.getpid()}"
    environment = {"ROS_DOMAIN_ID": str(_DOMAIN), **os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    words = [sys.executable, "-P", "-m", "robot_rl.cli.main", "up", "sim", f"namespace={namespace}"]
    typed_s = time.monotonic()
    up = subprocess.Popen(
        leashed([*words, f"realtime={str(realtime).lower()}"]),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        _wait_until_up(up)
        ready_s = time.monotonic() - typed_s
        action = subprocess.run(
            [sys.executable, "-P", "-m", "ros_nodes.first_action", namespace, "--json"],
            stdout=subprocess.PIPE, text=True, env=environment, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        if action.returncode != 0:
            raise UserError("the first command was not followed; its own words stand on standard error")
        written_s = float(json.loads(action.stdout.splitlines()[-1])["written_s"])
        asked_s = time.monotonic()
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=_LIMIT_S)
        end_s = time.monotonic() - asked_s
        if up.returncode != 0:
            raise UserError(f"robot-rl up ended with status {up.returncode} after Ctrl-C, expected 0")
    finally:
        if up.poll() is None:
            up.terminate()
            up.communicate()
    return {"up_ready_s": ready_s, "up_to_first_action_s": written_s - typed_s, "up_end_s": end_s}


def _wait_until_up(up: subprocess.Popen[str]) -> None:
    """Reads lines until all is up. Raises UserError with the last ones if `up` ends before."""
    said: list[str] = []
    if up.stdout is None:
        raise RuntimeError("robot-rl up has no standard output")
    for line in up.stdout:
        said.append(line.strip())
        if "all is up" in line:
            return
    raise UserError(f"robot-rl up sim did not come up: {'; '.join(said[-3:])}")
