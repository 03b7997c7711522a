"""Compiles the kernels of the motor tick with Numba, and keys their cache.

Numba's own on-disk cache notices an edit in the file that holds a function, but not in the files that the function
calls. A limit changed in one file could go on running with its old value from another file's cache. So the cache
lives in a folder whose name is a hash of *all* kernel sources, the Numba version and the CPU: any edit leads to a
fresh folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
import numpy as np

_ROOT = Path(__file__).resolve().parent.parent

F = TypeVar("F", bound=Callable[..., Any])

Record = Any
"""A NumPy record inside a kernel: its fields are attributes, which no static type describes."""
Floats = Any
"""Inside a kernel: an array or a tuple of floats, indexed only, so that both may come."""


def kernel_sources(root: Path = _ROOT) -> list[Path]:
    """Returns the files under `root` on which compiled code depends, sorted.

    All of safety/, the files of controllers/ that hold a kernel, and the one that holds the constants and records
    that kernels freeze into themselves. A test compares this with what the kernels import.
    """
    files = list((root / "safety").rglob("*.py"))
    for path in (root / "controllers").rglob("*.py"):
        if path.name == "types.py" or b"\n@kernel\n" in path.read_bytes():
            files.append(path)
    return sorted(files)


@cache
def kernels_hash(root: Path = _ROOT) -> str:
    """Returns 16 hex digits that name the exact kernel sources, Numba version and CPU of this process."""
    digest = hashlib.sha256()
    for path in kernel_sources(root):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    digest.update(f"{numba.__version__} {platform.machine()} {llvmlite.binding.get_host_cpu_name()}".encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Returns the folder that holds this hash's compiled kernels (not created here)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "robot-rl" / "kernels" / kernels_hash()


def plain(function: F) -> F:
    """Lets `function` see the fields of records as attributes without Numba, as a compiled kernel does."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*(_with_attributes(argument) for argument in arguments))

    return call  # type: ignore[return-value]


def _with_attributes(argument: Any) -> Any:
    if isinstance(argument, np.void) and not isinstance(argument, np.record):
        return argument.view((np.record, argument.dtype))
    if isinstance(argument, np.ndarray) and argument.dtype.names and not isinstance(argument, np.recarray):
        return argument.view(np.recarray)
    return argument


def kernel(function: F) -> F:
    """Compiles `function` in nopython mode: strict IEEE arithmetic, no bounds checks, cached under `cache_folder()`.

    Fast-math stays off on purpose: the finite checks of the tick rely on NaN comparing false. With NUMBA_DISABLE_JIT=1
    kernels run as plain Python, for a debugger and for mutation tests.
    """
    if numba.config.DISABLE_JIT:
        return plain(function)
    numba.config.CACHE_DIR = str(cache_folder())
    return numba.njit(cache=True, fastmath=False, error_model="numpy")(function)  # type: ignore[no-any-return]
