from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.realtime import Histogram, Pacer, RealtimeConfig, isolated_cores


def in_a_process(script: str) -> str:
    """Runs a script in a process of its own, whose scheduling may be changed; returns what it printed."""
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


def histogram(bins: int = 50) -> Histogram:
    return Histogram(memoryview(bytearray(8 * bins)).cast("q"))


@given(st.lists(st.integers(0, 40_000), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_the_next_microsecond_above_the_exact_one(durations_ns: list[int], share: float) -> None:
    counts = histogram()
    for duration_ns in durations_ns:
        counts.add(duration_ns)
    exact_us = np.quantile(durations_ns, share, method="inverted_cdf") / 1000
    assert exact_us < counts.quantile_us(share) <= exact_us + 1.0
    assert counts.total == len(durations_ns)


def test_what_lies_beyond_the_last_bin_counts_as_infinite() -> None:
    counts = histogram()
    assert np.isnan(counts.quantile_us(0.5))
    counts.add(10**12)
    counts.add(-5)
    assert counts.quantile_us(1.0) == float("inf") and counts.quantile_us(0.5) == 1.0
    counts.clear()
    assert counts.total == 0


def test_the_pacer_never_wakes_early_and_its_deadlines_do_not_drift() -> None:
    pacer = Pacer(2_000_000, 100_000)
    pacer.restart()
    start_ns = time.monotonic_ns()
    for tick in range(1, 51):
        assert pacer.wait() >= 0
        assert time.monotonic_ns() >= start_ns + (tick + pacer.skipped - 1) * 2_000_000


def test_a_long_pause_is_one_overrun_whose_periods_are_skipped_not_caught_up() -> None:
    pacer = Pacer(2_000_000, 0)
    pacer.wait()
    overruns = pacer.overruns
    time.sleep(0.021)
    lateness_ns = pacer.wait()
    assert lateness_ns > 2_000_000
    assert pacer.overruns == overruns + 1
    assert pacer.skipped >= lateness_ns // 2_000_000


def test_a_spin_longer_than_the_period_is_refused() -> None:
    with pytest.raises(ValueError, match="period must be longer than the spin of 1000 ns"):
        Pacer(1000, 1000)


def test_measures_that_nobody_asked_for_say_so() -> None:
    printed = in_a_process(
        "from controllers.realtime import *\n"
        "nothing = RealtimeConfig(priority=0, core=-2, lock_memory=False, collect_garbage=True, spin_us=0)\n"
        "for m in take_measures(nothing): print(m.name, m.obtained)"
    )
    assert printed.split("\n")[:-1] == [f"{name} False" for name in ("core", "memory", "garbage", "spin", "scheduler")]


def test_without_rights_each_missing_measure_names_its_cure_and_nothing_raises() -> None:
    printed = in_a_process(
        "import os, resource\n"
        "from controllers.realtime import *\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "os.getuid() or os.setuid(65534)\n"
        "for m in take_measures(RealtimeConfig(core=100_000)): print(m.name, m.obtained, m.detail)"
    )
    lines = {line.split()[0]: line for line in printed.splitlines()}
    assert "scheduler False no right to SCHED_FIFO 80: give the user `rtprio 80`" in lines["scheduler"]
    assert "memory False mlockall refused" in lines["memory"] and "memlock" in lines["memory"]
    assert "core 100000 is not to be had: set core to one of [" in lines["core"]
    assert "garbage True" in lines["garbage"] and "spin True" in lines["spin"]


@pytest.mark.parametrize(("text", "cores"), [("\n", set()), ("3\n", {3}), ("1,4-6\n", {1, 4, 5, 6}), (None, set())])
def test_isolated_cores_are_read_as_the_kernel_writes_them(tmp_path: Path, text: str | None, cores: set[int]) -> None:
    file = tmp_path / "isolated"
    if text is not None:
        file.write_text(text)
    assert isolated_cores(file) == cores


def test_keeping_off_a_core_moves_to_the_others_or_leaves_all_as_it_was() -> None:
    printed = in_a_process(
        "import os\n"
        "from controllers.realtime import *\n"
        "before = os.sched_getaffinity(0); core = choose_core(-1); moved = keep_off_core(core)\n"
        "assert os.sched_getaffinity(0) == (before - {core} if len(before) > 1 else before)\n"
        "print(moved == (len(before) > 1))\n"
        "alone = choose_core(-1); os.sched_setaffinity(0, {alone}); print(keep_off_core(alone))"
    )
    assert printed.split() == ["True", "False"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("priority", 100, "priority must be 0..99"),
        ("core", -3, "core must be"),
        ("spin_us", 1000, "spin_us must be 0..900"),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RealtimeConfig(**{field: value})  # type: ignore[arg-type]
