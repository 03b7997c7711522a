"""Builds our two libraries for Gazebo's server with the host's compiler, once for each state of their sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from controllers.description.sdf import PLUGIN
from controllers.robots.gazebo.prefix import HERE, Prefix
from data.errors import UserError

LOOPBACK = "librobot_rl_loopback.so"
_SOURCES = {PLUGIN: "lockstep_plugin.cc", LOOPBACK: "loopback.cc"}
_HEADERS = ("dart_contacts.hh", "lockstep_socket.hh")
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra")
_INCLUDES = (
    "gazebo-11",
    "gazebo-11/gazebo",
    "sdformat-9.3",
    "ignition/math6",
    "ignition/common3",
    "ignition/msgs5",
    "ignition/transport8",
    "x86_64-linux-gnu",
    "",
)


def built(prefix: Prefix) -> Path | None:
    """Returns the folder of the libraries of the present sources; None if they are not built yet."""
    folder = _folder(prefix)
    return folder if all((folder / name).is_file() for name in _SOURCES) else None


def build(prefix: Prefix) -> Path:
    """Returns the folder of the libraries, built here if they are not there. Raises UserError if that fails."""
    prefix.root.mkdir(parents=True, exist_ok=True)
    with (prefix.root / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = built(prefix)
        if folder is not None:
            return folder
        compiler = shutil.which("g++")
        if compiler is None:
            raise UserError("no C++ compiler: apt-get install g++, then again; Gazebo's plugin is built here")
        folder = _folder(prefix)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=prefix.root))
        try:
            for library, source in _SOURCES.items():
                _compile(compiler, prefix, HERE / source, work / library)
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return folder


def _folder(prefix: Prefix) -> Path:
    texts = [(HERE / name).read_bytes() for name in (*_SOURCES.values(), *_HEADERS)]
    key = hashlib.sha256(b"\0".join([*texts, " ".join(_FLAGS).encode()])).hexdigest()[:12]
    return prefix.root / f"plugin-{key}"


def _compile(compiler: str, prefix: Prefix, source: Path, library: Path) -> None:
    includes = [word for name in _INCLUDES for word in ("-isystem", str(prefix.headers / "usr/include" / name))]
    command = [compiler, *_FLAGS, str(source), "-o", str(library), *includes, "-ldl"]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or ["the compiler said nothing"]
        raise UserError(f"cannot build {source.name} with {compiler}: {errors[0]}")
