"""Fixtures of the data tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def module_scratch() -> Iterator[Path]:
    """A folder in memory where there is one: what is tested many times over shall not wait for a disk."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def scratch(module_scratch: Path) -> Iterator[Path]:
    """A folder of each test's own in `module_scratch`."""
    with tempfile.TemporaryDirectory(dir=module_scratch) as folder:
        yield Path(folder)
