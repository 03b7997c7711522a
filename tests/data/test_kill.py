"""Writers killed by SIGKILL, at each of their file operations and at random times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_writers.py")


def run(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_all_or_nothing(scratch: Path) -> None:
    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    create, append, repair, file = run("operations", str(scratch), "1" if thorough else "15")
    assert create.endswith("['0 episodes']")
    assert append.endswith("['1 episodes', '2 episodes']")
    assert repair.endswith("['repaired']")
    assert file.endswith("['new', 'old']")


@pytest.mark.slow
def test_kills_at_random_times_lose_nothing_that_was_acknowledged(scratch: Path) -> None:
    (line,) = run("times", str(scratch), "15")
    assert line.startswith("times: 15 kills, ")
