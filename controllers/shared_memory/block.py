"""One shared block as a file under /dev/shm: create or reclaim, attach, remove.

The owner (motor process) creates the block and holds its lock; the kernel drops the lock when the owner dies, however
it dies. So a block without a live owner is stale: the next start of the same name takes it away and makes a new one.
"""

from __future__ import annotations

import mmap
import os
import re
import time
from pathlib import Path

import numpy as np

from controllers.shared_memory.layout import BLOCK_BYTES, HEADER, MAGIC, REGIONS, layout_hash
from controllers.shared_memory.liveness import OWNER_BYTE, PARENT_BYTE, PERSON_BYTE, boot_id, process_start, try_lock
from data.errors import UserError

FOLDER = Path("/dev/shm")
PREFIX = "robot-rl-"
_ATTEMPTS = 16
_RETRY_S = 0.005


class BlockError(UserError):
    """The block is missing, damaged, of another version, or cannot be made."""


class BlockInUse(BlockError):
    """Another live process holds the block."""


def block_path(name: str) -> Path:
    """Returns the file of a block; `name` may hold letters, digits, `.`, `_` and `-`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BlockError(f"a motor name holds 1 to 100 letters, digits, '.', '_' or '-', got {name!r}")
    return FOLDER / f"{PREFIX}{name}"


class SharedBlock:
    """A mapped block. Make one with `create` (owner) or `attach` (parent or observer), end it with `close`."""

    def __init__(self, name: str, fd: int, owner: bool) -> None:
        self.name = name
        self._fd = fd
        self._owner = owner
        self._map = mmap.mmap(fd, BLOCK_BYTES)
        self._memory = memoryview(self._map)

    @classmethod
    def create(cls, name: str) -> SharedBlock:
        """Makes the block and owns it; a stale one of the same name is taken away first.

        Raises BlockInUse when its owner lives, BlockError when /dev/shm cannot hold it.
        """
        path = block_path(name)
        for _ in range(_ATTEMPTS):
            _reclaim(path)
            fd = _unnamed_file(path.parent)
            block = cls(name, fd, owner=True)
            block._write_header()
            try:
                # The file appears under its name complete and locked: nobody ever sees half a header.
                # (A directory descriptor, here without effect, makes Python follow the link in /proc.)
                os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
            except FileExistsError:
                block.close()
                continue
            return block
        raise BlockInUse(f"{path} is made and taken away all the time by other processes; give this motor another name")

    @classmethod
    def attach(cls, name: str, command: bool = True, person: bool = False) -> SharedBlock:
        """Opens the block of a live motor process.

        `command` takes the seat of the one commanding process, `person` that of the one person at the buttons.

        Raises BlockError when there is none, it is damaged or of another version; BlockInUse when the seat is taken.
        """
        path = block_path(name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BlockError(f"no motor process named {name!r} runs (no {path}); start it first") from None
        try:
            _check(fd, path)
            if command and not try_lock(fd, PARENT_BYTE):
                raise BlockInUse(f"another process already commands the motor process {name!r}; end it first")
            if person and not try_lock(fd, PERSON_BYTE):
                raise BlockInUse(f"somebody else is at the buttons of the motor process {name!r}; wait until they left")
            return cls(name, fd, owner=False)
        except BlockError:
            os.close(fd)
            raise

    def region(self, name: str) -> memoryview:
        """Returns the bytes of one region of layout.REGIONS; release the view before `close`."""
        start, size = REGIONS[name]
        return self._memory[start : start + size]

    def abandoned(self) -> bool:
        """Whether its owner is dead, or another process has made a new block of this name since."""
        return not _same_file(self._fd, block_path(self.name)) or not _owner_lives(_read_header(self._fd))

    def close(self) -> None:
        """Unmaps the block; the owner also takes its file away."""
        if self._fd < 0:
            return
        if self._owner and _same_file(self._fd, block_path(self.name)):
            block_path(self.name).unlink()
        self._memory.release()
        self._map.close()
        os.close(self._fd)  # drops the locks, after the file is gone
        self._fd = -1

    def _write_header(self) -> None:
        header = np.zeros((), HEADER)
        header["magic"], header["layout"], header["boot"] = MAGIC, layout_hash(), boot_id()
        header["owner_pid"] = os.getpid()
        header["owner_start"] = process_start(os.getpid()) or 0
        self._memory[: HEADER.itemsize] = header.tobytes()


def remove_stale(name: str) -> bool:
    """Takes away the block of a dead owner; returns whether there was one. Raises BlockInUse when its owner lives."""
    return _reclaim(block_path(name))


def _unnamed_file(folder: Path) -> int:
    """Returns a locked file of the block's size without a name, so that kill -9 in the middle leaves nothing."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BlockError(f"expected a writable tmpfs at {folder}, got: {error.strerror}; mount /dev/shm") from None
    try:
        os.posix_fallocate(fd, 0, BLOCK_BYTES)  # a page that cannot be had later would kill the loop with SIGBUS
    except OSError as error:
        os.close(fd)
        needs = f"a motor process needs {BLOCK_BYTES >> 10} KiB in {folder}"
        raise BlockError(f"{needs}, got: {error.strerror}; free or enlarge it") from None
    if not try_lock(fd, OWNER_BYTE):
        os.close(fd)
        raise BlockError(f"the file system of {folder} grants no locks; mount /dev/shm as tmpfs")
    return fd


