"""Fields of configurations that explain and check themselves.

A configuration is a plain dataclass derived from `Config`. Each field is made by `option(default, sentence, ...)`,
whose sentence, unit, bounds and choices serve the command line's `--help`, the check at construction, and the rule what
may change when a run is resumed. Nothing here knows hydra.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from data.errors import UserError

REQUIRED: Any = "???"
"""Default of a field that must be given (OmegaConf's own sign for a missing value)."""


def option(
    default: Any,
    sentence: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    may_change: bool = False,
) -> Any:
    """Returns a dataclass field with its explanation.

    `low` and `high` are inclusive bounds; `choices` the only valid texts; `may_change` allows another value when a run
    is resumed. A list or mapping as `default` is copied for every instance.
    """
    bounds = {"low": low, "high": high, "choices": choices}
    metadata = {"help": sentence, "unit": unit, "may_change": may_change, **bounds}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class Config:
    """Base of all configurations: checks bounds and choices at construction.

    Raises `UserError`: which field, what came, what was expected.
    """

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check(entry.name, getattr(self, entry.name), entry.metadata)


def _check(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    if isinstance(value, str) and value == REQUIRED:
        raise UserError(f"{name} is missing: give {name}=... ({rule.get('help', '')})")
    if value is None or not rule:
        return
    choices, low, high = rule["choices"], rule["low"], rule["high"]
    if choices and value not in choices:
        raise UserError(f"{name}={value} is unknown; {expected_names(str(value), choices)}")
    if low is None and high is None:
        return
    for number in value if isinstance(value, list) else [value]:
        if not (low is None or number >= low) or not (high is None or number <= high):
            bounds = " and ".join(part for part in (_bound("at least", low), _bound("at most", high)) if part)
            unit = f" {rule['unit']}" if rule["unit"] else ""
            raise UserError(f"{name}={number} is out of bounds; give a number of {bounds}{unit}")


def _bound(words: str, value: float | None) -> str:
    return "" if value is None else f"{words} {value}"


def expected_names(given: str, valid: tuple[str, ...] | list[str]) -> str:
    """Returns "did you mean a? (valid: a, b, c)" for an unknown name: closest matches first, then all valid ones."""
    close = get_close_matches(given, valid, n=2, cutoff=0.5)
    listed = ", ".join(sorted(valid))
    return f"did you mean {' or '.join(close)}? (valid: {listed})" if close else f"expected one of: {listed}"


def may_change(config: Config) -> set[str]:
    """Returns the names of the fields that may take another value when a run is resumed."""
    return {entry.name for entry in fields(config) if entry.metadata.get("may_change")}


def as_declared(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings from the command line with the types that the dataclass `kind` declares.

    Lists become tuples, whole numbers become floats where a float is declared, 2e3 becomes 2000 where an integer is.
    Raises `UserError`, naming the setting and what was expected. Every key must be a field of `kind`.
    """
    hints = get_type_hints(kind)
    fitting = {}
    for name, value in values.items():
        try:
            fitting[name] = _fit(hints[name], value)
        except TypeError as error:
            raise UserError(f"{name}={value} does not fit {kind.__name__}: expected {error}") from error
    return fitting


def _fit(hint: Any, value: Any) -> Any:
    """Returns `value` as `hint` wants it; TypeError with the words for what is expected."""
    if get_origin(hint) in (Union, UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _fit(next(part for part in get_args(hint) if part is not type(None)), value)
    if get_origin(hint) is tuple:
        return _fit_tuple(get_args(hint), value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int and number and float(value).is_integer():
        return int(value)
    if hint is float and number:
        return float(value)
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    if hint in words and (hint in (int, float) or not isinstance(value, hint)):
        raise TypeError(words[hint])
    return value


def _fit_tuple(parts: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list such as [1,2]")
    if parts[-1] is not Ellipsis and len(parts) != len(value):
        raise TypeError(f"a list of {len(parts)}")
    hints = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
    try:
        return tuple(_fit(hint, entry) for hint, entry in zip(hints, value, strict=True))
    except TypeError as error:
        raise TypeError(f"a list, each entry {error}") from error
