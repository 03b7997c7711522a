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
from typing import Any

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
