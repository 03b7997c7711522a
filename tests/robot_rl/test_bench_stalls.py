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
from robot_rl.bench.faults.stalls import STALL_S, StallWatch
from robot_rl.config_bench import BenchFaultsConfig

BUSY = "import os,time\nos.sched_setaffinity(0,{%d})\nend=time.monotonic()+20\nwhile time.monotonic()<end: pass"


@pytest.fixture
def watch() -> Iterator[StallWatch]:
    watch = StallWatch()
    yield watch
    watch.close()


def test_a_stop_of_the_bench_itself_is_seen() -> None:
    program = (
        "import time\nfrom robot_rl.bench.faults.stalls import StallWatch\nwatch=StallWatch()\nwatch.begin([])\n"
        "print('ready',flush=True)\ntime.sleep(1.0)\nprint(watch.longest_s([]),flush=True)\nwatch.close()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None and bench.stdout.readline() == "ready\n"
        time.sleep(0.2)
        bench.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        bench.send_signal(signal.SIGCONT)
        assert float(bench.stdout.readline()) > 0.3


def test_a_program_that_waits_for_a_processor_is_seen_and_one_that_was_stopped_is_none(watch: StallWatch) -> None:
    core = min(os.sched_getaffinity(0))
    programs = [subprocess.Popen([sys.executable, "-c", BUSY % core]) for _ in range(3)]
    pids = [program.pid for program in programs]
    if not Path(f"/proc/{pids[0]}/schedstat").exists():
        pytest.skip("this kernel keeps no account of waiting")
    try:
        time.sleep(0.5)
        watch.begin(pids)
        time.sleep(1.0)
        assert watch.longest_s(pids) > 0.3, "three share one core"
        programs[0].send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        watch.begin(pids[:1])
        time.sleep(0.5)
        waited_s = watch.longest_s(pids[:1])
        programs[1].kill()
        programs[1].wait()
        assert watch.longest_s([pids[1]]) == pytest.approx(waited_s, abs=0.1), "who has gone does not count"
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

    def longest_s(self, pids: list[int]) -> float:
        return self.stall_s


class Standing:
    """A stage that stands already."""

    def pids(self) -> list[int]:
        return []

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("stall_s", "realtime", "bad", "runs", "failed"),
    [
        (0.5, False, 1, 2, 0),  # the second one held
        (0.5, False, 9, 3, 1),  # it never does: told as it is
        (0.0, False, 1, 1, 1),  # nothing disturbed it
        (0.5, True, 1, 1, 1),  # published figures are of the first run
    ],
)
def test_a_disturbed_repeat_is_run_again(
    stall_s: float, realtime: bool, bad: int, runs: int, failed: int, tmp_path: Path
) -> None:
    drawn: list[float] = []

    def fault(stage: Any, rng: np.random.Generator) -> Outcome:
        drawn.append(rng.random())
        return Outcome(300.0 if len(drawn) <= bad else 100.0)

    late = Fault("F1", "late", "in time", 250.0, "us", fault, stage=lambda realtime: Standing())
    path, watch = tmp_path / "faults.jsonl", Told(stall_s)
    stages = _Stages(realtime)
    config = BenchFaultsConfig(repeats=1, realtime=realtime)
    _repeat(late, 0, config, path, stages, watch)  # type: ignore[arg-type]
    [line] = _read(path)
    assert len(drawn) == runs and len(set(drawn)) == 1, "each with the same random numbers"
    assert line["missed"] == bool(failed) and line["disturbed"] == (runs - 1)
    [row] = summary([line], ["F1"], 1)
    assert row["missed"] == failed and row["disturbed"] == runs - 1
    assert stall_s == 0.0 or stall_s > STALL_S
