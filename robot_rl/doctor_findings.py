"""What a check of the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Result of one check: `status` is ok, warn or fail; `cure` says what to do where it is not ok."""

    status: str
    text: str
    cure: str = ""


def ok(text: str) -> Finding:
    """Everything is as it should be."""
    return Finding("ok", text)


def warn(text: str, cure: str) -> Finding:
    """Something useful is missing; the rest works."""
    return Finding("warn", text, cure)


def fail(text: str, cure: str) -> Finding:
    """Something needed is missing or wrong."""
    return Finding("fail", text, cure)
