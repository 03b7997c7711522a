"""Work that services start and stop: a stop is answered as done only when nothing goes on."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_srvs.srv import Trigger

from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.tasks.registry import make_task
from ros_nodes.topic_link import LinkCancelled, TopicLink, links_cancelled_by
from ros_nodes.worker import Worker
from tests.ros_nodes.conftest import StartNode, wait_until

MakeWorker = Callable[[Callable[[threading.Event], None]], tuple[Worker, Any]]


class Active(Node):
    """A node that works, as far as a worker looks at it."""

    active = True
    failure: str | None = None


@pytest.fixture
def make_worker(ros_domain: int) -> Iterator[MakeWorker]:
    context = Context()
    rclpy.init(context=context)
    node = Active("worker", context=context)
    yield lambda work: (Worker(node, "hand", work, "it begins"), node)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_link_that_looks_for_its_node_can_be_cancelled(make_worker: MakeWorker) -> None:
    worker, node = make_worker(lambda stopping: TopicLink("nobody", cancelled=stopping).close())
    assert worker.start() == (True, "it begins")
    assert not worker.start()[0], "one at a time"
    time.sleep(0.3)
    begun_s = time.monotonic()
    assert worker.stop() == (True, "stopped, the arm holds")
    assert time.monotonic() - begun_s < 5.0 and not worker.running
    assert worker.trouble == "" and node.failure is None


def test_so_can_one_that_an_environment_makes(ros_domain: int) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with links_cancelled_by(cancelled), pytest.raises(LinkCancelled):
        make_env(make_task("peg_insertion", "default", {}), robot="ros", robot_config={"namespace": "nobody"})


def _ignore(finish: threading.Event) -> None:
    finish.wait(20.0)


def test_a_stop_that_nobody_heeds_is_not_told_as_done(make_worker: MakeWorker) -> None:
    finish = threading.Event()
    worker, _ = make_worker(lambda stopping: _ignore(finish))
    worker.start()
    stopped, words = worker.stop(timeout_s=0.1)
    assert not stopped and "still at work" in words
    assert worker.start() == (False, "it is still ending")
    finish.set()
    assert worker.stop() == (True, "stopped, the arm holds")
    assert worker.start()[0] and worker.stop()[0]


def test_what_ends_the_work_is_told(make_worker: MakeWorker) -> None:
    errors: list[Exception] = [UserError("no\n run"), ZeroDivisionError("by zero")]

    def work(stopping: threading.Event) -> None:
        raise errors.pop(0)

    worker, node = make_worker(work)
    worker.start()
    wait_until(lambda: not worker.running, "the end")
    assert worker.trouble == "no run" and node.failure is None
    worker.start()
    wait_until(lambda: not worker.running, "the end")
    assert node.failure == "the hand ended with ZeroDivisionError: by zero"


@pytest.mark.slow
@pytest.mark.calm
def test_the_stop_service_of_a_node_ends_a_search(start_node: StartNode, here: Node) -> None:
    person, program = pty.openpty()
    try:
        node = start_node("ros_nodes.teleop_node", {"device": "keyboard", "drive": True}, stdin=program)
        node.wait_for("node is active")
        client: Any = here.create_client(Trigger, "teleop/stop")
        assert client.wait_for_service(20.0)
        begun_s = time.monotonic()
        future = client.call_async(Trigger.Request())
        wait_until(future.done, "stop")
        assert future.result().success and time.monotonic() - begun_s < 10.0
        assert node.end() == 0, node.said()
    finally:
        os.close(person)
        os.close(program)
