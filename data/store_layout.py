"""Folders and files around the episodes of a store: names, descriptions, moves that a crash cannot leave half done."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from data import plain_json
from data.atomic import fsync, remove_leftovers, write_atomic
from data.episode_folder import MANIFEST, DamagedEpisode, read_files, read_manifest
from data.errors import UserError
from data.spec import StoreSpec

ROOT, SPEC_COPY, EPISODES, INCOMING, QUARANTINE = "zarr.json", "spec.json", "episodes", ".incoming", "quarantine"
SALVAGE = "salvage-"
"""Prefix of a temporary folder that holds what `repair` saved of a damaged episode."""

_EPISODE_NAME = re.compile(r"\d{6,}")
_GROUP_NODE = {"zarr_format": 3, "node_type": "group"}


def episode_name(index: int) -> str:
    """Returns the folder name of an episode."""
    return f"{index:06d}"


def write_descriptions(folder: Path, spec: StoreSpec) -> None:
    """Writes the two copies of the spec and the groups around the episodes; the root, which makes it a store, last."""
    for part in (folder, folder / EPISODES):
        remove_leftovers(part)
    for name, text in descriptions(spec).items():
        write_atomic(folder / name, text)


def descriptions(spec: StoreSpec) -> dict[str, str]:
    """Returns the text of each file that describes a store, by relative path; the root last."""
    value = spec.to_json()
    described = {"spec": value, "digest": plain_json.digest(value)}
    return {
        SPEC_COPY: plain_json.dumps(described, "the spec"),
        f"{EPISODES}/{ROOT}": plain_json.dumps({"attributes": {}, **_GROUP_NODE}, "a group"),
        ROOT: plain_json.dumps({"attributes": described, **_GROUP_NODE}, "the spec"),
    }


def read_spec(folder: Path) -> StoreSpec:
    """Returns the spec of the store at `folder`; `UserError` where there is none or its description is damaged."""
    if not (folder / ROOT).is_file():
        hint = f"run: robot-rl data repair {folder}" if (folder / SPEC_COPY).is_file() else "check the path"
        raise UserError(f"expected an episode store at {folder}, found none (no {ROOT}); {hint}")
    try:
        return described_spec(folder / ROOT)
    except DamagedEpisode as error:
        raise UserError(f"{error}; run: robot-rl data repair {folder}") from error


def described_spec(path: Path) -> StoreSpec:
    """Returns the spec that one of its two copies holds; `DamagedEpisode` where its digest does not fit."""
    try:
        value: Any = plain_json.loads(path.read_bytes(), str(path))
        described = value["attributes"] if path.name == ROOT else value
        spec, digest = described["spec"], described["digest"]
    except (UserError, OSError, KeyError, TypeError) as error:
        raise DamagedEpisode(f"{path} is not a whole description of a store") from error
    if digest != plain_json.digest(spec):
        raise DamagedEpisode(f"{path}: its digest differs")
    return StoreSpec.from_json(spec, str(path))


def episode_indices(folder: Path) -> list[int]:
    """Returns the indices of the episode folders that are there, sorted; none where there is no store."""
    if not (folder / EPISODES).is_dir():
        return []
    names = [item.name for item in (folder / EPISODES).iterdir() if item.is_dir()]
    return sorted(int(name) for name in names if _EPISODE_NAME.fullmatch(name) and name == episode_name(int(name)))


def place(source: Path, target: Path) -> None:
    """Renames a folder into its free place in one atomic step, and forces both names to the disk."""
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    source.rename(target)
    fsync(target.parent)
    fsync(source.parent)


def recover_leftovers(folder: Path) -> list[str]:
    """Tidies up after a killed writer (the caller holds the lock); returns a sentence for each thing done.

    A whole episode becomes the next one; one that was whole and is damaged goes to the quarantine; a folder without a
    manifest was never an episode and is removed. What `repair` had saved is put in its place, or dropped if its source
    is still there, since it will be saved again.
    """
    (folder / INCOMING).mkdir(exist_ok=True)
    done = [f"removed the stray file {name}" for part in (folder, folder / EPISODES) for name in remove_leftovers(part)]
    left = sorted((folder / INCOMING).iterdir(), key=lambda item: (not item.name.startswith(SALVAGE), item.name))
    return done + [_recover(folder, item) for item in left]


def _recover(folder: Path, item: Path) -> str:
    if not item.is_dir():
        item.unlink()
        return f"removed the stray file {item.name}"
    if not (item / MANIFEST).exists():
        shutil.rmtree(item)
        return f"removed the unfinished {item.name}"
    index = max(episode_indices(folder), default=-1) + 1
    salvaged = item.name.startswith(SALVAGE)
    target = folder / EPISODES / (item.name.removeprefix(SALVAGE) if salvaged else episode_name(index))
    if salvaged and target.exists():
        shutil.rmtree(item)
        return f"removed {item.name}, to be saved again"
    try:
        problems = read_files(item, read_manifest(item))[1]
    except DamagedEpisode as error:
        problems = [str(error)]
    if problems:
        return f"moved {item.name} to {quarantine(folder, item).name} in {QUARANTINE}: {'; '.join(problems)}"
    place(item, target)
    return f"took in the finished episode {target.name}"


def quarantine(folder: Path, item: Path) -> Path:
    """Moves a folder into the quarantine under a free name, and returns its new place."""
    (folder / QUARANTINE).mkdir(exist_ok=True)
    number = 0
    while (target := folder / QUARANTINE / f"{item.name}-{number}").exists():
        number += 1
    place(item, target)
    return target
