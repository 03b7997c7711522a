"""Settings of the process that make small networks quick on a CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def prepare_torch(threads: int = 1) -> None:
    """Sets PyTorch's threads, flushes denormal numbers to zero, and lets the C library keep freed memory.

    Without the last, glibc may hand each freed half-megabyte tensor back to the system and fault it in again page by
    page: two thousand faults an update, a third of its time. Call it once, early, in each process that trains.
    """
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # absent in C libraries other than glibc, which do not need it
            libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_M_TRIM_THRESHOLD, 512 << 20)
