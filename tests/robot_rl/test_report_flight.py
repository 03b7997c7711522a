"""The page of a flight: its pieces, and that it stands alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers.flight.file import Flight, FlightHeader, write_flight
from controllers.types import COMMAND, REPORT
from data.errors import UserError
from robot_rl.cli.safety_verbs import replay
from robot_rl.config_safety import SafetyReplayConfig
from robot_rl.report.flight import reason_words, stretches, thin, write_flight_page
from safety.reasons import Reason


def test_every_reason_has_its_words() -> None:
    words = reason_words()
    assert set(words) == {int(reason) for reason in Reason}
    assert words[int(Reason.FORCE_TRIP)].startswith("The contact force")


@given(st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), min_size=1, max_size=4000))
def test_a_thinned_line_keeps_its_extremes_and_its_order(values: list[float]) -> None:
    line = np.array(values)
    times, thinned = thin(np.arange(float(len(line))), line)
    assert len(thinned) <= 1200 and (np.diff(times) > 0).all()
    if np.isfinite(line).any():
        assert np.nanmax(thinned) == np.nanmax(line) and np.nanmin(thinned) == np.nanmin(line)


@given(st.lists(st.sampled_from([0, 1, 43, 62]), min_size=1, max_size=50))
def test_stretches_cover_the_flight_without_a_gap(reasons: list[int]) -> None:
    times = np.arange(float(len(reasons)))
    parts = stretches(np.array(reasons), times)
    assert parts[0].begin_s == 0.0 and parts[-1].end_s == times[-1]
    assert all(first.end_s == second.begin_s for first, second in pairwise(parts))
    assert all(first.reason != second.reason for first, second in pairwise(parts))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("{flight}", "is the flight itself: name another file"),
        ("{folder}/../{name}/{file}", "is the flight itself"),
        ("{folder}/nowhere/page.html", "expected a folder .*nowhere for out="),
        ("{folder}", "is a folder: name a file in it"),
    ],
)
def test_a_replay_never_writes_over_its_flight_nor_outside_a_folder(tmp_path: Path, out: str, message: str) -> None:
    header = FlightHeader("arm", 62, "FORCE_TRIP", 0, 1000.0, "k")
    path = write_flight(tmp_path, Flight(header, np.zeros(9, REPORT), np.zeros(0, COMMAND)), keep=3)
    before = path.read_bytes()
    given = out.format(flight=path, folder=tmp_path, name=tmp_path.name, file=path.name)
    with pytest.raises(UserError, match=message):
        replay(SafetyReplayConfig(path=str(path), out=given))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_numbers_in_a_flight_make_a_page(tmp_path: Path, data: Any) -> None:
    reports = np.zeros(40, REPORT)
    odd = st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e300, -1e-300])
    for name in ("wrench_tool", "twist_base", "command_age_s", "tau_executed_nm", "tank_energy_j", "risk"):
        reports[name] = data.draw(odd)
    reports["stamp_ns"] = data.draw(st.integers(-(2**62), 2**62 - 1))
    reports["reason"], reports["latched"] = data.draw(st.integers(-(2**40), 2**40)), 62
    header = FlightHeader("arm", data.draw(st.integers(-5, 2**40)), "X", 0, 1000.0, "k")
    path = write_flight(tmp_path, Flight(header, reports, np.full(2, 0, COMMAND)), keep=1)
    assert "</html>" in write_flight_page(path, tmp_path / "page.html").read_text()


def test_the_page_stands_alone_and_shows_nothing_as_markup(tmp_path: Path) -> None:
    reports = np.zeros(3000, REPORT)
    reports["stamp_ns"] = np.arange(3000) * 1_000_000
    reports["risk"] = reports["tank_energy_j"] = np.nan
    reports["reason"][2000:], reports["latched"][2000:] = Reason.FORCE_TRIP, Reason.FORCE_TRIP
    header = FlightHeader("<b>arm</b>", 62, "FORCE_TRIP", 2_000_000_000, 1000.0, "k", cut_short=True, lost=7)
    path = write_flight(tmp_path, Flight(header, reports, np.zeros(3, COMMAND)), keep=3)
    text = write_flight_page(path, tmp_path / "page.html").read_text()
    assert "force trip. The contact force exceeded its limit; latched." in text
    assert "<b>arm" not in text and "&lt;b&gt;arm" in text
    assert "7 reports were lost" in text and "ended before the time after the latch" in text
    assert "+0.000 s" in text and "3 of 3 commands" in text and "2.0 s" in text
    assert 'src="data:image/svg+xml' in text and "<script" not in text
