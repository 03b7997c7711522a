"""Shared memory that killed ROS programs leave behind: 32 MB a program, which a long run of tests must not pile up."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

SHARED = Path("/dev/shm")


def remove_leftovers() -> int:
    """Removes segments and ports of Fast DDS that no living process has mapped or open; returns how many."""
    there = list(SHARED.glob("*fastdds_*"))  # first: what appears while the processes are looked at is somebody's
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (process / "maps").read_text().splitlines()
            used |= {line.split("/")[-1] for line in lines if "fastdds_" in line}
            for link in (process / "fd").iterdir():
                with contextlib.suppress(OSError):  # closed since
                    used.add(link.readlink().name)
    plain = {name.removesuffix(" (deleted)").removeprefix("sem.") for name in used}
    removed = 0
    for path in there:
        if path.name.removeprefix("sem.") not in plain:
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


@contextlib.contextmanager
def cleared_where_nobody_else_tests() -> Iterator[None]:
    """Removes leftovers before and after, unless other tests run meanwhile: what they just made may look unused."""
    path = Path(tempfile.gettempdir()) / "robot-rl-ros-domains"
    path.mkdir(exist_ok=True)
    with (path / "tests").open("w") as lock:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers()
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers()
