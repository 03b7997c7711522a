"""What the tests against a real gzserver share."""

from __future__ import annotations

import functools

import pytest

from controllers.robots.gazebo.install import install
from data.errors import UserError


@functools.cache
def _why_not() -> str:
    try:
        install(None, print)
    except UserError as error:
        return str(error)
    return ""


def require_gazebo() -> None:
    """Brings Gazebo into the user's cache as a person would; skips the test where that does not work."""
    if _why_not():
        pytest.skip(f"no Gazebo here: {_why_not()}")
