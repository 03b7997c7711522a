"""Processes of a bring-up, played by small programs: order, readiness, restarts, ends, what a killed `up` leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl.bringup.crew import Crew, Outcome
from robot_rl.bringup.description import AtEnd, Restart
from robot_rl.bringup.environment import child_environment
from robot_rl.bringup.guardian import Guardian
from robot_rl.bringup.resolve import Program

WORKS = """
    import signal, sys, time
    signal.signal(signal.SIGINT, lambda *_: (print("ends", flush=True), sys.exit(0)))
    print("node is active", flush=True)
    while True: time.sleep(0.05)
"""
STUBBORN = """
    import signal, time
    for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
    print("node is active", flush=True)
    while True: time.sleep(0.05)
"""


def play(name: str, source: str, **rules: object) -> Program:
    words = (sys.executable, "-S", "-c", textwrap.dedent(source))
    return Program(name, words, ready="is active", **{"stop_s": 1.0, **rules})  # type: ignore[arg-type]


class Told:
    """What was printed, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def where(self, name: str, text: str) -> int:
        return next(index for index, (who, line) in enumerate(self.lines) if who == name and text in line)


def run(*programs: Program, stop: Callable[[], bool] | None = None) -> tuple[Outcome, Told]:
    """Runs programs until they are all ready, or as long as `stop` says."""
    told, ready = Told(), list[float]()
    limit_s = time.monotonic() + 60.0
    crew = Crew(programs, lambda program: child_environment(program, os.environ), told, Guardian())
    over = stop or (lambda: bool(ready))
    outcome = crew.run(lambda: over() or time.monotonic() > limit_s, ready.append, time.monotonic())
    assert time.monotonic() < limit_s, told.lines
    return outcome, told


def test_all_become_ready_and_end_in_reverse_order() -> None:
    outcome, told = run(play("first", WORKS), play("second", WORKS, after=("first",)))
    assert not outcome.failure and not outcome.killed and outcome.ready_s is not None and outcome.ready_s > 0.0
    assert told.where("first", "active") < told.where("", "first is ready") < told.where("second", "active")
    assert told.where("second", "ends") < told.where("first", "ends")


def test_the_end_of_one_ends_the_others_with_its_words() -> None:
    outcome, told = run(
        play("arm", WORKS),
        play("bad", "print('no such device: plug it in', flush=True); raise SystemExit(2)", after=("arm",)),
        stop=lambda: False,
    )
    assert outcome.failure == "bad ended with status 2: no such device: plug it in"
    assert told.where("arm", "ends") and outcome.ready_s is None


def test_a_killed_process_is_told_as_such() -> None:
    outcome, _ = run(play("arm", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), stop=lambda: False)
    assert outcome.failure.startswith("arm was killed by SIGKILL")


def test_a_process_that_is_done_ends_the_others_without_failure() -> None:
    done = play("learner", "print('node is active', flush=True)", at_end=AtEnd.DONE, after=("arm",))
    outcome, told = run(play("arm", WORKS), done, stop=lambda: False)
    assert not outcome.failure
    assert told.where("", "learner is done") < told.where("arm", "ends")


def test_one_that_may_is_started_again_within_its_budget() -> None:
    again = Restart(times=2, within_s=60.0, delay_s=0.05)
    source = "print('node is active', flush=True); raise SystemExit(1)"
    outcome, told = run(play("camera", source, restart=again), stop=lambda: False)
    assert outcome.restarts == {"camera": 2}
    assert outcome.failure == "camera ended with status 1: node is active"
    assert sum("starts again" in line for _, line in told.lines) == 2


def test_a_mistake_in_what_it_was_told_is_not_repeated() -> None:
    source = "print('no camera 123', flush=True); raise SystemExit(2)"
    outcome, _ = run(play("camera", source, restart=Restart(times=3)), stop=lambda: False)
    assert outcome.restarts == {} and outcome.failure == "camera ended with status 2: no camera 123"


def test_one_that_hears_nothing_is_killed_in_the_end() -> None:
    outcome, _ = run(play("deaf", STUBBORN, stop_s=0.2))
    assert outcome.killed == ["deaf"]


def test_lines_without_an_end_and_strange_bytes_are_shown() -> None:
    source = "import sys; sys.stdout.buffer.write(b'node is active\\n\\xff\\xfe half'); raise SystemExit(1)"
    _, told = run(play("odd", source), stop=lambda: False)
    assert ("odd", "\ufffd\ufffd half") in told.lines


UP = """
    import os, sys, time
    from pathlib import Path
    from robot_rl.bringup.guardian import Guardian
    from tests_crew import WORKS, STUBBORN, play
    from robot_rl.bringup.crew import Crew
    def tell(name, line): print(name, line, flush=True)
    programs = [play("kind", WORKS), play("deaf", STUBBORN)]
    crew = Crew(programs, lambda program: dict(os.environ), tell, Guardian(0.5))
    crew.run(lambda: False, lambda s: print("READY", [c.process.pid for c in crew._children.values()], flush=True), 0.0)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(what: Callable[[], bool], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while not what() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return what()


@pytest.mark.slow
@pytest.mark.calm
def test_a_killed_up_leaves_nobody_behind(tmp_path: Path) -> None:
    (tmp_path / "tests_crew.py").write_text(Path(__file__).read_text())
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    up = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(UP)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert up.stdout is not None
    line = next(line for line in up.stdout if line.startswith("READY"))
    pids = [int(word) for word in line.removeprefix("READY").strip(" []\n").split(",")]
    assert len(pids) == 2 and all(map(alive, pids))
    up.send_signal(signal.SIGKILL)
    up.wait()
    up.stdout.close()
    kind, deaf = pids
    assert wait_for(lambda: not alive(kind), 3.0), "the kernel tells whoever listens at once"
    assert wait_for(lambda: not alive(deaf), 10.0), "the guardian ends whoever does not"


def test_one_that_may_never_be_started_again_is_not_however_long_it_ran() -> None:
    source = "import time; print('node is active', flush=True); time.sleep(0.3); raise SystemExit(1)"
    outcome, _ = run(play("controller", source, restart=Restart(times=0, within_s=0.1)), stop=lambda: False)
    assert outcome.restarts == {} and outcome.failure.startswith("controller ended with status 1")
