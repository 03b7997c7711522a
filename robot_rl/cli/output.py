"""Figures on the screen, as a table for people (programs take the JSON line)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.metrics import plain


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
