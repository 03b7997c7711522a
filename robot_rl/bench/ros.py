"""`robot-rl bench ros`: commands and pictures over topics, beside shared memory; and the FR3 driver.

Programs of the ROS room are started as a user would start them: that room comes after this one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

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
_LOG_BYTES = 1_000_000
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
    with tempfile.TemporaryFile() as log:  # a pipe that nobody empties would stop the node once it is full
        node = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            wait_until_active(node, log, name)
            yield
        finally:
            node.send_signal(signal.SIGINT)
            try:
                node.wait(20.0)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def wait_until_active(node: subprocess.Popen[bytes], log: IO[bytes], name: str, patience_s: float = _READY_S) -> None:
    """Waits until a node's program says so in its log. Raises UserError where it ends before, or does not in time."""
    deadline_s = time.monotonic() + patience_s
    while True:
        ended = node.poll() is not None
        said = os.pread(log.fileno(), _LOG_BYTES, 0).decode(errors="replace")  # its place is the program's as well
        if "node is active" in said:
            return
        if ended or time.monotonic() > deadline_s:
            raise UserError(f"the {name} node did not start: {' '.join(said.splitlines()[-3:])}")
        time.sleep(0.05)


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
