"""A node in a context of its own that hears topics in a thread of its own, for whoever is no node himself."""

from __future__ import annotations

import rclpy
from rclpy.node import Node

from ros_nodes.network import make_context
from ros_nodes.spinning import Spinner


class Listener:
    """Subscribe with `node`, then `listen`; `close` ends both."""

    def __init__(self, name: str, namespace: str) -> None:
        self._context, warning = make_context()
        self.node = Node(name, namespace=namespace, context=self._context, start_parameter_services=False)
        if warning is not None:
            self.node.get_logger().warning(warning)
        self._spinner = Spinner(self.node, context=self._context)
        self._closed = False

    def listen(self) -> None:
        """Begins to call back."""
        self._spinner.start()

    @property
    def open(self) -> bool:
        """Whether anything can still be heard: neither closed nor shut down from elsewhere."""
        return bool(self._context.ok())

    def close(self) -> None:
        """Unsubscribes; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._spinner.stop()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
