"""Brings Gazebo 11 into the user's cache: packages, headers, and our plugin built with them."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from controllers.robots.gazebo.debian import Mirror, Say, host_mirror
from controllers.robots.gazebo.plugin import build
from controllers.robots.gazebo.prefix import Prefix, packages, prefix
from data.errors import UserError

_NEEDED_FREE_BYTES = 1_400_000_000
"""What is unpacked, and for a while the packages beside it."""


class Installed(NamedTuple):
    """What an installation did."""

    where: Prefix
    fetched_bytes: int
    """0 if it was there already."""


def install(mirror: str | None, say: Say) -> Installed:
    """Fetches and unpacks what is missing, and builds the plugin. Raises UserError with the cure for what is missing.

    mirror: address of a Debian mirror; None: that of the host's own apt sources. say: is told each step.
    """
    if shutil.which("g++") is None:  # before the long part
        raise UserError("no C++ compiler: apt-get install g++, then again; Gazebo's plugin is built here")
    target = prefix()
    base = target.root.parent
    base.mkdir(parents=True, exist_ok=True)
    fetched = 0
    with (base / f"{target.root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.complete:
            fetched = _fetch(target, mirror or host_mirror(), say)
    say("building the plugin")
    build(target)
    return Installed(target, fetched)


def _fetch(target: Prefix, mirror: str, say: Say) -> int:
    """Fills the folder of a prefix, which appears only once all is in it; returns the bytes fetched."""
    base = target.root.parent
    free = shutil.disk_usage(base).free
    if free < _NEEDED_FREE_BYTES:
        raise UserError(
            f"expected {_NEEDED_FREE_BYTES / 1e9:.1f} GB of free space in {base}, got {free / 1e9:.1f} GB: make room, "
            "or set XDG_CACHE_HOME"
        )
    shutil.rmtree(target.root, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=base) as folder:
        work = Path(folder)
        say(f"reading the list of packages of {mirror}")
        source = Mirror(work / "apt", mirror)
        source.refresh()
        filled = Prefix(work / "filled")
        fetched = 0
        for name, into in (("packages", filled.root), ("headers", filled.headers)):
            names = packages(name)
            say(f"fetching and unpacking {len(names)} packages")
            fetched += source.unpack(names, into)
        (filled.root / "complete").touch()
        filled.root.rename(target.root)
    return fetched
