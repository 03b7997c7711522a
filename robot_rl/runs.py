"""Run folders: one owner at a time, resumed by default, with the configuration and the versions that made them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.atomic import FolderLock, is_disk_full, write_atomic
from data.errors import UserError
from robot_rl.metrics import METRICS_FILE, TENSORBOARD_FOLDER
from robot_rl.options import Config, may_change

CONFIG_FILE = "config.json"
VERSIONS_FILE = "versions.json"


class RunFolder:
    """An open run folder; this process owns it until `close` or its end, however it ends.

    `resumed` tells whether the folder held an earlier part of the same run.
    """

    def __init__(self, path: Path, lock: FolderLock, resumed: bool) -> None:
        self.path, self.resumed = path, resumed
        self._lock = lock

    @classmethod
    def open(cls, path: str | os.PathLike[str], config: Config, fresh: bool = False) -> RunFolder:
        """Creates the folder or takes up the run in it, and writes config.json and versions.json.

        Raises `UserError` if another process owns the folder, if it holds something else than this run (naming the
        settings that differ; those marked `may_change` may), or with `fresh` if it holds anything.
        """
        folder = Path(path).expanduser()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"expected a folder for the run at {folder}, found a file; choose another out")
        make_folder(folder)
        lock = FolderLock(folder)
        try:
            resumed = _check_content(folder, config, fresh)
            _write_config(folder, config)
            _write_versions(folder)
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, resumed)

    @classmethod
    def attach(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Takes ownership of an existing run without changing what it says of itself.

        Raises `UserError` if there is no run or another process owns it.
        """
        folder = Path(path).expanduser()
        if not (folder / CONFIG_FILE).is_file():
            raise UserError(f"expected a run folder with {CONFIG_FILE} at {folder}, found none; give the out of a run")
        return cls(folder, FolderLock(folder), True)

    def close(self) -> None:
        """Gives the folder free; harmless when called again."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_folder(path: Path) -> None:
    """Makes a folder and those above it where they are missing. Raises `UserError` where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UserError(f"cannot make the folder {path} ({error.strerror}); choose another out") from error


def as_stored(config: Config) -> dict[str, Any]:
    """Returns the configuration as config.json holds it: all but `fresh`, and the name of its class under `kind`."""
    values = dataclasses.asdict(config)
    values.pop("fresh", None)
    stored: dict[str, Any] = json.loads(json.dumps({"kind": type(config).__name__, **values}))
    return stored


def _check_content(folder: Path, config: Config, fresh: bool) -> bool:
    """Returns whether the folder holds an earlier part of this run; `UserError` where it holds something else."""
    # hidden files are our lock and what a killed write left; they are no content
    content = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not content:
        return False
    if fresh:
        raise UserError(f"fresh=true needs an absent or empty out, but {folder} holds {content[0]}; choose another out")
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{folder} holds {content[0]} but no {CONFIG_FILE}, so it is no run folder; choose another out")
    if not _anything_recorded(folder, content):
        return False  # a start that failed at once, for instance over a misspelt name, binds nobody
    refuse_difference(folder, read_json(path), config)
    return True


def _anything_recorded(folder: Path, content: list[str]) -> bool:
    beginnings = {CONFIG_FILE, VERSIONS_FILE, METRICS_FILE, TENSORBOARD_FOLDER}
    metrics = folder / METRICS_FILE
    return not beginnings.issuperset(content) or (metrics.is_file() and metrics.stat().st_size > 0)


def refuse_difference(folder: Path, stored: dict[str, Any], config: Config) -> None:
    """Raises `UserError`, naming the settings, where a run that `stored` describes is not the one of `config`."""
    wished = as_stored(config)
    stored = _defaults(config) | stored  # a setting that a former version did not know had its default's effect
    free = may_change(config) | {"out"}  # the same folder may be written in several ways
    if stored.get("kind") != wished["kind"]:
        raise UserError(f"{folder} holds a run of {stored.get('kind')}, not of {wished['kind']}; choose another out")
    names = [name for name in wished if name not in free and stored.get(name) != wished[name]]
    if names:
        differences = ", ".join(f"{name} (there {stored.get(name)}, asked {wished[name]})" for name in names)
        raise UserError(f"{folder} holds a run with other settings: {differences}; give the same ones or another out")


