"""Ages are taken from a clock that nobody sets: read from the source, and from processes with another wall clock."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.bench.faults import wall_clock

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for room in ("safety", "controllers", "ros_nodes") for path in (ROOT / room).rglob("*.py"))
WALL = {"time", "time_ns", "gettimeofday", "ctime", "localtime"}
DATES = {"now", "utcnow", "today"}
FOR_PEOPLE = {
    "controllers/flight/file.py": "names a file after its date",
    "controllers/flight/recorder.py": "names a file after its date",
    "ros_nodes/arm_voice.py": "stamps messages in the time of ROS, as others expect",
    "ros_nodes/camera_node.py": "stamps messages in the time of ROS, as others expect",
    "ros_nodes/recorder_ears.py": "bags tell when a message arrived in the time of the world, as others expect",
    "ros_nodes/recorder_source.py": "stamps messages in the time of ROS, as others expect",
    "ros_nodes/teleop_node.py": "stamps messages in the time of ROS, as others expect",
    "ros_nodes/topic_camera.py": "the age of a picture, whose header knows no other time; the arm's hold goes by beats",
    "ros_nodes/diagnostics.py": "stamps messages in the time of ROS, as others expect",
}
"""Where the wall clock is read all the same, and for what."""


def wall_clock_reads(tree: ast.AST) -> list[int]:
    """Lines that read the wall clock or the time of ROS, or make a timer that follows it."""
    steady = {"create_timer", "create_rate"}
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = node.func.value, node.func.attr
        of_time = isinstance(owner, ast.Name) and owner.id == "time" and name in WALL
        of_date = isinstance(owner, ast.Name) and owner.id in ("datetime", "date") and name in DATES
        # A node of this package (self, node) makes steady timers by itself; any other has to be told.
        mine = isinstance(owner, ast.Name) and owner.id in ("self", "node")
        untold = name in steady and not mine and not any(word.arg in ("clock", None) for word in node.keywords)
        if of_time or of_date or name == "get_clock" or untold:
            lines.append(node.lineno)
    return sorted(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_age_comes_from_a_clock_that_can_be_set(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    lines = wall_clock_reads(ast.parse(path.read_text(encoding="utf-8")))
    if name in FOR_PEOPLE:
        assert lines, f"{name} no longer reads the wall clock: take it off the list"
    else:
        assert not lines, f"{name}:{lines} reads the wall clock or the time of ROS: use time.monotonic_ns()"


def test_the_rule_finds_what_it_looks_for() -> None:
    bad = "import time\ntime.time()\ntime.time_ns()\nself.get_clock().now()\ndatetime.now()\nother.create_timer(1.0, f)"
    assert wall_clock_reads(ast.parse(bad)) == [2, 3, 4, 5, 6]
    good = "time.monotonic()\ntime.monotonic_ns()\nother.create_timer(1.0, f, clock=STEADY)\nself.create_timer(1.0, f)"
    assert not wall_clock_reads(ast.parse(good))


@pytest.mark.skipif(wall_clock.missing() is not None, reason="no C compiler")
def test_a_wall_clock_that_is_set_for_some_processes_alone(tmp_path: Path) -> None:
    clock = wall_clock.WallClock(tmp_path)
    program = (
        "import sys,time,threading\n"
        "for line in sys.stdin:\n"
        "    began=time.monotonic(); threading.Event().wait(0.01)\n"
        "    print(time.time(), time.monotonic(), time.monotonic()-began < 5.0, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **clock.environment},
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        seen = []
        for offset_s in (0, 3600, -3600):
            clock.set(offset_s)
            child.stdin.write("\n")
            child.stdin.flush()
            seen.append(child.stdout.readline().split())
        child.stdin.close()
    wall_s, steady_s = [float(words[0]) for words in seen], [float(words[1]) for words in seen]
    assert 3599.0 < wall_s[1] - wall_s[0] < 3660.0 and 3540.0 < wall_s[0] - wall_s[2] < 3601.0
    assert 0.0 <= steady_s[2] - steady_s[0] < 60.0 and all(words[2] == "True" for words in seen)
