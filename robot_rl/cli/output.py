"""Figures on the screen: a table for people, one JSON line for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Returns `value` as JSON can hold it: NumPy numbers and arrays as plain ones, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def json_line(figures: Mapping[str, Any]) -> str:
    """Returns the figures as one line of JSON."""
    return json.dumps(plain(figures), allow_nan=False)


def table(figures: Mapping[str, Any]) -> str:
    """Returns the figures as aligned rows; nested mappings are indented below their name."""
    lines: list[str] = []
    _rows(plain(figures), "", lines)
    return "\n".join(lines)


def _rows(figures: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    width = max((len(key) for key in figures), default=0)
    for key, value in figures.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}")
            _rows(value, indent + "  ", lines)
        else:
            lines.append(f"{indent}{key:<{width}}  {_cell(value)}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
