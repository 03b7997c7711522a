"""What all episodes of a store have in common: task, robot, rate, and the name, shape and type of each array."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import plain_json
from data.errors import UserError

SCHEMA_VERSION = 1
"""Raised whenever the layout of a stored episode changes; a store of another version is refused."""

_SIZED = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
DTYPES = ("bool", *_SIZED)
"""Types that an array of an episode may have."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def check_name(name: str, what: str) -> None:
    """Raises `UserError` unless `name` is usable as a folder name and an array key."""
    if not _NAME.fullmatch(name) or name == "zarr.json":
        raise UserError(f"{what} must be made of letters, digits, '_', '-' and '.', got {name!r}; rename it")


@dataclass(frozen=True)
class ArraySpec:
    """Shape (of one step, no batch axis) and NumPy type name of an array."""

    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        dtype = np.dtype(self.dtype).name
        if any(size < 1 for size in shape):
            raise UserError(f"an array's shape needs sizes of at least 1, got {shape}; leave empty arrays out")
        if dtype not in DTYPES:
            raise UserError(f"an array's type must be one of {', '.join(DTYPES)}, got {dtype}; convert it first")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def rows(self, count: int) -> ArraySpec:
        """Returns the array that stacks `count` of these along a new first axis."""
        return ArraySpec((count, *self.shape), self.dtype)

    def take(self, value: Any, name: str, *, finite: bool = True) -> NDArray[Any]:
        """Returns a copy of `value` with exactly this shape and type.

        Narrowing within a kind (float64 to float32) is done; another shape, a lossy kind (float to integer), an integer
        that does not fit and, with `finite`, NaN or infinity raise `UserError`. `name` stands in its message, as
        in "observation 'q' at step 3".
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise UserError(f"{name}: expected shape {self.shape}, got {array.shape}; give what the spec declares")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise UserError(f"{name}: expected type {self.dtype}, got {array.dtype}; convert it before it is recorded")
        with np.errstate(over="ignore"):  # too large for the narrower type becomes infinite, which is refused below
            wide, array = array, np.array(array, dtype=self.dtype, order="C")
        if array.dtype.kind in "iu" and not np.array_equal(wide, array):
            raise UserError(f"{name}: expected numbers that fit {self.dtype}, got larger ones; widen the spec's type")
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            where = np.argwhere(~np.isfinite(array))[0].tolist()
            raise UserError(f"{name}: expected finite numbers, got {array[tuple(where)]} at {where}; mend its source")
        return array


@dataclass(frozen=True)
class StoreSpec:
    """Description of a store; fixed when the store is created."""

    task: str
    """Registered name of the task."""
    task_text: str
    """The task in a sentence, as one would tell it to a person."""
    robot: str
    """Name of the robot backend that recorded."""
    rate_hz: float
    """Nominal steps per second (> 0)."""
    observations: dict[str, ArraySpec]
    """Arrays of one observation, in order."""
    action_names: tuple[str, ...]
    """Name of each action dimension, in order; their number is the action's width."""
    cameras: tuple[str, ...] = ()
    """Names of the cameras that were recorded."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the recording program (JSON values); kept for the record, never compared."""

    def __post_init__(self) -> None:
        for name in ("task", "robot"):
            check_name(getattr(self, name), f"the spec's {name}")
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise UserError(f"the spec's rate_hz must be a finite number above 0, got {self.rate_hz}")
        if not self.observations:
            raise UserError("the spec needs at least one observation, got none")
        for key in self.observations:
            check_name(key, "an observation's key")
        for name in ("action_names", "cameras"):
            names = tuple(getattr(self, name))
            if len(set(names)) != len(names) or not all(isinstance(item, str) and item for item in names):
                raise UserError(f"the spec's {name} must be different, non-empty texts, got {names}")
            object.__setattr__(self, name, names)
        if not self.action_names:
            raise UserError("the spec needs at least one action dimension, got none")
        object.__setattr__(self, "observations", dict(self.observations))
        object.__setattr__(self, "config", plain_json.normalised(self.config, "the spec's config"))

    @property
    def action_size(self) -> int:
        """Number of action dimensions."""
        return len(self.action_names)

    def layout(self, steps: int) -> dict[str, ArraySpec]:
        """Returns path and full shape of each array that an episode of `steps` steps must have (extras come on top)."""
        arrays = {f"observations/{key}": item.rows(steps + 1) for key, item in self.observations.items()}
        action = ArraySpec((steps, self.action_size), "float32")
        flag = ArraySpec((steps,), "bool")
        return arrays | {
            "action_proposed": action,
            "action_executed": action,
            "reward": ArraySpec((steps,), "float64"),
            "terminated": flag,
            "truncated": flag,
            "source": ArraySpec((steps,), "int32"),
            "stamp_ns": ArraySpec((steps + 1,), "int64"),
        }

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as JSON values, with the schema version."""
        arrays = {key: {"shape": list(item.shape), "dtype": item.dtype} for key, item in self.observations.items()}
        plain = {name: getattr(self, name) for name in ("task", "task_text", "robot", "rate_hz")}
        lists = {"action_names": list(self.action_names), "cameras": list(self.cameras)}
        return {"schema_version": SCHEMA_VERSION, **plain, "observations": arrays, **lists, "config": self.config}

    @classmethod
    def from_json(cls, value: Any, where: str) -> StoreSpec:
        """Returns the spec of `to_json`'s value; `UserError` naming `where` for another version or no spec."""
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != SCHEMA_VERSION:
            message = f"{where}: expected schema version {SCHEMA_VERSION}, got {version}"
            raise UserError(f"{message}; read it with the release of robot-rl that wrote it")
        try:
            stored = value["observations"].items()
            arrays = {key: ArraySpec(tuple(item["shape"]), item["dtype"]) for key, item in stored}
            names = ("task", "task_text", "robot", "rate_hz", "action_names", "cameras", "config")
            return cls(observations=arrays, **{name: value[name] for name in names})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where}: not a whole store description ({error!r}); restore it from a copy") from error

    def check_fits(self, other: StoreSpec, where: str = "the store") -> None:
        """Raises `UserError`, telling all differences, unless episodes of `other` can stand beside this spec's.

        Compared are task, robot, rate, observations, action names and cameras; not the task's text, not the config.
        """
        names = ("task", "robot", "rate_hz", "action_names", "cameras")
        found = [_difference(name, getattr(self, name), getattr(other, name)) for name in names]
        found += _array_differences(self.observations, other.observations, exact=True)
        _refuse(found, where)

    def require(
        self,
        *,
        task: str | None = None,
        observations: Mapping[str, ArraySpec] | None = None,
        action_names: tuple[str, ...] | None = None,
        rate_hz: float | None = None,
        where: str = "the store",
    ) -> None:
        """Raises `UserError`, telling all differences, unless the store serves a user with these needs.

        What is None is not asked for; further observations in the store do no harm.
        """
        needs = {"task": task, "action_names": action_names, "rate_hz": rate_hz}
        found = [_difference(name, getattr(self, name), need) for name, need in needs.items() if need is not None]
        found += _array_differences(self.observations, observations or {}, exact=False)
        _refuse(found, where)


def _difference(name: str, have: Any, need: Any) -> str:
    return "" if have == need else f"{name} is {have!r}, needed {need!r}"


def _array_differences(have: Mapping[str, ArraySpec], need: Mapping[str, ArraySpec], exact: bool) -> list[str]:
    found = [f"observation '{key}' ({item}) is not there" for key, item in need.items() if key not in have]
    both = [key for key in need if key in have and have[key] != need[key]]
    found += [f"observation '{key}' is {have[key]}, needed {need[key]}" for key in both]
    return found + [f"observation '{key}' ({have[key]}) is not wanted" for key in have if exact and key not in need]


def _refuse(found: list[str], where: str) -> None:
    differences = [item for item in found if item]
    if differences:
        raise UserError(f"{where} does not fit: {'; '.join(differences)}; use the data that was recorded for this task")
