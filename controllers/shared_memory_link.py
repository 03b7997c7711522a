"""The motor link to a motor process on the same machine, in real time: verbs of `controllers.link.MotorLink`."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Mapping

from controllers.motor_child import MotorChild, MotorProcessDied, SharedMemoryLinkConfig
from controllers.paced_link import LinkTimeouts, PacedLink
from controllers.pulse import Pulse
from controllers.shared_memory.block import BlockInUse, SharedBlock, remove_stale
from controllers.shared_memory.layout import MotorState, Request
from controllers.shared_memory.sides import ParentSide
from data.errors import UserError

__all__ = ["MotorProcessDied", "SharedMemoryLink", "SharedMemoryLinkConfig"]


class SharedMemoryLink(PacedLink):
    """Starts a motor process, commands it, and ends it. One thread at a time may use it.

    A dead or stalled motor process raises MotorProcessDied from every verb: the episode is then invalid. If this
    process dies, the motor process holds, stops and leaves by itself.
    """

    def __init__(self, config: SharedMemoryLinkConfig, environment: Mapping[str, str] | None = None) -> None:
        """environment: variables of the motor process on top of this process's own."""
        self.config = config
        self._closed = True
        self._child = MotorChild(config.motor, environment or {})
        try:
            self._child.wait_until_ready(config.start_timeout_s)
            self._block = SharedBlock.attach(config.motor.name)
        except BaseException as error:
            refused = isinstance(error, UserError) and not isinstance(error, MotorProcessDied)
            self._child.end(config.stop_timeout_s, wait_first=refused)
            self._remove_block()
            raise
        self._parent = ParentSide(self._block)
        timeouts = LinkTimeouts(config.answer_timeout_s, config.stall_timeout_s, config.suspension_s)
        super().__init__(config.motor.name, self._parent, Pulse(self._parent.beat), timeouts)
        atexit.register(self.close)
        try:
            self.reset()
        except BaseException:  # nobody will hold this link: its arm must not stay armed, nor its pulse go on
            self.close()
            raise

    def close(self) -> None:
        """Stops the motor process in order (hold, ramp, leave); kills it if it does not. May be called twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self._child.exit_status() is None:
            self.requests.publish(Request.STOP)
        self._child.end(self.config.stop_timeout_s, wait_first=True)
        self._pulse.stop()
        self._parent.release()
        self._block.close()
        self._remove_block()

    def _death(self) -> str | None:
        if (status := self._child.exit_status()) is None:
            return None
        said = self.side.status()
        last = f"; it last said: {said.message}" if said.state in (MotorState.FAILED, MotorState.STOPPED) else ""
        return f"motor process {self.name!r} is dead ({status}){last}"

    def _sleep(self, duration_s: float) -> None:
        self._child.sleep(duration_s)

    def _remove_block(self) -> None:
        """Takes away what a killed motor process left behind; by now the name may have a new, living owner."""
        with contextlib.suppress(BlockInUse):
            remove_stale(self.config.motor.name)
