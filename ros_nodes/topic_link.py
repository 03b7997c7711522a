"""The motor link over ROS topics: the same verbs, behind a controller node on this or another machine.

The node commands the motor process; this link commands the node. A command travels as one record with its stamp and
sequence, so that the tick checks its age as that of any other. If this process dies, its commands age: reference
frozen after 0.25 s, hold after 1 s.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from controllers.paced_link import LinkTimeouts, PacedLink
from controllers.pulse import Pulse
from data.errors import UserError
from ros_nodes.network import make_context
from ros_nodes.spinning import Spinner
from ros_nodes.topic_side import TopicSide


class LinkCancelled(UserError):
    """Somebody else in this process asked the link's user to stop."""


_CANCELLED: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


@contextlib.contextmanager
def links_cancelled_by(cancelled: threading.Event) -> Iterator[None]:
    """Links that this thread makes within the block, by whatever function, are cancelled by the event."""
    token = _CANCELLED.set(cancelled)
    try:
        yield
    finally:
        _CANCELLED.reset(token)


class TopicLink(PacedLink):
    """Commands the motor process behind a controller node. One thread at a time may use it."""

    def __init__(
        self,
        namespace: str = "",
        *,
        start_timeout_s: float = 60.0,
        timeouts: LinkTimeouts | None = None,
        context: Context | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        """namespace: of the controller node, such as "arm". context: None for one of its own, from the environment.

        cancelled: set by another thread, has the verb under way, and each further one, raise LinkCancelled; also this
        one. By default that of `links_cancelled_by`.

        Raises UserError if no controller node that is active answers in time.
        """
        self._closed, self._begun = True, False
        self.cancelled = cancelled or _CANCELLED.get() or threading.Event()
        self._leaving = False
        self._own_context = context is None
        self._context, warning = (context, None) if context else make_context()
        self._node = Node("robot_rl_link", namespace=namespace, context=self._context, start_parameter_services=False)
        if warning is not None:
            self._node.get_logger().warning(warning)
        side = self._topics = TopicSide(self._node)
        self._spinner = Spinner(self._node, context=self._context)
        self._spinner.start()
        self._pulse = Pulse(lambda now_ns, pid: None)
        try:
            self._connect(side, namespace, start_timeout_s)
            super().__init__(str(side.told.get("motor", "motor")), side, self._pulse, timeouts or LinkTimeouts())
            self._begin()
            self._begun = True
        except BaseException:
            self._closed = False
            self.close()
            raise

    @property
    def told(self) -> dict[str, Any]:
        """Returns what the controller node says of its arm: task, variant, layers, whether it is simulated."""
        return self._topics.told

    def _begin(self) -> None:
        try:
            self.reset()
        except ValueError as error:
            raise UserError(f"the controller node refused: {error}") from error

    def _connect(self, side: TopicSide, namespace: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not side.connected:
            if time.monotonic() > deadline_s:
                raise UserError(
                    f"no active controller node answered in namespace {namespace or '/'!r} within {timeout_s:g} s: "
                    "start one (robot-rl up sim), see ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE of both terminals"
                )
            self._sleep(0.01)
        if not side.ring.same_clock:
            raise UserError(
                "the controller node runs on another machine, and commands carry times of this machine's clock: run "
                "whatever commands the arm on the robot PC"
            )

    def leave(self) -> None:
        """Has the arm hold where it is, at once instead of as its commands age; nothing cancels what follows.

        Raises UserError where the arm is latched or nobody answers.
        """
        self._leaving = True
        self.reset()

    def close(self) -> None:
        """Lets go of the arm, which then holds where it is; the motor process goes on. May be called twice.

        Who leaves in order starts the arm over, so that nothing ages and latches after he has gone.
        """
        if self._closed:
            return
        if self._begun:
            with contextlib.suppress(UserError, ValueError):  # latched, or nobody there: nothing to start over
                self.leave()
        self._closed = True
        self._pulse.stop()
        self._spinner.stop()
        self._node.destroy_node()
        if self._own_context:
            rclpy.try_shutdown(context=self._context)

    def _death(self) -> str | None:
        if not self._context.ok():
            return f"the connection to motor process {self.name!r} was shut down"
        return None

    def _sleep(self, duration_s: float) -> None:
        if self._leaving:
            time.sleep(max(duration_s, 0.0))
        elif self.cancelled.wait(max(duration_s, 0.0)):
            raise LinkCancelled("stopped on request")
