"""Nodes as processes of their own, spoken to over DDS, in a domain that no other test uses."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_srvs.srv import Trigger

from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.sides import ParentSide
from ros_nodes.spinning import Spinner
from tests.ros_nodes.leftovers import cleared_where_nobody_else_tests


@pytest.fixture(scope="session", autouse=True)
def clean_memory() -> Iterator[None]:
    """What killed programs of former tests and of these left in shared memory is taken away."""
    with cleared_where_nobody_else_tests():
        yield


START_S = 120.0
"""A first start compiles the kernels."""


@contextmanager
def leased_domain(log_folder: Path) -> Iterator[int]:
    """A domain id that no other test has meanwhile, on this machine only, in this process's environment."""
    folder = Path(tempfile.gettempdir()) / "robot-rl-ros-domains"
    folder.mkdir(exist_ok=True)
    for domain in range(1, 100):
        lease = (folder / str(domain)).open("w")
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lease.close()
            continue
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ROS_DOMAIN_ID", str(domain))
            environment.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            environment.setenv("ROS_LOG_DIR", str(log_folder))
            yield domain
        lease.close()
        return
    pytest.fail("all 99 domains are in use")


@pytest.fixture
def ros_domain(tmp_path: Path) -> Iterator[int]:
    """A domain of this test's own; logs go to the test's folder."""
    with leased_domain(tmp_path / "ros-log") as domain:
        yield domain


class NodeProcess:
    """One node's program."""

    def __init__(
        self,
        module: str,
        parameters: dict[str, Any],
        namespace: str,
        log: Path,
        stdin: int | None = None,
        folder: Path | None = None,
    ) -> None:
        words = [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:=/{namespace}"]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words += ["-p", f"{name}:={text}"]
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                words, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder
            )

    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text()

    def wait_for(self, text: str, timeout_s: float = START_S) -> None:
        """Waits until it wrote a text; fails the test if it ends before, or in the end."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.said():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
            assert time.monotonic() < deadline_s, f"{text!r} was not said within {timeout_s} s: {self.said()}"
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 15.0) -> int:
        """Sends a signal and returns the exit status; kills it after a while."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"did not end within {timeout_s} s of {number.name}: {self.said()}")


StartNode = Callable[..., NodeProcess]


@pytest.fixture
def start_node(ros_domain: int, tmp_path: Path) -> Iterator[StartNode]:
    """Starts nodes: `start_node("ros_nodes.controller_node", {"realtime": False})`; ends them after the test."""
    started: list[NodeProcess] = []

    def start(
        module: str,
        parameters: dict[str, Any] | None = None,
        namespace: str | None = None,
        stdin: int | None = None,
        folder: Path | None = None,
    ) -> NodeProcess:
        name = namespace or f"t{os.getpid()}d{ros_domain}"
        log = tmp_path / f"node{len(started)}.log"
        process = NodeProcess(module, parameters or {}, name, log, stdin, folder)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
            process.process.send_signal(signal.SIGINT)
    for process in started:
        try:
            process.process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.process.kill()
            process.process.wait()


@pytest.fixture
def namespace(ros_domain: int) -> str:
    """Namespace of this test's arm; its motor process has the same name."""
    return f"t{os.getpid()}d{ros_domain}"


@pytest.fixture
def here(ros_domain: int, namespace: str) -> Iterator[Node]:
    """A node of the test itself, whose callbacks run in a thread."""
    context = Context()
    rclpy.init(context=context)
    node = Node("test", namespace=f"/{namespace}", context=context)
    spinner = Spinner(node, context=context)
    spinner.start()
    yield node
    spinner.stop()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """(where a person types, what the program reads)."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


@contextmanager
def watched(namespace: str) -> Iterator[ParentSide]:
    """The shared memory of a motor process, to look at: it knows what topics can lose."""
    block = SharedBlock.attach(namespace, command=False)
    side = ParentSide(block)
    try:
        yield side
    finally:
        side.release()
        block.close()


def asked(node: Node, name: str, timeout_s: float = 20.0) -> Trigger.Response:
    """Calls a Trigger service that may be called twice: an answer that is sent before its reader is found is lost."""
    client: Any = node.create_client(Trigger, name)
    assert client.wait_for_service(timeout_s), f"no service {name}"
    first, asked_s = client.call_async(Trigger.Request()), time.monotonic()
    calls = [first]

    def answered() -> bool:
        if len(calls) == 1 and time.monotonic() - asked_s > 8.0:
            calls.append(client.call_async(Trigger.Request()))
        return any(call.done() for call in calls)

    wait_until(answered, name, timeout_s)
    response: Trigger.Response = next(call.result() for call in calls if call.done())
    node.destroy_client(client)
    return response


def called(node: Node, name: str, timeout_s: float = 20.0) -> str:
    """Calls a Trigger service, which must succeed; returns its words."""
    answer = asked(node, name, timeout_s)
    assert answer.success, f"{name}: {answer.message}"
    return str(answer.message)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    """Waits for a condition; fails the test in the end."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)
