from __future__ import annotations

import math
import os

import pytest

from data.errors import UserError
from robot_rl.bench import control


def test_the_tick_is_measured_whole_beside_bare_pinocchio() -> None:
    figures = control.measure_tick(2000)
    assert all(math.isfinite(value) for value in figures.values())
    assert 0.0 < figures["tick_p50_us"] <= figures["tick_p99_us"]
    assert figures["tick_ratio_pinocchio"] == pytest.approx(figures["tick_p50_us"] / figures["pinocchio_p50_us"])


def test_the_loop_is_measured_under_load_and_gives_the_cores_back() -> None:
    cores = os.sched_getaffinity(0)
    figures = control.measure_loop(1.0)
    assert os.sched_getaffinity(0) == cores
    assert {"loop_lateness_p999_us", "loop_overruns", "realtime"} <= figures.keys()
    assert figures["loop_ticks"] > 100 and figures["loop_lost_reports"] == 0 and figures["load_updates_per_s"] > 0
    assert isinstance(figures["realtime"], bool)


@pytest.mark.parametrize(("seconds", "ticks"), [(0.0, 10_000), (1.0, 10)])
def test_a_measurement_of_nothing_is_refused(seconds: float, ticks: int) -> None:
    with pytest.raises(UserError, match="needs seconds > 0 and ticks >= 1000"):
        control.run(seconds, ticks)
