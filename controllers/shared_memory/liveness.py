"""Whether the process that made a block still lives: boot, process id, start time, lock."""

from __future__ import annotations

import fcntl
import os
import struct
from functools import cache
from pathlib import Path

OWNER_BYTE = 0
"""Byte of the file whose lock the owner (motor process) holds for its whole life."""
PARENT_BYTE = 1
"""Byte whose lock the commanding process holds while it is attached."""
PERSON_BYTE = 2
"""Byte whose lock the seat of a person, who presses buttons, holds while it is attached."""

_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid, padding to 32 bytes


def try_lock(fd: int, byte: int) -> bool:
    """Locks one byte of an open file without waiting; returns whether it was obtained.

    Open-file-description locks: the kernel drops them when the last descriptor of that opening closes, kill -9
    included, and two openings conflict even inside one process.
    """
    wish = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wish)
    except BlockingIOError:
        return False
    except PermissionError:  # POSIX lets a system answer EACCES for "held by another"
        return False
    return True


@cache
def boot_id() -> bytes:
    """Returns the identity of the running kernel: it changes with every boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()


def process_start(pid: int) -> int | None:
    """Returns when a process started [clock ticks after boot], or None if there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold spaces
    return None if fields[0] in "ZX" else int(fields[19])
