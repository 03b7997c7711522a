"""Settings that make small networks quick on a CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@contextmanager
def quick_torch(threads: int = 1) -> Iterator[None]:
    """While it lasts: PyTorch uses `threads` threads and denormal numbers are flushed to zero. Also a decorator.

    Both are restored at the end, so that a program which trains does not find its own arithmetic changed afterwards.
    What stays is that the C library keeps freed memory: otherwise glibc may hand each freed half-megabyte tensor back
    to the system and fault it in again page by page: two thousand faults an update, a third of its time.
    """
    import torch

    threads_before, flushed_before = torch.get_num_threads(), flushes_denormals()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.set_flush_denormal(flushed_before)


def flushes_denormals() -> bool:
    """Whether this thread's arithmetic takes denormal numbers for zero."""
    smallest_normal = np.finfo(np.float64).tiny
    return bool(np.float64(smallest_normal) * np.float64(0.5) == 0.0)


def _keep_freed_memory() -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # absent in C libraries other than glibc, which do not need it
            libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_M_TRIM_THRESHOLD, 512 << 20)
