"""Runs nodes: one executor, ended by a signal, by the node itself, or with its context.

The events executor costs the least (a tenth of a core at 1 kHz), but its `spin()` without a time limit burns a whole
core and never runs a callback (rclpy 7.1.6 and 9.1.2): here it is only ever asked to run until a future is done.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.task import Future

from data.errors import UserError
from ros_nodes.network import make_context

_LOOK_S = 0.2


class Spinner:
    """An executor with one or more nodes of one context."""

    def __init__(self, *nodes: Any, context: Context | None = None) -> None:
        self._executor = EventsExecutor(context=context) if context else EventsExecutor()
        self._never: Future[None] = Future(executor=self._executor)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for node in nodes:
            self._executor.add_node(node)

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Runs callbacks until `stop`, until the context ends, or until `until()`, which is asked every 0.2 s."""
        while not (self._stop.is_set() or until()):
            try:
                self._executor.spin_until_future_complete(self._never, _LOOK_S)
            except ExternalShutdownException:
                return

    def start(self) -> None:
        """Runs callbacks in a thread of their own."""
        self._thread = threading.Thread(target=self.run, name="ros-callbacks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends `run`, and the thread of `start`."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        self._executor.shutdown(timeout_sec=1.0)


def run_node(make: Callable[[], Node], arguments: list[str] | None = None) -> int:
    """Main function of a node's program: makes the node, runs it, and returns the exit status.

    0 after a signal, 1 if the node ended by itself with a `failure`, 2 for a user's mistake. One line says why.
    """
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    _, warning = make_context(rclpy.utilities.get_default_context(), arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    node: Any = None
    try:
        node = make()
        if warning is not None:
            node.get_logger().warning(warning)
        begin = getattr(node, "begin", None)
        if begin is not None:
            begin()
        spinner = Spinner(node)
        spinner.run(lambda: stopping.is_set() or getattr(node, "failure", None) is not None)
        spinner.stop()
        failure = getattr(node, "failure", None)
        if failure is not None:
            print(f"{node.get_name()}: {failure}", file=sys.stderr, flush=True)
        return 1 if failure is not None else 0
    except UserError as error:
        print(f"{node.get_name() if node else 'node'}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    finally:
        if node is not None:
            end = getattr(node, "end", None)
            if end is not None:
                end()
            node.destroy_node()
        rclpy.try_shutdown()
