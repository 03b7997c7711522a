"""Descriptions and configurations as plain JSON values, so that they can be handed to another process without pickle.

A dataclass becomes `{"class": "module:Name", "fields": {...}}`, an array `{"array": [...]}`, a tuple a list (and back
a tuple).
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np

ROOMS = ("controllers", "safety")
"""Only dataclasses of these packages are made again: the text names a class, and no text may name an arbitrary one."""


def to_plain(value: Any) -> Any:
    """Returns `value` as JSON values. Raises TypeError for what has no such form."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {"mapping": {str(key): to_plain(item) for key, item in value.items()}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form; use dataclasses, arrays, tuples, text and numbers")


def from_plain(value: Any) -> Any:
    """Returns what `to_plain` was given. Raises ValueError for a class that is none of this project's dataclasses."""
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], dtype=np.float64)
    if "mapping" in value:
        return {key: from_plain(item) for key, item in value["mapping"].items()}
    kind = _dataclass_named(value["class"])
    return kind(**{name: from_plain(item) for name, item in value["fields"].items()})


def _dataclass_named(name: str) -> type:
    module, _, kind_name = name.partition(":")
    if module.split(".")[0] not in ROOMS:
        raise ValueError(f"expected a dataclass of {' or '.join(ROOMS)}, got {name!r}")
    kind = getattr(importlib.import_module(module), kind_name, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{name!r} names no dataclass")
    return kind
