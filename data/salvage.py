"""Saves what is still readable of a damaged episode, as an episode that was cut short."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import plain_json
from data.encoding import METADATA, readable_prefix, shard_path
from data.episode import Episode
from data.episode_folder import DamagedEpisode, read_manifest
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec

Array = NDArray[Any]


def salvage(folder: Path, spec: StoreSpec) -> Episode | None:
    """Returns the longest run of whole steps from the start of the damaged episode in `folder`; None if there is none.

    Only chunks whose checksums fit are taken. A shorter run than was recorded counts as truncated and as no success,
    since what came after it is not known; an extra that lost rows of that run is left out.
    `info["salvaged"]` tells all this.
    """
    attributes = _attributes(folder)
    steps = attributes.get("steps") or _recorded_steps(folder, spec)
    if not isinstance(steps, int) or steps < 1:
        return None
    arrays = {path: _rows(folder, path, item) for path, item in spec.layout(steps).items()}
    surplus = {path: item.shape[0] - steps for path, item in spec.layout(steps).items()}  # 1 for T + 1 rows, else 0
    whole = min(len(arrays[path]) - surplus[path] for path in arrays)
    if whole < 1:
        return None
    extras, lost = _extras(folder, steps, whole)
    cut = {path: np.array(array[: whole + surplus[path]]) for path, array in arrays.items()} | extras
    success = bool(attributes.get("success")) and whole == steps
    if whole < steps:
        cut["truncated"][-1] = True
    note = {"steps": whole, "of": steps, "extras_lost": lost, "recorded_success": attributes.get("success")}
    episode = Episode.from_arrays(cut, success, {**attributes.get("info", {}), "salvaged": note})
    try:
        episode.check(spec)
    except UserError:  # chunks are whole but their content is none that could have been recorded
        return None
    return episode


def _attributes(folder: Path) -> dict[str, Any]:
    """Returns the attributes that the manifest holds or, where that is damaged, the group's metadata; else none."""
    try:
        return read_manifest(folder).attributes
    except DamagedEpisode:
        found = _json(folder / METADATA).get("attributes")
    plausible = isinstance(found, dict) and isinstance(found.get("info"), dict)
    return found if plausible and isinstance(found, dict) else {}


def _recorded_steps(folder: Path, spec: StoreSpec) -> int:
    """Returns the number of steps that most arrays' metadata agree on; 0 where none can be read."""
    votes: Counter[int] = Counter()
    for path, item in spec.layout(1).items():
        shape = _json(folder / path / METADATA).get("shape")
        if isinstance(shape, list) and shape and isinstance(shape[0], int):
            votes[shape[0] - (item.shape[0] - 1)] += 1
    return votes.most_common(1)[0][0] if votes else 0


def _rows(folder: Path, path: str, spec: ArraySpec) -> Array:
    try:
        shard = (folder / shard_path(path, spec)).read_bytes()
    except OSError:  # a missing file has no readable row
        shard = b""
    return readable_prefix(path, spec, shard)


def _extras(folder: Path, steps: int, whole: int) -> tuple[dict[str, Array], list[str]]:
    """Returns the extras that cover the first `whole` steps, by path, and the names of the others."""
    kept: dict[str, Array] = {}
    lost: list[str] = []
    for item in sorted((folder / "extras").glob("*/")):
        path, spec = f"extras/{item.name}", _array_spec(item / METADATA)
        surplus = spec.shape[0] - steps if spec else -1
        rows = _rows(folder, path, spec) if spec and surplus in (0, 1) else np.zeros(0)
        if len(rows) >= whole + max(surplus, 0):
            kept[path] = np.array(rows[: whole + surplus])
        else:
            lost.append(item.name)
    return kept, lost


def _array_spec(path: Path) -> ArraySpec | None:
    value = _json(path)
    try:
        return ArraySpec(tuple(value["shape"]), value["data_type"])
    except (UserError, KeyError, TypeError, ValueError):  # damaged metadata describes no array
        return None


def _json(path: Path) -> dict[str, Any]:
    """Returns the mapping in a JSON file; an empty one where it cannot be read."""
    try:
        value = plain_json.loads(path.read_bytes(), str(path))
    except (OSError, UserError):
        return {}
    return value if isinstance(value, dict) else {}
