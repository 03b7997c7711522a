"""A latch outlives the process that it stopped: a small file in shared memory, until a person resets or the boot ends.

Otherwise whoever restarts a program, a script in a loop perhaps, would end every latch. The file has one layout,
whatever the settings are, and a checksum: one that is cut, torn or of another version latches, since it may have held a
latch.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controllers.shared_memory.block import FOLDER, BlockError, block_path
from safety.reasons import Reason
from safety.supervision import MAX_RECOVERIES, SupervisorState
from safety.supervisor import Supervisor

_MAGIC = 0x52524C4C41544332  # "RRLLATC2"
_WORDS = 5 + MAX_RECOVERIES
"""Magic, checksum of what follows, state, reason (0: no latch), count and times [ns] of the automatic recoveries."""


def latch_path(name: str) -> Path:
    """Returns the file of a motor's latch. Raises BlockError for a name that no motor may have."""
    block_path(name)
    return FOLDER / f"robot-rl.latch-{name}"


def forget_latch(name: str) -> bool:
    """A person has looked: the next motor process of this name begins without a latch. Returns whether there was one.

    After a ROBOT_FAULT that process may also clear the robot's own error, see take_leave.

    Raises BlockError where the file belongs to another user.
    """
    try:
        former = latch_path(name).read_bytes()
        latch_path(name).unlink()
    except FileNotFoundError:
        return False
    except PermissionError:
        raise BlockError(f"{latch_path(name)} belongs to another user, who has to reset") from None
    if former[24:32] == int(Reason.ROBOT_FAULT).to_bytes(8, "little"):
        _leave_path(name).write_text(str(time.monotonic_ns()), encoding="ascii")
    return True


def _leave_path(name: str) -> Path:
    return FOLDER / f"robot-rl.leave-{name}"


def take_leave(name: str, now_ns: int, valid_s: float) -> bool:
    """Returns whether a person has reset a motor that was not running within valid_s; one reset is one leave."""
    try:
        given_ns = int(_leave_path(name).read_text(encoding="ascii"))
        _leave_path(name).unlink()
    except (OSError, ValueError):
        return False
    return 0 <= now_ns - given_ns <= round(valid_s * 1e9)


class LatchMemory:
    """Keeps a supervisor's latch and budget in step with their file, by a plain store into mapped memory."""

    def __init__(self, name: str, supervisor: Supervisor) -> None:
        """Takes over what a former process left. Raises BlockError if the file cannot be had."""
        self._path, self._supervisor = latch_path(name), supervisor
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:
            raise BlockError(f"{self._path} belongs to another user; give this motor another name") from None
        try:
            former = os.pread(fd, 8 * _WORDS + 1, 0)
            os.ftruncate(fd, 8 * _WORDS)
            os.posix_fallocate(fd, 0, 8 * _WORDS)
            self._map = mmap.mmap(fd, 8 * _WORDS)
        finally:
            os.close(fd)
        _hand_over(former, supervisor)
        self._kept = -1
        self.keep()

    def keep(self) -> None:
        """Writes the memory if a latch came or went since the last call; otherwise it costs one comparison."""
        supervisor = self._supervisor
        mark = supervisor.trips + supervisor.automatic + supervisor.by_person + supervisor.simulated
        if mark == self._kept:
            return
        self._kept = mark
        recoveries = supervisor.recoveries
        words = np.zeros(_WORDS, np.int64)
        words[2], words[3], words[4] = supervisor.state, supervisor.reason, len(recoveries)
        words[5 : 5 + len(recoveries)] = recoveries
        words[0], words[1] = _MAGIC, _checksum(words)
        self._map[:] = words.tobytes()

    def close(self, now_ns: int) -> None:
        """Lets go of the file, and takes it away unless it holds a latch or a budget that is partly used up."""
        self.keep()
        supervisor = self._supervisor
        if not supervisor.latched and supervisor.recoveries_left(now_ns) == supervisor.config.automatic_max:
            self._path.unlink(missing_ok=True)
        self._map.close()


def _checksum(words: NDArray[np.int64]) -> int:
    return zlib.crc32(words[2:].tobytes())


def _hand_over(former: bytes, supervisor: Supervisor) -> None:
    """Tells a supervisor what the bytes of a file say: nothing where it is new, a latch where it is not whole."""
    if not former.strip(b"\0"):
        return
    words = np.frombuffer(former, np.int64) if len(former) == 8 * _WORDS else np.zeros(_WORDS, np.int64)
    state, reason, count = (int(word) for word in words[2:5])
    whole = words[0] == _MAGIC and words[1] == _checksum(words)
    now_ns = time.monotonic_ns()
    if not whole:
        supervisor.inherit(SupervisorState.PROTECTIVE_STOP, int(Reason.LATCH_UNREADABLE), [], now_ns)
    else:
        supervisor.inherit(SupervisorState(state), reason, words[5 : 5 + count].tolist(), now_ns)
