"""Work that two services start and stop: one thread at a time, which says how it ended."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from data.errors import UserError
from ros_nodes.topic_link import LinkCancelled

_JOIN_S = 20.0
Told = tuple[bool, str]
"""Whether it is done, and words for a person."""


class Worker:
    """The thread behind a node's services `~/start` and `~/stop`.

    The work gets an event that is set once it is asked to stop; links made with it are cancelled by it. What the work
    raises becomes `trouble` where it is a UserError; anything else is an error in this program and ends the node.
    """

    def __init__(
        self,
        node: Any,
        name: str,
        work: Callable[[threading.Event], None],
        begun: str,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """node: a ManagedNode. begun: the words of a start. ended: called by the thread when another may begin."""
        self._node, self._name, self._work, self._begun, self._ended = node, name, work, begun, ended
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.running = False
        self.trouble = ""
        """Why the work ended before it was asked to."""
        node.create_service(Trigger, "~/start", self._serve_start)
        node.create_service(Trigger, "~/stop", self._serve_stop)

    def start(self) -> Told:
        """Begins to work. Returns whether it does, and words."""
        if self.running:
            return False, "it is still ending" if self._stopping.is_set() else f"the {self._name} is at work already"
        if self._thread is not None:
            self._thread.join()  # not running: it is at its very end
        self.running, self.trouble = True, ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=self._name, daemon=True)
        self._thread.start()
        return True, self._begun

    def stop(self, timeout_s: float = _JOIN_S) -> Told:
        """Ends the work and waits for that. Returns whether it has ended, and words."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                words = (
                    f"told to stop, but the {self._name} is still at work after {timeout_s:g} s: call stop again, or "
                )
                return False, words + "press the stop of the arm"
            self._thread = None
        return True, "stopped, the arm holds"

    def halt(self) -> None:
        """As `stop`, for a node that goes out of use; a thread that goes on is told in the log."""
        stopped, words = self.stop()
        if not stopped:
            self._node.get_logger().error(words)

    def _run(self, stopping: threading.Event) -> None:
        try:
            self._work(stopping)
        except LinkCancelled:
            pass
        except UserError as error:
            self.trouble = " ".join(str(error).split())
            self._node.get_logger().error(self.trouble)
        except Exception as error:  # noqa: BLE001 - else the node would go on and say for ever that it works
            self._node.get_logger().error(traceback.format_exc())
            self.trouble = f"the {self._name} ended with {type(error).__name__}: {' '.join(str(error).split())}"
            self._node.failure = self.trouble
        finally:
            self.running = False
            self._ended()

    def _serve_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.start() if self._node.active else (False, "the node is not active")
        return response

    def _serve_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.stop()
        return response
