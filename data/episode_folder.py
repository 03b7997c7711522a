"""The folder of one stored episode: written so that a crash cannot leave it half, read so that damage cannot pass.

`manifest.json` names every file with its size and SHA-256, repeats what is to be known about the episode as a whole,
and ends with a digest of itself. It is written last: a folder with a whole manifest holds a whole episode.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import plain_json
from data.atomic import fsync, replace_file, write_new
from data.encoding import DECODE_ERRORS, decode, encode
from data.episode import Episode
from data.errors import UserError
from data.spec import SCHEMA_VERSION

MANIFEST = "manifest.json"


class DamagedEpisode(UserError):
    """A stored episode whose files are not what its manifest says."""


@dataclass(frozen=True)
class Summary:
    """What is known of a stored episode without reading its arrays."""

    steps: int
    success: bool
    seconds: float
    """From the first to the last observation."""
    total_reward: float
    sources: dict[int, int]
    """Executed actions by code of who proposed them."""
    info: dict[str, Any]
    size_bytes: int = 0
    """Of all files but the manifest."""


@dataclass(frozen=True)
class Manifest:
    """Contents of a manifest: size and checksum of each file by relative path, and the episode's attributes."""

    files: dict[str, tuple[int, str]]
    attributes: dict[str, Any]

    def summary(self) -> Summary:
        """Returns the summary that the attributes hold."""
        names = ("steps", "success", "seconds", "total_reward", "info")
        sources = {int(code): count for code, count in self.attributes["sources"].items()}
        size_bytes = sum(size for size, _ in self.files.values())
        return Summary(sources=sources, size_bytes=size_bytes, **{name: self.attributes[name] for name in names})


def write_folder(folder: Path, episode: Episode) -> None:
    """Writes `episode` into the new folder `folder` and forces all of it to the disk, the manifest last.

    Raises `OSError` where the disk is full; a folder without a manifest may stay then.
    """
    attributes = _attributes(episode)
    files = encode(episode.arrays(), attributes)
    entries = {path: [len(content), hashlib.sha256(content).hexdigest()] for path, content in files.items()}
    body = {"files": entries, "attributes": attributes}
    manifest = plain_json.dumps(body | {"digest": plain_json.digest(body)}, "a manifest")
    folder.mkdir(parents=True)
    folders = {folder, *((folder / path).parent for path in files)}
    folders |= {parent for item in folders for parent in item.parents if parent.is_relative_to(folder)}
    for item in sorted(folders):
        item.mkdir(exist_ok=True)
    for path, content in files.items():
        write_new(folder / path, content)
    for item in [*(folder / path for path in files), *folders]:  # after all writes: the disk can take them in one go
        fsync(item)
    replace_file(folder / MANIFEST, manifest.encode())


def read_manifest(folder: Path) -> Manifest:
    """Returns the folder's manifest; `DamagedEpisode` where it is missing, changed or of another schema version."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedEpisode(f"{MANIFEST}: {os.strerror(error.errno or 0)}") from error
    try:
        value = plain_json.loads(content, MANIFEST)
        body = {"files": value["files"], "attributes": value["attributes"]}
        if value["digest"] != plain_json.digest(body):
            raise DamagedEpisode(f"{MANIFEST}: its digest differs")
        files = {name: (int(size), str(checksum)) for name, (size, checksum) in body["files"].items()}
    except DamagedEpisode:
        raise
    except (UserError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedEpisode(f"{MANIFEST}: not a whole manifest") from error
    version = body["attributes"].get("schema_version")
    if version != SCHEMA_VERSION:
        raise DamagedEpisode(f"{MANIFEST}: schema version {version}, expected {SCHEMA_VERSION}")
    return Manifest(files, body["attributes"])


def read_files(folder: Path, manifest: Manifest) -> tuple[dict[str, bytes], list[str]]:
    """Returns the content of each file that can be read, and what is wrong with which (nothing: all are as written)."""
    files: dict[str, bytes] = {}
    problems = []
    for path, (size, checksum) in manifest.files.items():
        try:
            files[path] = (folder / path).read_bytes()
        except OSError as error:
            problems.append(f"{path}: {os.strerror(error.errno or 0)}")
            continue
        if len(files[path]) != size:
            problems.append(f"{path}: {len(files[path])} bytes, expected {size}")
        elif hashlib.sha256(files[path]).hexdigest() != checksum:
            problems.append(f"{path}: its checksum differs")
    return files, problems


def read_episode(folder: Path) -> Episode:
    """Returns the episode, bit for bit as written; `DamagedEpisode` saying what is wrong otherwise."""
    files, problems = read_files(folder, read_manifest(folder))
    if problems:
        raise DamagedEpisode("; ".join(problems))
    try:
        arrays, attributes = decode(files)
        return Episode.from_arrays(arrays, attributes["success"], attributes["info"])
    except (*DECODE_ERRORS, UserError) as error:  # whole files that make no episode: written by a faulty program
        raise DamagedEpisode(f"its arrays cannot be decoded: {error}") from error


def strangers(folder: Path, manifest: Manifest) -> list[str]:
    """Returns the files in the folder that the manifest does not know; reading ignores them."""
    known: Mapping[str, Any] = {**manifest.files, MANIFEST: None}
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return [path for path in found if path not in known]


def _attributes(episode: Episode) -> dict[str, Any]:
    codes, counts = np.unique(episode.source, return_counts=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "steps": len(episode),
        "success": episode.success,
        "seconds": episode.seconds,
        "total_reward": float(episode.reward.sum()),
        "sources": {str(code): int(count) for code, count in zip(codes, counts, strict=True)},
        "info": episode.info,
    }
