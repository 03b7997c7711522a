"""A gzserver of our own with one arm in lock-step: started, spoken to, ended by its process id."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from controllers.robots.base import RobotFault
from controllers.robots.gazebo.plugin import LOOPBACK, build
from controllers.robots.gazebo.prefix import Prefix, installed
from controllers.robots.gazebo.protocol import (
    HEAD,
    VERSION,
    NotOurProtocol,
    Operation,
    as_state,
    decode_head,
    encode,
    state_dtype,
)
from data.errors import UserError

_READY_S = 60.0
_ANSWER_S = 5.0
_LEAVE_S = 5.0
_LONGEST_ADDRESS = 107
"""Characters of a Unix socket's path (unix(7))."""
_AGAIN = "start again"
_FOLDER, _OWNER, _WORLD = "robot-rl-gazebo-", "owner", "world.sdf"
"""A server's folder, the file in it that is locked for as long as whoever started the server lives, and its world."""


class GazeboServer:
    """One server and the one connection to it. Ends with `close`, or with the process that made it."""

    def __init__(self, world: Callable[[dict[str, str]], str], joints: Sequence[str]) -> None:
        """world: makes the SDF from the settings of the lock-step plugin; joints: names, in the order of all arrays.

        Raises UserError where Gazebo is not installed or does not come up.
        """
        gazebo = installed()
        plugins = build(gazebo)
        clear_leftovers(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=_FOLDER)).resolve()
        try:
            self._owned = own(self._folder)
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._joints = len(joints)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._body = bytearray(state_dtype(self._joints).itemsize)
        self._body_view, self._head = memoryview(self._body), memoryview(bytearray(HEAD.size))
        self._log_path = self._folder / "server.log"
        self._closed = False
        address = self._folder / "socket"
        sdf = self._folder / _WORLD
        try:
            if len(str(address)) > _LONGEST_ADDRESS:
                raise UserError(f"{address} is too long for a socket: set TMPDIR to a shorter folder")
            sdf.write_text(world({"socket": str(address), "parent": str(os.getpid())}), encoding="utf-8")
            self._process = self._start(gazebo, plugins, sdf)
        except BaseException:
            self._socket.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._owned.close()
            raise
        self.pid = self._process.pid
        try:
            self._connect(address)
            hello = self._ask(encode(Operation.HELLO, VERSION, name="\n".join(joints)), Operation.HELLO)
        except BaseException:
            self.close()
            raise
        numbers = np.frombuffer(hello, "<f8")
        self.timestep_s = float(numbers[0])
        self.max_torque_nm: NDArray[np.float64] = numbers[2:].copy()

    def _start(self, gazebo: Prefix, plugins: Path, sdf: Path) -> subprocess.Popen[bytes]:
        variables = gazebo.variables(plugins, _free_port(), self._folder)
        variables["LD_PRELOAD"] = str(plugins / LOOPBACK)
        with self._log_path.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches the parent, which then stops the arm in order.
            return subprocess.Popen(
                [str(gazebo.server), str(sdf)],
                cwd=self._folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _connect(self, address: Path) -> None:
        """Waits until the plugin listens. Raises UserError with the server's last words if it never does."""
        deadline_s = time.monotonic() + _READY_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                self._socket.connect(str(address))
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
                continue
            self._socket.settimeout(_READY_S)  # the world may still be loading
            return
        said = [line for line in self.log().splitlines() if line.strip()][-1:]
        raise UserError(f"Gazebo's server did not come up: {' '.join(said) or 'it said nothing'}; see docs/gazebo.md")

    def request(self, operation: Operation, argument: int = 0, numbers: Any = (), name: str = "") -> NDArray[Any]:
        """Returns the state (1,) that answers a request; it is overwritten by the next one.

        Raises ValueError for what the plugin refuses, in its words, and RobotFault if the server is gone or silent.
        """
        body = self._ask(encode(operation, argument, numbers, name), operation)
        try:
            return as_state(body, self._joints)
        except NotOurProtocol as error:
            raise self._fault(str(error)) from error

    def _ask(self, request: bytes, operation: Operation) -> memoryview | bytes:
        try:
            self._socket.sendall(request)
            self._receive(self._head)
            head = decode_head(self._head)
            body = self._body_view if head.size == len(self._body) else memoryview(bytearray(head.size))
            self._receive(body)
        except TimeoutError as error:
            raise self._fault(f"does not answer within {self._socket.gettimeout():g} s") from error
        except OSError as error:
            raise self._fault(f"is gone ({self._exit_status()})") from error
        except NotOurProtocol as error:
            raise self._fault(str(error)) from error
        self._socket.settimeout(_ANSWER_S)
        if head.operation != operation:
            raise self._fault(f"answered {head.operation} to {operation.name}")
        if head.refused:
            raise ValueError(f"Gazebo refused {operation.name}: {bytes(body).decode(errors='replace')}")
        return body

    def _receive(self, into: memoryview) -> None:
        got = 0
        while got < len(into):
            count = self._socket.recv_into(into[got:])
            if count == 0:
                raise ConnectionResetError("the server closed the connection")
            got += count

    def _fault(self, what: str) -> RobotFault:
        return RobotFault(f"Gazebo's server (process {self.pid}) {what}; {_AGAIN}")

    def _exit_status(self) -> str:
        if self._closed:
            return "closed"
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "it still runs, but closed the connection"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def disconnect(self) -> None:
        """Leaves the server to another client; whatever is asked through this one from now on is a RobotFault."""
        self._socket.close()

    def wait(self, timeout_s: float) -> int:
        """Waits until the server has ended; returns its exit status. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)

    def log(self) -> str:
        """Returns all that the server has said; "" once it is closed."""
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.is_file() else ""

    def close(self) -> None:
        """Ends the server by SIGINT, in time else by SIGKILL; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._socket.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._owned.close()


def own(folder: Path) -> IO[bytes]:
    """Returns a folder's file, which appears under its name already locked; the kernel unlocks what the dead had."""
    file = (folder / f"{_OWNER}.new").open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    (folder / f"{_OWNER}.new").rename(folder / _OWNER)
    return file


def clear_leftovers(place: Path) -> None:
    """Removes the folders of servers whose parents were killed; a server that hangs then is killed, too."""
    for folder in place.resolve().glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError), (folder / _OWNER).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    world = str(folder / _WORLD).encode()  # nobody else who happens to be in the folder
                    if (process / "cwd").readlink() == folder and world in (process / "cmdline").read_bytes():
                        os.kill(int(process.name), signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    """A port of loopback that nobody uses now, for the server's own master."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
