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


LONGEST = (
    "test_ros_pipeline", "test_commands", "test_commands_learning", "test_quickstart_critic", "test_commands_stopped",
    "test_teleop", "test_teach", "test_training_kill", "test_training_async", "test_bad_input_disk", "test_gazebo_arm",
    "test_bad_input", "test_tasks_operator", "test_maze", "test_supervisor_node", "test_up", "test_recorder_node",
)  # fmt: skip
"""Files that take longer than a minute, by `pytest --durations=0`, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, then those with slow tests: short ones fill what every core has left at the end."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if marks & {"calm", "alone"} and "slow" not in marks:
            raise pytest.UsageError(f"{item.nodeid} is marked calm or alone, which is for slow tests")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    long = {name: len(LONGEST) - place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (-long.get(item.path.stem, 0), -slow[item.path]))  # stable: files stay whole
