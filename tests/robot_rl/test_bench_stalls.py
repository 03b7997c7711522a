"""Stalls are seen, whoever had them; a repeat that failed beside one is run again, but never with the measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.judging import Outcome
from robot_rl.bench.faults.runner import _read, _repeat, _Stages, summary
from robot_rl.bench.faults.stalls import STALL_S, StallWatch, waited_ns
from robot_rl.config_bench import BenchFaultsConfig

BUSY = "import os,time\nos.sched_setaffinity(0,{%d})\nend=time.monotonic()+20\nwhile time.monotonic()<end: pass"


@pytest.fixture
def watch() -> Iterator[StallWatch]:
    watch = StallWatch()
    yield watch
    watch.close()


@pytest.mark.slow
@pytest.mark.alone
def test_a_stop_of_the_bench_itself_is_seen() -> None:
    program = (
        "import sys\nfrom robot_rl.bench.faults.stalls import StallWatch\nwatch=StallWatch()\nwatch.begin([])\n"
        "print('ready',flush=True)\nsys.stdin.readline()\nprint(watch.longest_s(),flush=True)\nwatch.close()"
    )
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdin is not None and bench.stdout is not None and bench.stdout.readline() == "ready\n"
        bench.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        bench.send_signal(signal.SIGCONT)
        bench.stdin.write("\n")
        bench.stdin.flush()
        assert float(bench.stdout.readline()) >= STALL_S


@pytest.mark.slow
@pytest.mark.alone
def test_a_program_that_waits_for_a_processor_is_seen_and_one_that_was_stopped_waits_for_none(
    watch: StallWatch,
) -> None:
    core = min(os.sched_getaffinity(0))
    programs = [subprocess.Popen([sys.executable, "-c", BUSY % core]) for _ in range(3)]
    pids = [program.pid for program in programs]
    if not Path(f"/proc/{pids[0]}/schedstat").exists():
        pytest.skip("this kernel keeps no account of waiting")
    try:
        time.sleep(0.5)
        watch.begin(pids)
        time.sleep(1.0)
        assert watch.longest_s() > 0.3, "three share one core"
        programs[0].send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        before = waited_ns(pids[:1])
        time.sleep(0.3)
        assert waited_ns(pids[:1]) == before
        programs[1].kill()
        programs[1].wait()
        assert not waited_ns([pids[1]]), "who has gone does not count"
    finally:
        for program in programs:
            program.kill()
            program.wait()


class Told:
    """A watch that says what it is told."""

    def __init__(self, stall_s: float) -> None:
        self.stall_s = stall_s

    def begin(self, pids: list[int]) -> None:
        return

    def longest_s(self) -> float:
        return self.stall_s


class Standing:
    """A stage that stands already."""

    ready: Any = None

    def pids(self) -> list[int]:
        return []

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("stall_s", "realtime", "unit", "bad", "runs", "failed"),
    [
        (0.5, False, "ms", 1, 2, 0),  # the second one was in time
        (0.5, False, "ms", 9, 3, 1),  # none is: told as it is
        (0.0, False, "ms", 1, 1, 1),  # nothing disturbed it
        (0.5, True, "ms", 1, 1, 1),  # with the measures each counts
        (0.5, False, "J", 1, 1, 1),  # energy beyond the budget is no matter of time
        (0.5, False, "forbidden", 1, 1, 1),  # nor is a torque out of its bounds
    ],
)
def test_a_repeat_that_was_late_beside_a_stall_is_run_again(
    stall_s: float, realtime: bool, unit: str, bad: int, runs: int, failed: int, tmp_path: Path
) -> None:
    drawn: list[float] = []

    def fault(stage: Any, rng: np.random.Generator) -> Outcome:
        drawn.append(rng.random())
        outcome = Outcome(400.0 if len(drawn) <= bad else 100.0)
        outcome.forbid(unit != "forbidden", "a torque exceeded its bound")
        return outcome

    late = Fault(
        "F1", "late", "in time", 250.0, unit.replace("forbidden", "ms"), fault, stage=lambda realtime: Standing()
    )
    path, watch = tmp_path / "faults.jsonl", Told(stall_s)
    stages = _Stages(realtime)
    config = BenchFaultsConfig(repeats=1, realtime=realtime)
    _repeat(late, 0, config, path, stages, watch)  # type: ignore[arg-type]
    [line] = _read(path)
    assert len(drawn) == runs and len(set(drawn)) == 1, "each with the same random numbers"
    assert line["missed"] == bool(failed)
    assert [attempt["measured"] for attempt in line["disturbed"]] == [400.0] * (runs - 1)
    [row] = summary([line], ["F1"], 1)
    assert row["missed"] == failed and row["disturbed"] == runs - 1
    assert stall_s == 0.0 or stall_s > STALL_S
