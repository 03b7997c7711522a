"""What the files of the safety critic say of themselves in JSON: every name there, of its kind, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from data.plain_json import loads

_WORDS = {int: "an integer", float: "a finite number", str: "a text", dict: "a mapping"}
_LONGEST = 40


def facts_from(text: str, where: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Returns the JSON object in `text`, which must have exactly the names of `kinds`, each value of that type.

    A float is any finite number. where: the file, for the message of the UserError that anything else raises.
    """
    return require_facts(loads(text, f"what {where} says of itself"), where, kinds)


def require_facts(value: Any, where: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """As `facts_from`, for a JSON value that was read already."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is malformed: expected a mapping of facts, got {brief(value)}; make it again")
    for words, names in (
        ("lacks", [name for name in kinds if name not in value]),
        ("has the unknown fact", [name for name in value if name not in kinds]),
    ):
        if names:
            raise UserError(f"{where} is malformed: it {words} {brief(names[0])}; make it again")
    for name, kind in kinds.items():
        if not _fits(value[name], kind):
            raise UserError(
                f"{where} is malformed: expected {_WORDS[kind]} as {name}, got {brief(value[name])}; make it again"
            )
    return value


def brief(value: Any) -> str:
    """A value in a message, on one line and not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and abs(value) < 1 << 63
    return isinstance(value, kind)
