"""Follows the arm of a motor process on the same machine, by the reports in its shared block; it only looks."""

from __future__ import annotations

from collections.abc import Mapping

from controllers.cameras.base import CameraLost
from controllers.cameras.scene_feed import SceneState
from controllers.description.geometry import Pose
from controllers.shared_memory.block import BlockError, SharedBlock
from controllers.shared_memory.layout import RING_CAPACITY, MotorState, Status
from controllers.shared_memory.ring import RingReader
from controllers.types import REPORT

_OVER = (MotorState.STOPPED, MotorState.FAILED)


class MotorFeed:
    """Where the simulated arm of a motor process is now.

    `place` may come from any thread, everything else from the thread of the camera. A report does not say where
    fixtures are: they are drawn where they were placed, a sliding one also after it was pushed.
    """

    def __init__(self, motor: str) -> None:
        """motor: the name of the motor process, looked for at the first `state`."""
        self.motor = motor
        self._fixtures: Mapping[str, Pose] = {}
        self._block: SharedBlock | None = None

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Says where a movable fixture stands from now on."""
        self._fixtures = {**self._fixtures, fixture: T_base_fixture}

    def state(self) -> SceneState:
        """Returns the newest state. Raises CameraLost where the motor process is not there or has ended."""
        if self._block is None:
            self._attach()
        report = self._ring.newest()
        if report is None or self._status[Status.STATE] in _OVER:
            raise CameraLost(f"motor process {self.motor!r} gives no reports: the simulated camera has nothing to show")
        return SceneState(
            int(report["stamp_ns"][0]), report["q_rad"][0].copy(), float(report["gripper_m"][0]), self._fixtures
        )

    def close(self) -> None:
        """Lets go of the shared block; may be called twice."""
        if self._block is not None:
            self._ring.release()
            self._status.release()
            self._block.close()
            self._block = None

    def _attach(self) -> None:
        try:
            block = SharedBlock.attach(self.motor, command=False)
        except BlockError as error:
            raise CameraLost(f"the simulated camera has nothing to show: {error}") from error
        self._block = block
        self._ring = RingReader(block.region("ring"), REPORT, RING_CAPACITY)
        self._status = block.region("status").cast("q")
