"""Settings shared by all tests: fixed seeds, one thread, no display."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")

# shells start jobs in the background with Ctrl-C ignored, and the programs under test would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
# a deleted guard is noticed by any example: no time for the smallest one
settings.register_profile(
    "mutants", derandomize=True, deadline=None, max_examples=25, phases=(Phase.explicit, Phase.generate), database=None
)
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# flight files of the tests go where no person looks for those of an arm
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="robot-rl-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: the short ones then fill what is left on every core at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # stable: files stay whole
