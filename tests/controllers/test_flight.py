"""The flight recorder's memory and files: what is kept, what is written when, and what no file may be."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.flight.buffer import FlightBuffer
from controllers.flight.config import FlightConfig
from controllers.flight.file import Flight, FlightHeader, flight_files, read_flight, unit_of, write_flight
from controllers.types import COMMAND, REPORT
from data.errors import UserError
from safety.reasons import Reason

RATE_HZ = 100.0
HEADER = FlightHeader("arm", int(Reason.FORCE_TRIP), "FORCE_TRIP", 5_000, RATE_HZ, "0123456789abcdef")


class Arm:
    """Makes reports, a hundred a second, whose latch a test sets."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.buffer = FlightBuffer(FlightConfig(folder=str(folder), **settings), "arm", "kernels", RATE_HZ)
        self.ticks = 0

    def run(self, duration_s: float, latched: int = 0, chunk: int = 7) -> None:
        left = round(duration_s * RATE_HZ)
        while left > 0:
            reports = np.zeros(min(chunk, left), REPORT)
            reports["tick"] = np.arange(self.ticks, self.ticks + len(reports))
            reports["stamp_ns"], reports["latched"] = reports["tick"] * 10_000_000, latched
            self.ticks += len(reports)
            left -= len(reports)
            self.buffer.add(reports)


@given(chunk=st.integers(1, 40), before_s=st.floats(0.2, 3.0), after_s=st.floats(0.0, 1.0), lead_s=st.floats(0.05, 6.0))
def test_a_file_holds_every_tick_of_its_window(
    tmp_path_factory: pytest.TempPathFactory, chunk: int, before_s: float, after_s: float, lead_s: float
) -> None:
    arm = Arm(tmp_path_factory.mktemp("flights"), before_s=before_s, after_s=after_s)
    arm.run(lead_s, chunk=chunk)
    first = arm.ticks
    arm.run(after_s + 1.0, int(Reason.FORCE_TRIP), chunk)
    [path] = arm.buffer.written
    reports = read_flight(path).reports
    assert (np.diff(reports["tick"]) == 1).all()
    assert len(reports) <= round((before_s + after_s) * RATE_HZ)
    assert reports["tick"][0] <= max(0, first - round(before_s * RATE_HZ) + chunk), "as far back as asked"
    assert reports["tick"][-1] >= first + after_s * RATE_HZ - 1e-6


def test_bursts_share_a_file_and_old_files_make_room(tmp_path: Path) -> None:
    arm = Arm(tmp_path, before_s=1.0, after_s=0.1, keep=3, pause_s=2.0)
    for _ in range(6):
        arm.run(0.5)
        arm.run(0.3, int(Reason.FORCE_TRIP))
    assert len(arm.buffer.written) == 2 and arm.buffer.left_out == 4
    for _ in range(4):
        arm.run(2.5)
        arm.run(0.3, int(Reason.SPEED_TRIP))
    assert [path.name for path in flight_files(tmp_path)] == [path.name for path in arm.buffer.written[-3:]]


def test_a_worse_latch_soon_after_a_file_gets_its_own(tmp_path: Path) -> None:
    arm = Arm(tmp_path, after_s=0.1)
    arm.run(0.5)
    arm.run(0.3, int(Reason.FORCE_TRIP))
    arm.run(2.0)
    arm.run(0.3, int(Reason.ESTOP))
    assert [read_flight(path).header.reason_name for path in arm.buffer.written] == ["FORCE_TRIP", "ESTOP"]
    arm.run(2.0)
    arm.run(0.3, int(Reason.FORCE_TRIP))
    assert len(arm.buffer.written) == 2 and arm.buffer.left_out == 1


def test_a_latch_that_became_worse_counts_as_the_worse_one(tmp_path: Path) -> None:
    arm = Arm(tmp_path, after_s=0.1)
    arm.run(0.5)
    arm.run(0.05, int(Reason.FORCE_TRIP))
    arm.run(0.5, int(Reason.ESTOP))
    arm.run(1.0)
    arm.run(0.5, int(Reason.ESTOP))
    assert len(arm.buffer.written) == 1 and arm.buffer.left_out == 1


def test_a_worse_latch_within_a_latch_names_the_file_and_an_unchanged_one_is_none(tmp_path: Path) -> None:
    arm = Arm(tmp_path, after_s=0.1)
    arm.run(0.5)
    arm.run(0.05, int(Reason.FORCE_TRIP))
    arm.run(20.0, int(Reason.STATE_INVALID))
    assert len(arm.buffer.written) == 1 and arm.buffer.left_out == 0
    header = read_flight(arm.buffer.written[0]).header
    assert (header.reason_name, header.reason) == ("STATE_INVALID", Reason.STATE_INVALID)
    assert header.trip_ns == 500_000_000 and "-STATE_INVALID.npz" in arm.buffer.written[0].name


def test_what_is_due_at_the_end_is_written_and_says_that_it_is_cut_short(tmp_path: Path) -> None:
    arm = Arm(tmp_path)
    arm.run(0.5)
    arm.run(0.1, int(Reason.ESTOP))
    arm.buffer.finish()
    flight = read_flight(arm.buffer.written[0])
    assert flight.header.cut_short and len(flight.reports) == 60
    Arm(tmp_path).buffer.finish("DIED")
    arm = Arm(tmp_path)
    arm.run(0.2)
    arm.buffer.finish("DIED")
    assert read_flight(arm.buffer.written[0]).header.reason_name == "DIED"


