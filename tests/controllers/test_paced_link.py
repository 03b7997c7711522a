"""A motor process that runs no tick counts as dead, also after this process itself lay still for a while."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from controllers.motor_child import MotorProcessDied
from controllers.paced_link import LinkTimeouts, PacedLink
from controllers.pulse import Pulse
from controllers.shared_memory import SharedBlock
from controllers.shared_memory.sides import ParentSide

WAITED_S = 3.0


class LyingStill(Pulse):
    """A pulse that was silent until it was made."""

    def __init__(self) -> None:
        super().__init__(lambda now_ns, pid: None)
        self._woke_ns = time.monotonic_ns()

    def silent_since(self, moment_ns: int, length_ns: int) -> bool:
        return moment_ns < self._woke_ns


class NobodyTicks(PacedLink):
    """A link to a block whose motor process is not known to be dead."""

    def __init__(self, block: SharedBlock, pulse: Pulse) -> None:
        self._until_s = time.monotonic() + WAITED_S
        self._parent = ParentSide(block)
        super().__init__("nobody", self._parent, pulse, LinkTimeouts(stall_s=0.1))

    def _death(self) -> str | None:
        return None

    def _sleep(self, duration_s: float) -> None:
        assert time.monotonic() < self._until_s, "it waits for ever"
        time.sleep(duration_s)

    def close(self) -> None:
        self._pulse.stop()
        self._parent.release()


@pytest.fixture
def block() -> Iterator[SharedBlock]:
    block = SharedBlock.create(f"test-{uuid.uuid4().hex[:12]}")
    yield block
    block.close()


@pytest.mark.parametrize("slept", [False, True], ids=["awake", "asleep-before"])
def test_a_silent_motor_process_is_told_though_this_process_slept(block: SharedBlock, slept: bool) -> None:
    ticks_ns = time.monotonic_ns()
    link = NobodyTicks(block, LyingStill() if slept else Pulse(lambda now_ns, pid: None))
    link._ticks, link._ticks_ns = 0, ticks_ns  # the last tick it saw, before it slept
    try:
        with pytest.raises(MotorProcessDied, match=r"runs no tick for \d+\.\d s"):
            link.step(0.5)
    finally:
        link.close()
