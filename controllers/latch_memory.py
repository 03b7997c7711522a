"""A latch outlives the process that it stopped: a small file in shared memory, until a person resets or the boot ends.

Otherwise whoever restarts a program, a script in a loop perhaps, would end every latch.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from controllers.shared_memory.block import FOLDER, BlockError, block_path
from safety.supervision import Heartbeat
from safety.supervisor import Supervisor

_MAGIC = 0x52524C4C41544348  # "RRLLATCH"
_WORDS = 160


def latch_path(name: str) -> Path:
    """Returns the file of a motor's latch. Raises BlockError for a name that no motor may have."""
    block_path(name)
    return FOLDER / f"robot-rl.latch-{name}"


def forget_latch(name: str) -> bool:
    """A person has looked: the next motor process of this name begins without a latch. Returns whether there was one.

    Raises BlockError where the file belongs to another user.
    """
    try:
        latch_path(name).unlink()
    except FileNotFoundError:
        return False
    except PermissionError:
        raise BlockError(f"{latch_path(name)} belongs to another user, who has to reset") from None
    return True


class LatchMemory:
    """Keeps a supervisor's memory in step with its file, by plain stores into mapped memory."""

    def __init__(self, name: str, supervisor: Supervisor) -> None:
        """Takes over what a former process left. Raises BlockError if the file cannot be had."""
        self._path, self._supervisor = latch_path(name), supervisor
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:
            raise BlockError(f"{self._path} belongs to another user; give this motor another name") from None
        try:
            os.posix_fallocate(fd, 0, 8 * _WORDS)
            self._map = mmap.mmap(fd, 8 * _WORDS)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("q")
        self._size = len(supervisor.memory())
        if self._words[0] == _MAGIC and self._words[1] == self._size:
            supervisor.recall(np.array(self._words[2 : 2 + self._size], np.int64))
            supervisor.trips = 0  # counts those of this process
            for source in Heartbeat:  # they gave theirs to the former process
                supervisor.forget(source)
        self._kept = -1
        self.keep()

    def keep(self) -> None:
        """Writes the memory if a latch came or went since the last call; otherwise it costs one comparison."""
        supervisor = self._supervisor
        mark = supervisor.trips + supervisor.automatic + supervisor.by_person + supervisor.simulated
        if mark == self._kept:
            return
        self._kept = mark
        for index, word in enumerate(supervisor.memory()):
            self._words[2 + index] = int(word)
        self._words[1], self._words[0] = self._size, _MAGIC

    def close(self, now_ns: int) -> None:
        """Lets go of the file, and takes it away unless it holds a latch or a budget that is partly used up."""
        self.keep()
        supervisor = self._supervisor
        if not supervisor.latched and supervisor.recoveries_left(now_ns) == supervisor.config.automatic_max:
            self._path.unlink(missing_ok=True)
        self._words.release()
        self._map.close()
