"""Brings arrays to a common range for learning, and back: y = (x - offset) / scale, per dimension of the last axis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError

Mode = Literal["limits", "gaussian"]
MODES: tuple[Mode, ...] = get_args(Mode)
_PREFIX = "normaliser."

F = TypeVar("F", bound=np.floating[Any])


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Maps vectors of a fixed width to a common range.

    - `limits`: offset = (max + min) / 2, scale = (max - min) / 2; fitted data spans [-1, 1] in each dimension.
    - `gaussian`: offset = mean, scale = standard deviation.

    A constant dimension keeps scale 1: it maps to 0, and what deviates from it later is neither blown up nor lost.
    """

    mode: Mode
    offset: NDArray[np.float64]
    """(D,)."""
    scale: NDArray[np.float64]
    """(D,), above 0."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"a normaliser's mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        for name in ("offset", "scale"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.ndim != 1 or not np.isfinite(array).all():
                raise UserError(f"a normaliser's {name} must be a vector of finite numbers, got shape {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.offset.shape != self.scale.shape or not (self.scale > 0).all():
            raise UserError("a normaliser's scale must be above 0 and as wide as its offset; fit it again")

    @classmethod
    def fit(cls, array: NDArray[Any], mode: Mode = "limits", smallest_scale: float = 1e-6) -> Normaliser:
        """Returns the normaliser of `array` (..., D).

        A dimension whose scale would be below `smallest_scale` counts as constant. `UserError` for an empty array or
        for numbers that are not finite, naming the dimension.
        """
        rows = np.asarray(array, dtype=np.float64)
        if rows.ndim < 2 or rows.size == 0:
            raise UserError(f"expected rows of vectors to fit a normaliser to, got shape {rows.shape}")
        rows = rows.reshape(-1, rows.shape[-1])
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=0)).tolist()
        if broken:
            raise UserError(f"expected finite numbers to fit a normaliser to, got others in dimensions {broken}")
        if mode == "limits":
            low, high = rows.min(axis=0), rows.max(axis=0)
            offset, scale = (high + low) / 2, (high - low) / 2
        else:
            offset, scale = rows.mean(axis=0), rows.std(axis=0)
        return cls(mode, offset, np.where(scale < smallest_scale, 1.0, scale))

    @property
    def width(self) -> int:
        """Number of dimensions D."""
        return len(self.offset)

    def apply(self, array: NDArray[F]) -> NDArray[F]:
        """Returns the normalised copy of `array` (..., D), of the same float type; `UserError` for another width."""
        self._check(array)
        result: NDArray[F] = ((array - self.offset) / self.scale).astype(array.dtype)
        return result

    def invert(self, array: NDArray[F]) -> NDArray[F]:
        """Returns `apply`'s input from its output (..., D); `UserError` for another width."""
        self._check(array)
        result: NDArray[F] = (array * self.scale + self.offset).astype(array.dtype)
        return result

    def to_arrays(self, prefix: str = _PREFIX) -> dict[str, NDArray[Any]]:
        """Returns the normaliser as plain arrays, whose names begin with `prefix`, to be kept beside weights."""
        mode = np.array(MODES.index(self.mode), dtype=np.int64)
        return {f"{prefix}mode": mode, f"{prefix}offset": self.offset.copy(), f"{prefix}scale": self.scale.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = _PREFIX) -> Normaliser:
        """Returns the normaliser of `to_arrays`; `UserError` naming what is missing."""
        names = [f"{prefix}{name}" for name in ("mode", "offset", "scale")]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise UserError(f"expected a normaliser's arrays {', '.join(names)}; not there: {', '.join(missing)}")
        mode, offset, scale = (arrays[name] for name in names)
        if mode.shape != () or not 0 <= int(mode) < len(MODES):
            raise UserError(f"{names[0]} must be a number below {len(MODES)}, got {mode}; it is of another release")
        return cls(MODES[int(mode)], offset, scale)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the normaliser to a safetensors file, atomically."""
        save_arrays_atomic(path, self.to_arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Normaliser:
        """Returns the normaliser that a file of `save` holds."""
        return cls.from_arrays(load_arrays(path)[0])

    def _check(self, array: NDArray[Any]) -> None:
        if array.dtype.kind != "f":
            raise UserError(f"a normaliser expects floats, got {array.dtype}; convert the array first")
        if array.ndim == 0 or array.shape[-1] != self.width:
            message = f"a normaliser of width {self.width} got an array of shape {array.shape}"
            raise UserError(f"{message}; was it fitted to another task or to other observations?")
