"""The programs that `bench recorder` starts, a made-up arm and the recorder, in a ROS domain of their own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError
from robot_rl.bringup.leash import leashed

NAMESPACE = "bench"
START_S, END_S = 120.0, 120.0


@contextmanager
def domain() -> Iterator[dict[str, str]]:
    """Yields the environment of programs in a ROS domain of their own, on this machine only."""
    folder = Path(tempfile.gettempdir()) / "robot-rl-ros-domains"
    folder.mkdir(exist_ok=True)
    for number in range(1, 100):
        with (folder / str(number)).open("w") as lease:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            words = {"ROS_DOMAIN_ID": str(number), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            yield {**os.environ, **words}
            return
    raise UserError("all 99 ROS domains are in use here: wait until other benchmarks and tests have ended")


@contextmanager
def source(work: Path, settings: dict[str, str], episode_s: float, pause_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """The made-up arm and camera; what it says is in `source.jsonl`."""
    words = ["--namespace", NAMESPACE, "--episode-s", str(episode_s), "--pause-s", str(pause_s)]
    log = work / "source.jsonl"
    with _program("ros_nodes.recorder_source", words, log, settings, '"started"') as process:
        yield process


@contextmanager
def recorder(out: Path, log: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A recorder node that listens."""
    words = ["--ros-args", "-r", f"__ns:=/{NAMESPACE}", "-p", f"out:={out}", "-p", "cameras:=[side=camera/image_raw]"]
    with _program("ros_nodes.recorder_node", words, log, settings, "records into") as process:
        yield process


@contextmanager
def _program(
    module: str, words: list[str], log: Path, settings: dict[str, str], ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as output:
        process = subprocess.Popen(
            leashed([sys.executable, "-m", module, *words]), stdout=output, stderr=subprocess.STDOUT, env=settings,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + START_S
        while ready not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise UserError(f"{module} did not start: {log.read_text()[-500:].strip()}")
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def sleep_beside(seconds: float, *alive: subprocess.Popen[bytes]) -> None:
    """Sleeps. Raises UserError if one of the programs ends meanwhile."""
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0.0:
        time.sleep(min(left_s, 0.5))
        if any(process.poll() is not None for process in alive):
            raise UserError("the recorder or the made-up arm ended by itself: see the logs in the folder `work`")
