"""The list of guard lines keeps up with the sources; `make mutants` deletes them one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS, Guard

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.path}: {' '.join(guard.line.split())[:60]}")
def test_each_guard_stands_once_in_its_file_and_names_tests_that_exist(guard: Guard) -> None:
    assert (ROOT / guard.path).read_text().count(guard.line) == 1
    assert guard.line != guard.without
    for test in guard.tests:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / path).read_text()