def test_commands_are_kept_as_they_came(tmp_path: Path) -> None:
    arm = Arm(tmp_path, before_s=1.0, after_s=0.1)
    command = np.zeros(1, COMMAND)
    for second in range(4):
        command["sequence"], command["stamp_ns"] = second, second * 1_000_000_000
        arm.buffer.add_command(command)
        arm.run(1.0)
    command["stiffness"] = 1e6
    arm.run(0.2, int(Reason.FORCE_TRIP))
    commands = read_flight(arm.buffer.written[0]).commands
    assert commands["sequence"].tolist() == [3] and commands["stiffness"].max() == 0.0, "a copy, of the window only"


def test_fault_f18_a_full_disk_costs_the_file_and_a_line_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arm = Arm(tmp_path, after_s=0.1, pause_s=0.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for _ in range(2):
            arm.run(0.5)
            arm.run(0.2, int(Reason.FORCE_TRIP))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [] and arm.buffer.left_out == 2
    assert capfd.readouterr().err.count("cannot write to") == 1, "said once"
    arm.run(0.5)
    arm.run(0.2, int(Reason.FORCE_TRIP))
    assert len(flight_files(tmp_path)) == 1


def written(folder: Path, **changes: Any) -> Path:
    flight = Flight(replace(HEADER, **changes), np.zeros(20, REPORT), np.zeros(2, COMMAND))
    return write_flight(folder, flight, keep=5)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    flight = read_flight(written(tmp_path, lost=3))
    assert replace(flight.header, written_utc="") == replace(HEADER, lost=3)
    assert flight.reports.dtype == REPORT and flight.commands.dtype == COMMAND
    assert unit_of("tau_executed_nm") == "Nm" and unit_of("twist_base").startswith("m/s") and unit_of("tick") == ""


@given(st.data())
def test_a_damaged_file_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("damage")
    path = written(folder)
    content = bytearray(path.read_bytes())
    place = int(data.draw(st.floats(0.0, 1.0, exclude_max=True)) * len(content))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        flight = read_flight(path)
    except UserError as error:
        assert str(path) in str(error)
    else:  # the bit was none that anybody reads, or one of the text
        assert flight.reports.tobytes() == np.zeros(20, REPORT).tobytes()


@pytest.mark.parametrize("keep", [1, 3])
def test_a_clock_that_was_set_back_costs_an_old_file_and_never_the_one_just_made(tmp_path: Path, keep: int) -> None:
    tomorrow_s = time.time() + 86_400
    for index in range(4):
        future = tmp_path / f"2999010{index}T000000.000000Z-ESTOP.npz"
        future.write_bytes(b"")
        os.utime(future, (tomorrow_s + index, tomorrow_s + index))
    path = write_flight(tmp_path, Flight(HEADER, np.zeros(20, REPORT), np.zeros(2, COMMAND)), keep)
    left = flight_files(tmp_path)
    assert path in left and len(left) == keep
    assert [file.name[:8] for file in left if file != path] == [f"2999010{index}" for index in range(4)][5 - keep :]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trip_ns": "soon"}, "its trip_ns is 'soon', expected int"),
        ({"trip_ns": 1.5}, "its trip_ns is 1.5, expected int"),
        ({"trip_ns": 2**70}, "its trip_ns is out of range"),
        ({"reason": None}, "its reason is None, expected int"),
        ({"reason_name": 7}, "its reason_name is 7, expected str"),
        ({"rate_hz": float("nan")}, "its rate_hz is nan, expected a finite number above 0"),
        ({"rate_hz": 0}, "its rate_hz is 0, expected a finite number above 0"),
        ({"motor": ["arm"]}, "its motor is .'arm'., expected str"),
        ({"cut_short": "no"}, "its cut_short is 'no', expected bool"),
        ({"lost": {}}, "its lost is {}, expected int"),
    ],
    ids=str,
)
def test_a_header_of_wrong_values_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_flight(written(tmp_path, **changes))


def retyped(dtype: Any, name: str, form: str) -> Any:
    return np.dtype([(field, form if field == name else dtype[field]) for field in dtype.names])


def test_records_of_other_types_are_refused(tmp_path: Path) -> None:
    for name, form in (("stamp_ns", "f8"), ("wrench_tool", "f8"), ("reason", "S4"), ("latched", "i4")):
        flight = Flight(HEADER, np.zeros(5, retyped(REPORT, name, form)), np.zeros(1, COMMAND))
        with pytest.raises(UserError, match=f"holds a {name} of another type: it was written with schema"):
            read_flight(write_flight(tmp_path, flight, keep=9))
    flight = Flight(HEADER, np.zeros(5, REPORT), np.zeros(1, retyped(COMMAND, "stiffness", "f8")))
    with pytest.raises(UserError, match="holds a stiffness of another type"):
        read_flight(write_flight(tmp_path, flight, keep=9))


def test_files_of_another_schema_and_no_files_are_refused(tmp_path: Path) -> None:
    old = np.zeros(5, [("tick", "i8"), ("stamp_ns", "i8")])
    path = write_flight(tmp_path, Flight(replace(HEADER, schema=1), old, np.zeros(0, COMMAND)), keep=5)
    with pytest.raises(UserError, match="holds no sequence: it was written with schema 1, this version reads"):
        read_flight(path)
    with pytest.raises(UserError, match="expected a flight file at .*, found none"):
        read_flight(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "settings", [{"before_s": 0.0}, {"after_s": -1.0}, {"keep": 0}, {"pause_s": float("nan")}], ids=str
)
def test_settings_that_make_no_sense_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        FlightConfig(**settings)


def test_the_recorder_is_a_light_process() -> None:
    heavy = "{'numba', 'torch', 'scipy', 'mujoco'}"
    code = f"import sys, controllers.flight.process; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_without_a_folder_files_go_to_the_users_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert FlightConfig().path == Path("/somewhere/robot-rl/flights")
