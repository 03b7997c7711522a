"""Checkpoints: everything that later numbers depend on, in one atomically written file; the newest few are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.atomic import load_arrays, save_arrays_atomic
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
    """Writes a checkpoint and then removes all but the newest KEEP."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"agent/{name}": array for name, array in checkpoint.agent.items()}
    arrays |= {f"world/{name}": array for name, array in checkpoint.world.items()}
    path = folder / _name(checkpoint.step)
    save_arrays_atomic(path, arrays, {"counters": json.dumps({"step": checkpoint.step, **checkpoint.counters})})
    for old in sorted(folder.glob("step_*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def newest(folder: Path) -> Checkpoint | None:
    """Returns the newest readable checkpoint, None if there is none.

    A damaged newest one (a disk fault; writing is atomic) is passed over with its name in the error only if no other is left.
    """
    problem: UserError | None = None
    for path in sorted(folder.glob("step_*.safetensors"), reverse=True):
        try:
            return load(path)
        except UserError as error:
            problem = error
    if problem is not None:
        raise problem
    return None


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint. Raises UserError if it is not whole."""
    arrays, metadata = load_arrays(path)
    if "counters" not in metadata:
        raise UserError(f"{path} is no checkpoint of this program: it has no counters")
    counters = json.loads(metadata["counters"])
    parts: dict[str, State] = {"agent": {}, "world": {}}
    for name, array in arrays.items():
        part, _, key = name.partition("/")
        parts[part][key] = array
    return Checkpoint(int(counters.pop("step")), parts["agent"], parts["world"], counters)


def pack_state(rng: np.random.Generator) -> str:
    """The state of a generator as JSON text."""
    return json.dumps(rng.bit_generator.state)


def unpack_state(rng: np.random.Generator, text: Mapping[str, Any] | str) -> None:
    """Puts a generator back into a packed state."""
    rng.bit_generator.state = json.loads(text) if isinstance(text, str) else dict(text)
