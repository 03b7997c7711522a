"""franka-sim, a third-party server that speaks the robot's own protocol, with our arm: for tests, benches and trials.

It wants other versions of NumPy and MuJoCo than we do, so that it lives in a virtual environment of its own in the
user's cache, made once from pinned versions. The port of the protocol is fixed in libfranka: every server gets an
address of its own out of 127.0.0.0/8, where nobody but this machine can reach it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from controllers.description.arm import ArmDescription
from controllers.description.mjcf import to_mjcf
from controllers.description.scene import Scene
from controllers.description.tool import ToolDescription
from controllers.realtime import choose_core
from controllers.robots.franka_connection import PORT
from data.errors import UserError

REQUIREMENTS = ("franka-sim==1.1.7", "mujoco==3.2.7", "numpy==1.26.4", "robot_descriptions==3.3.0", "trimesh==5.2.0")
_READY_S = 90.0
_LEAVE_S = 5.0
_PREFIX = "fr3_"
_PROGRAM = """
import functools, os, sys
import franka_sim
from franka_sim import run_server

host, cores = sys.argv.pop(1), sys.argv.pop(1)
os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
try:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
except PermissionError:
    print("no right to real-time scheduling: the server may be late", flush=True)
franka_sim.FrankaSimServer = functools.partial(franka_sim.FrankaSimServer, host=host)
run_server.main()
"""
"""`run-franka-sim-server`, but bound to one address (by itself it listens on all of the machine's), and with time of
its own like the control box that it stands for: a real one shares no core with us."""
_READY = "Server ready for new client connection"


def simulator_mjcf(arm: ArmDescription, tool: ToolDescription) -> str:
    """Returns the arm with its tool as MJCF for the server: bodies fr3_link0..8, joints fr3_joint1..7, no table.

    A gripper's fingers are part of the tool's body: the server moves no fingers of ours.
    """
    root = ET.fromstring(to_mjcf(arm, Scene(tool=replace(tool, gripper_range_m=None), table=None)))
    for body in root.iter("body"):
        name = body.get("name", "")
        if re.fullmatch(r"link\d", name):
            body.set("name", _PREFIX + name)
        elif name == "flange":
            body.set("name", f"{_PREFIX}link8")
    return ET.tostring(root, encoding="unicode")


def environment() -> Path:
    """Returns the server's virtual environment, made here if there is none yet. Raises UserError if that fails."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robot-rl" / "franka-sim"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(" ".join((python, *REQUIREMENTS)).encode()).hexdigest()[:12]
    folder = base / key
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make_environment(folder)
            (folder / "complete").write_text("\n".join(REQUIREMENTS) + "\n", encoding="utf-8")
    return folder


def _foreign_variables() -> dict[str, str]:
    """The variables for the Python of another environment: none that has it load modules or libraries of ours.

    Where ROS comes from wheels, two variables stand for its libraries: the path, and the mark that it is set.
    """
    ours = ("PYTHON", "PIP_CONSTRAINT", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _make_environment(folder: Path) -> None:
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS],
    )
    clean = _foreign_variables()
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, env=clean, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise UserError(
                f"cannot make the environment of franka-sim in {folder}: {' '.join(said)}; see docs/franka.md"
            )


def _cores() -> str:
    """The cores of the server: not the one that the motor loop is pinned to by default, if there is another."""
    cores = os.sched_getaffinity(0)
    return ",".join(map(str, sorted(cores - {choose_core(-1)} or cores)))


class FrankaSimulator:
    """One server. Ends with `close`, or with the process that made it."""

    def __init__(
        self, arm: ArmDescription, tool: ToolDescription, *, gripper: bool = False, punctual: bool = True
    ) -> None:
        """gripper: offer a Franka Hand on its own port as well. punctual: stop a motion after 20 late commands in a
        row, as a real robot does; off only where the machine is shared with others. The limits of a motion always hold.

        Raises UserError if the server does not come up.
        """
        self.ip = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
        self._folder = Path(tempfile.mkdtemp(prefix="franka-sim-"))
        self._log_path = self._folder / "server.log"
        model = self._folder / "arm.xml"
        model.write_text(simulator_mjcf(arm, tool), encoding="utf-8")
        flags = ["--enforce-motion-limits", *(["--enforce-comm-constraints"] if punctual else [])]
        flags += [] if gripper else ["--no-gripper"]
        command = [
            str(environment() / "bin" / "python"),
            "-c",
            _PROGRAM,
            self.ip,
            _cores(),
            "--port",
            str(PORT),
            *flags,
        ]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_foreign_variables(), "FR3_MJCF": str(model), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _READY_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            if _READY in self.log():
                return
            time.sleep(0.1)
        said = self.log().strip().splitlines()[-1:]
        raise UserError(f"franka-sim did not come up at {self.ip}: {' '.join(said) or 'it said nothing'}")

    def log(self) -> str:
        """Returns all that the server has said; "" once it is closed."""
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.is_file() else ""

    def suspend(self) -> None:
        """Lets the server lie still, as a robot whose cable is pulled."""
        os.kill(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Ends the server at once, as a robot that is switched off."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the server by its process id; may be called twice."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def simulated_robot(
    arm: ArmDescription, tool: ToolDescription, *, gripper: bool = False, punctual: bool = True
) -> Iterator[FrankaSimulator]:
    """A server that ends with the block, whatever happens in it."""
    simulator = FrankaSimulator(arm, tool, gripper=gripper, punctual=punctual)
    try:
        yield simulator
    finally:
        simulator.close()
