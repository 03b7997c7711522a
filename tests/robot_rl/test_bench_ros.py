"""The nodes that the benchmark over topics starts: waited for by the clock, and never in want of a reader."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import pytest

from data.errors import UserError
from robot_rl.bench.ros import wait_until_active


def waited(program: str, patience_s: float) -> float:
    """Waits for a program; returns how long [s]."""
    begun_s = time.monotonic()
    with tempfile.TemporaryFile() as log:
        node = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_active(node, log, "camera", patience_s)
        finally:
            node.kill()
            node.wait()
    return time.monotonic() - begun_s


def test_a_node_that_says_nothing_is_given_up() -> None:
    begun_s = time.monotonic()
    with pytest.raises(UserError, match="the camera node did not start"):
        waited("import time; time.sleep(60)", 0.3)
    assert time.monotonic() - begun_s < 20.0


def test_one_that_ends_is_told_in_its_own_words() -> None:
    with pytest.raises(UserError, match="did not start: first no camera"):
        waited("print('first'); print('no camera')", 60.0)


def test_one_that_is_active_is_heard_however_much_it_says() -> None:
    assert waited("print('x' * 200_000); print('node is active'); import time; time.sleep(60)", 60.0) < 60.0