def _reclaim(path: Path) -> bool:
    """Unlinks the block if nobody owns it; returns whether there was one. Raises BlockInUse if its owner lives."""
    for _ in range(_ATTEMPTS):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except PermissionError:
            raise BlockInUse(f"{path} belongs to another user; give this motor another name") from None
        try:
            header = _read_header(fd)
            if header is not None and _owner_lives(header):
                whose = f"the motor process with pid {int(header['owner_pid'])} already owns {path}"
                raise BlockInUse(f"{whose}; stop it, or give this motor another name")
            if try_lock(fd, OWNER_BYTE):
                if _same_file(fd, path):  # else another process was quicker and made a new one
                    path.unlink()
                return True
        finally:
            os.close(fd)
        time.sleep(_RETRY_S)  # the owner is dead: whoever holds its lock is taking the block away right now
    raise BlockInUse(f"another process keeps the lock of {path}, whose owner is dead; end it, or take another name")


def _check(fd: int, path: Path) -> None:
    """Raises BlockError unless the file is a whole block of this version whose owner lives."""
    header = _read_header(fd)
    if header is None or header["magic"] != MAGIC:
        raise BlockError(f"{path} is no motor block (wrong magic); remove it and start the motor process again")
    if header["layout"] != layout_hash():
        theirs, ours = header["layout"].item().decode("ascii", "replace"), layout_hash().decode()
        raise BlockError(
            f"{path} has layout {theirs!r}, this version expects {ours!r}; "
            "run the motor process and its parent from one version"
        )
    size = os.fstat(fd).st_size
    if size != BLOCK_BYTES:
        raise BlockError(
            f"{path} has {size} bytes, expected {BLOCK_BYTES}; remove it and start the motor process again"
        )
    if not _owner_lives(header):
        raise BlockError(f"the motor process that made {path} is dead (pid {int(header['owner_pid'])}); start it again")


def _owner_lives(header: np.void | None) -> bool:
    if header is None or header["magic"] != MAGIC or header["boot"] != boot_id():
        return False
    return process_start(int(header["owner_pid"])) == int(header["owner_start"])


def _read_header(fd: int) -> np.void | None:
    """Returns the header, or None if the file is shorter than one."""
    raw = os.pread(fd, HEADER.itemsize, 0)
    if len(raw) < HEADER.itemsize:
        return None
    return np.frombuffer(raw, HEADER)[0]  # type: ignore[no-any-return]


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
