"""Files that are there wholly or not at all, and folders that have one owner.

A file is written beside its place, forced to the disk, renamed over its place, and the rename is forced to the disk. A
crash at any moment leaves either the old content or the new one; what it may leave besides is a hidden temporary file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_serial = count()


def is_disk_full(error: BaseException) -> bool:
    """Tells whether `error` says that no more bytes fit: no space, quota used up, or file size limit reached."""
    return isinstance(error, OSError) and error.errno in _FULL


def fsync(path: str | os.PathLike[str]) -> None:
    """Forces the content of a file, or the entries of a folder (names, renames, removals), to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` into the new file `path`, without forcing it to the disk; an error may leave a part of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Replaces the content of `path`: after a crash or an `OSError` it holds the old content or the new one, whole."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{next(_serial)}.tmp")
    try:
        write_new(temporary, content)
        fsync(temporary)
        temporary.replace(target)
        fsync(target.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Does as `replace_file` (text as UTF-8); raises `UserError` where the disk is full."""
    try:
        replace_file(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        if is_disk_full(error):
            message = f"disk full while writing {path}: its former content is intact; free some space and try again"
            raise UserError(message) from error
        raise


def is_leftover(name: str) -> bool:
    """Tells whether a file name is that of a temporary file of `replace_file`."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Removes the temporary files that killed writers left in `folder`, and returns their names.

    Only for the one who owns the folder (see `FolderLock`): another's file in the making would be removed as well.
    """
    found = [item for item in Path(folder).iterdir() if is_leftover(item.name)]
    for item in found:
        item.unlink()
    return [item.name for item in found]


def save_arrays_atomic(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Replaces `path` by a safetensors file of numeric `arrays` and text `metadata`, as `write_atomic` does."""
    from safetensors.numpy import save

    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomic(path, _canonical(save(plain, dict(metadata) if metadata else None)))


def _canonical(content: bytes) -> bytes:
    """Returns a safetensors file with its header's keys in order: the library's own order differs from call to call."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # arrays begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Returns the arrays and the metadata of a safetensors file; `UserError` where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"expected a safetensors file at {path}, found none; check the path")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}); restore it from a copy") from error


class FolderLock:
    """Ownership of a folder by one process, from construction to `release` or the end of the process (however it ends).

    It is a `flock` on `folder/.lock`, so that a killed owner never leaves the folder locked. The file stays, and means
    nothing once nobody holds it. A forked child shares the lock with its parent; a program started with exec does not.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Takes the lock on an existing `folder`; raises `UserError`, naming the other process, where it is taken."""
        self.folder = Path(folder)
        self._descriptor: int | None = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            message = f"{self.folder} is in use by process {owner}; wait until that ends, or choose another folder"
            raise UserError(message) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if not is_disk_full(error):  # a full disk costs only the pid in another process's message
                self.release()
                raise

    @property
    def held(self) -> bool:
        """Whether this object still holds the lock."""
        return self._descriptor is not None

    def release(self) -> None:
        """Gives the folder free; harmless when called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
