"""Strict JSON: no NaN, NumPy values as plain ones, and a digest that does not depend on the order of keys."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from data.errors import UserError


def dumps(value: Any, what: str) -> str:
    """Returns `value` as readable JSON text; `UserError` naming `what` for NaN or a type that JSON has no form for."""
    try:
        return json.dumps(value, indent=1, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        message = f"{what} must be made of JSON values (finite numbers, text, lists, mappings): {error}"
        raise UserError(message) from error


def loads(text: str | bytes, what: str) -> Any:
    """Returns the value of a JSON text; `UserError` naming `what` where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # the first are those of JSON and of UTF-8, the other of "[[[[..."
        raise UserError(f"{what} is not valid JSON ({error}); restore it from a copy") from error


def normalised(value: Any, what: str) -> Any:
    """Returns `value` as it will be when read back (tuples as lists, keys as text, NumPy values as plain ones)."""
    return json.loads(dumps(value, what))


def without_nan(value: Any) -> Any:
    """Returns a copy of a JSON value in which numbers that are not finite are None, JSON's form of "no number"."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list | tuple) else value


def digest(value: Any) -> str:
    """Returns the SHA-256 (64 hex digits) of a JSON value, the same for any order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
