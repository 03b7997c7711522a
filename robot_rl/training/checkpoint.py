"""Checkpoints: everything that later numbers depend on, in one atomically written file; the newest few are kept."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import plain_json
from data.atomic import load_arrays, remove_leftovers, save_arrays_atomic
from data.errors import UserError

State = dict[str, NDArray[Any]]
KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """A moment between two episodes."""

    step: int
    agent: State
    world: State
    counters: dict[str, Any]


def _name(step: int) -> str:
    return f"step_{step:09d}.safetensors"


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint and then removes all but the newest KEEP. Equal checkpoints give equal bytes.

    Raises UserError where the disk is full; the former checkpoints are then untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"agent/{name}": array for name, array in checkpoint.agent.items()}
    arrays |= {f"world/{name}": array for name, array in checkpoint.world.items()}
    path = folder / _name(checkpoint.step)
    # one entry only: safetensors writes several in a random order
    about = {"step": checkpoint.step, **checkpoint.counters}
    about["digest"] = _digest(arrays, about)
    save_arrays_atomic(path, arrays, {"counters": json.dumps(about, sort_keys=True)})
    for old in sorted(folder.glob("step_*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def newest(folder: Path) -> Checkpoint | None:
    """Returns the newest whole checkpoint, None if there is none.

    Tells on standard error which damaged ones it passed over. Raises UserError if all there are are damaged.
    """
    problems: list[UserError] = []
    for path in sorted(folder.glob("step_*.safetensors"), reverse=True):
        try:
            found = load(path)
        except UserError as error:
            problems.append(error)
            continue
        for problem in problems:
            print(f"damaged checkpoint: {problem}; going on from {path.name}", file=sys.stderr)
        return found
    if problems:
        raise problems[0]
    return None


def tidy(folder: Path, step: int) -> None:
    """Removes what killed writers left, and sets aside what is newer than `step`, from which a run now goes on.

    Only a damaged checkpoint can be newer; it keeps its content under a name that ends in .damaged.
    """
    if not folder.is_dir():
        return
    remove_leftovers(folder)
    for path in folder.glob("step_*.safetensors"):
        if path.name > _name(step):
            path.rename(path.with_name(path.name + ".damaged"))


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint. Raises UserError if it is not whole."""
    arrays, metadata = load_arrays(path)
    if "counters" not in metadata:
        raise UserError(f"{path} is no checkpoint of this program: it has no counters")
    counters: dict[str, Any] = plain_json.loads(metadata["counters"], f"what {path} says of itself")
    if counters.pop("digest", None) != _digest(arrays, counters):
        raise UserError(f"{path} is damaged: its numbers do not fit its checksum; restore it or remove it")
    parts: dict[str, State] = {"agent": {}, "world": {}}
    for name, array in arrays.items():
        part, _, key = name.partition("/")
        parts[part][key] = array
    return Checkpoint(int(counters.pop("step")), parts["agent"], parts["world"], counters)


def _digest(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
