"""`robot-rl bench ros`: commands and pictures over topics, beside shared memory; and the FR3 driver.

Programs of the ROS room are started as a user would start them: that room comes after this one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data.errors import UserError
from robot_rl.bringup.environment import require_ros
from robot_rl.config_robot import BenchFrankaConfig, BenchRosConfig

LIMITS = {
    "topic_path_p50_ms": 1.5,
    "topic_path_p99_ms": 5.0,
    "shm_path_p99_ms": 1.2,
    "camera_p50_ms": 4.0,
    "camera_lost": 0.0,
}
_READY_S, _PICTURE = 180.0, {"name": "bench", "source": "software", "width_px": 640, "height_px": 480, "rate_hz": 30.0}


def run(config: BenchRosConfig) -> dict[str, Any]:
    """Returns the figures; `ok` is false where one misses its limit. Times are medians and quantiles of one run."""
    require_ros(os.environ)
    environment = {"ROS_DOMAIN_ID": "96", **os.environ}
    namespace = f"bench{os.getpid()}"
    with _node("controller", namespace, {"realtime": config.realtime}, environment):
        topics = _said("ros_nodes.bench_paths", [namespace, str(config.commands)], environment)
    memory = _said("ros_nodes.bench_paths", ["-", str(config.commands)], environment)
    with _node("camera", namespace, _PICTURE, environment):
        pictures = _said("ros_nodes.bench_pictures", [namespace, "bench", str(config.seconds)], environment)
    figures = {
        "topic_path_p50_ms": topics["p50_ms"],
        "topic_path_p99_ms": topics["p99_ms"],
        "topic_path_lost": topics["lost"],
        "shm_path_p50_ms": memory["p50_ms"],
        "shm_path_p99_ms": memory["p99_ms"],
        "camera_p50_ms": pictures["p50_ms"],
        "camera_p99_ms": pictures["p99_ms"],
        "camera_rate_hz": pictures["rate_hz"],
        "camera_lost": pictures["lost"],
        "realtime": topics["realtime"] and memory["realtime"],
    }
    met = all(figures[name] <= limit for name, limit in LIMITS.items())
    if config.franka:
        from robot_rl.bench import franka

        driver = franka.run(BenchFrankaConfig(seconds=config.seconds))
        met = met and driver.pop("ok")
        figures |= driver
    return {"ok": met, **figures}


@contextmanager
def _node(name: str, namespace: str, parameters: dict[str, Any], environment: dict[str, str]) -> Iterator[None]:
    """A node's program while it is needed."""
    words = [sys.executable, "-P", "-m", f"ros_nodes.{name}_node", "--ros-args", "-r", f"__ns:=/{namespace}"]
    for key, value in parameters.items():
        words += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
    node = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        _wait_until_active(node, name)
        yield
    finally:
        node.send_signal(signal.SIGINT)
        try:
            node.communicate(timeout=20.0)
        except subprocess.TimeoutExpired:
            node.kill()
            node.communicate()


def _wait_until_active(node: subprocess.Popen[str], name: str) -> None:
    said: list[str] = []
    deadline_s = time.monotonic() + _READY_S
    for line in node.stdout or ():
        said.append(line.strip())
        if "node is active" in line:
            return
        if time.monotonic() > deadline_s:
            break
    raise UserError(f"the {name} node did not start: {' '.join(said[-3:])}")


def _said(module: str, words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Returns the figures that a program prints in its last line."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, *words], stdout=subprocess.PIPE, text=True, env=environment, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise UserError(f"{module} failed ({' '.join(lines[-1:])}); its own words stand on standard error")
    figures: dict[str, Any] = json.loads(lines[-1])
    return figures
