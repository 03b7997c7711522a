"""Export and import of a format that any program can read: one .npz file an episode and an index in JSON lines.

The first line of `index.jsonl` holds the store's spec; each further line an episode's file, success and info. Arrays
in a file are named as in the store (`observations/<key>`, `action_executed`, ...). Nothing is pickled.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data import plain_json
from data.atomic import write_atomic
from data.episode import Episode
from data.errors import UserError
from data.spec import StoreSpec
from data.store import EpisodeStore

INDEX = "index.jsonl"


def export_npz(store: EpisodeStore, folder: str | os.PathLike[str]) -> int:
    """Writes all episodes of `store` to `folder` (new or empty) and returns their number; the index is written last."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise UserError(f"expected an empty or a new folder at {target}, found other things; choose another path")
    lines = [json.dumps({"spec": store.spec.to_json()})]
    for number, episode in enumerate(store):
        name = f"episode_{number:06d}.npz"
        buffer = io.BytesIO()
        arrays: dict[str, Any] = dict(episode.arrays())
        np.savez_compressed(buffer, **arrays)
        write_atomic(target / name, buffer.getvalue())
        lines.append(json.dumps({"file": name, "success": episode.success, "info": episode.info}))
    write_atomic(target / INDEX, "\n".join(lines) + "\n")
    return len(lines) - 1


def import_npz(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> EpisodeStore:
    """Makes a store at `path` from an exported folder and returns it, writable.

    `UserError` naming file and fault for a damaged export; the store then holds the episodes before that file.
    """
    source = Path(folder)
    spec, entries = _read_index(source)
    store = EpisodeStore.create(path, spec)
    try:
        for episode in _episodes(source, entries):
            store.append(episode)
    except BaseException:
        store.close()
        raise
    return store


def _read_index(source: Path) -> tuple[StoreSpec, list[dict[str, Any]]]:
    index = source / INDEX
    if not index.is_file():
        raise UserError(f"expected an exported folder at {source}, found no {INDEX}; check the path")
    lines = index.read_text(encoding="utf-8").splitlines()
    values = [plain_json.loads(line, f"line {number} of {index}") for number, line in enumerate(lines, 1)]
    if not values or not all(isinstance(value, dict) for value in values):
        raise UserError(f"{index}: expected one JSON object a line, the first with the spec; export the store again")
    spec, entries = StoreSpec.from_json(values[0].get("spec"), f"line 1 of {index}"), values[1:]
    for number, entry in enumerate(entries, 2):
        if entry.keys() != {"file", "success", "info"} or Path(str(entry["file"])).name != entry["file"]:
            raise UserError(f"line {number} of {index}: expected file (a name without folders), success and info")
    return spec, entries


def _episodes(source: Path, entries: list[dict[str, Any]]) -> Iterator[Episode]:
    for entry in entries:
        file = source / entry["file"]
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{file} is not a whole .npz file ({error}); export the store again") from error
        yield Episode.from_arrays(arrays, bool(entry["success"]), entry["info"])