def _defaults(config: Config) -> dict[str, Any]:
    return {
        entry.name: entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
        for entry in dataclasses.fields(config)
    }


def _write_config(folder: Path, config: Config) -> None:
    write_atomic(folder / CONFIG_FILE, json.dumps(as_stored(config), indent=2) + "\n")


def _write_versions(folder: Path) -> None:
    """Appends this program's surroundings unless they are the ones of the last start."""
    _append_version(folder, "environments", environment())


def note_demonstrations(folder: Path, episodes: int, digest: str) -> None:
    """Appends to versions.json what a run learns from, unless it is what was noted last."""
    _append_version(folder, "demonstrations", {"episodes": episodes, "sha256": digest})


def note_safety_layers(folder: Path, layers: dict[str, str]) -> None:
    """Appends to versions.json which safety layers a run has, by name, unless it is what was noted last."""
    _append_version(folder, "safety_layers", layers)


def note_critic(folder: Path, sha256: str, threshold: float) -> None:
    """Notes in versions.json which safety critic a run has: the digest of its weights, and its threshold.

    Raises `UserError` where the run was begun with another: its records would be of two arms.
    """
    current: dict[str, Any] = {"sha256": sha256, "threshold": threshold}
    path = folder / VERSIONS_FILE
    former: list[dict[str, Any]] = read_json(path).get("safety_critics", []) if path.is_file() else []
    begun = _anything_recorded(folder, [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")])
    if former and former[-1] != current and begun:
        there, here = (f"{one['sha256'][:12]}, threshold {one['threshold']:g}" for one in (former[-1], current))
        raise UserError(
            f"{folder} was begun with another safety critic (there {there}; in critic_file now {here}): restore that "
            "one, or choose another out"
        )
    _append_version(folder, "safety_critics", current)


def _append_version(folder: Path, name: str, current: Mapping[str, Any]) -> None:
    path = folder / VERSIONS_FILE
    versions: dict[str, list[dict[str, Any]]] = read_json(path) if path.is_file() else {"environments": []}
    history = versions.get(name, [])
    if not history or history[-1] != current:
        write_atomic(path, json.dumps(versions | {name: [*history, current]}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file. Raises `UserError` where it cannot be read as one."""
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); restore it or choose another folder") from error
    return loaded


@cache
def environment() -> dict[str, Any]:
    """Returns what numbers may depend on: Python, packages, processor, kernels, source commit."""
    from safety.compilation import kernels_hash

    return {
        "python": platform.python_version(),
        "packages": package_versions(),
        "system": f"{platform.system()} {platform.machine()}",  # no release: it may hold a machine's name
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 0,
        "kernels_hash": kernels_hash(),
        "commit": git_commit(),
    }


def package_versions() -> dict[str, str]:
    """Returns the installed version of this project and of each of its direct dependencies that is installed."""
    names = ["robot-rl"]
    for requirement in requires("robot-rl") or []:
        text = requirement.partition(";")[0]
        names.append(text.partition("[")[0].split(">")[0].split("=")[0].split("<")[0].strip())
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return found


def cpu_name() -> str:
    """Returns the processor's name as the kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git_commit() -> str | None:
    """Returns the commit of the source tree, with `+` where it differs from that; None outside a git checkout.

    Results do not count: an experiment writes its own among the tracked files.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/results")
    except (OSError, subprocess.SubprocessError):
        return None  # git is absent or the folder belongs to somebody else: the versions do without
    return commit + ("+" if changed else "")
