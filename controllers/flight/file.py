"""A flight file: the ticks around a latch and the commands that were seen, as .npz without pickle, with a JSON header.

Written beside its place and renamed, so that it is there whole or not at all. Reading trusts nothing.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.types import COMMAND, REPORT, SCHEMA_VERSION
from data.atomic import replace_file
from data.errors import UserError

FORMAT = "robot-rl flight 1"
SUFFIX = ".npz"
_MAX_HEADER_BYTES = 1 << 20
_KINDS: dict[str, type] = {"int": int, "str": str, "float": float, "bool": bool}
_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError)
_BROKEN = (*_ZIP, KeyError, ValueError, TypeError, AttributeError, OverflowError, RuntimeError)
"""What the libraries raise for an archive that is damaged, encrypted, of another kind, or none at all."""
_UNITS = {
    "_ns": "ns",
    "_s": "s",
    "_rad": "rad",
    "_rad_s": "rad/s",
    "_nm": "Nm",
    "_m": "m",
    "_j": "J",
    "_n": "N",
    "_w": "W",
    "_m_s": "m/s",
    "twist_base": "m/s x3, rad/s x3",
    "wrench_tool": "N x3, Nm x3",
    "wrench_base": "N x3, Nm x3",
    "stiffness": "N/m x3, Nm/rad x3",
    "xyzw": "unit quaternion",
}


@dataclass(frozen=True)
class FlightHeader:
    """What a flight file says about itself."""

    motor: str
    """Name of the motor process; "lock-step" for a simulation inside its caller."""
    reason: int
    """Reason code of the latch, the worst within the file; 0 where the motor process DIED or FAILED without one."""
    reason_name: str
    """Its name in the version that wrote the file."""
    trip_ns: int
    """Time of the first latch on the clock of the reports' stamp_ns [ns]."""
    rate_hz: float
    """Ticks per second [Hz]."""
    kernels: str
    """Hash of the compiled kernels."""
    cut_short: bool = False
    """Whether the motor process ended before the time after the latch was over."""
    lost: int = 0
    """Reports that were overwritten before they could be read."""
    written_utc: str = ""
    """When the file was made, ISO 8601; set by `write_flight`."""
    schema: int = SCHEMA_VERSION
    """Version of the records."""


@dataclass(frozen=True)
class Flight:
    """The content of a flight file."""

    header: FlightHeader
    reports: NDArray[Any]
    """REPORT records (n,) in the order of their ticks, in the version that wrote them."""
    commands: NDArray[Any]
    """COMMAND records (m,) as they were sent, accepted or not; renewals left out. Beside a motor process the newest of
    each 50 ms."""


def unit_of(field: str) -> str:
    """Returns the unit of a field of a record, "" for numbers without one."""
    for ending in sorted(_UNITS, key=len, reverse=True):
        if field.endswith(ending):
            return _UNITS[ending]
    return ""


def write_flight(folder: Path, flight: Flight, keep: int) -> Path:
    """Writes a flight into a folder, makes room beyond the newest `keep` files, and returns the new one's path.

    Raises OSError where it cannot be written; nothing half-written stays.
    """
    now = datetime.now(UTC)
    header = {**asdict(flight.header), "written_utc": now.isoformat(), "format": FORMAT}
    header["units"] = {name: unit_of(name) for name in flight.reports.dtype.names or ()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S.%f}Z-{flight.header.reason_name}{SUFFIX}"
    replace_file(path, _packed(json.dumps(header), flight))
    others = [old for old in flight_files(folder) if old != path]  # a clock set back does not make it the oldest
    for old in others[: max(len(others) - keep + 1, 0)]:
        old.unlink(missing_ok=True)
    return path


def flight_files(folder: Path) -> list[Path]:
    """Returns the flight files of a folder, oldest first: by their time of writing, then by name."""
    dated = []
    for path in folder.glob(f"2*Z-*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another recorder makes room as well
            if path.is_file():
                dated.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(dated)]


def _packed(header: str, flight: Flight) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("header.json", header)
        for name, array in (("reports", flight.reports), ("commands", flight.commands)):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(f"{name}.npy", content.getvalue())
    return buffer.getvalue()


def read_flight(path: Path) -> Flight:
    """Returns a flight file's content. Raises UserError, in one line, for anything that is not a whole one."""
    if not path.is_file():
        raise UserError(f"expected a flight file at {path}, found none; see the folder that the run named")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("header.json").file_size > _MAX_HEADER_BYTES:
                raise ValueError("its header is too long")
            header = json.loads(archive.read("header.json"))
            reports, commands = (_array(archive, name) for name in ("reports", "commands"))
        if header.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        header.pop("units")
        whole = _checked(FlightHeader(**header))
    except _BROKEN as error:
        raise UserError(f"{path} is no whole flight file ({error}); give one that the flight recorder wrote") from error
    found = _lack(reports, REPORT) or _lack(commands, COMMAND) or ("" if len(reports) else "no tick")
    if found:
        raise UserError(
            f"{path} holds {found}: it was written with schema {whole.schema}, this version reads {SCHEMA_VERSION}; "
            "use the version that wrote it"
        )
    return Flight(whole, reports, commands)


def _checked(header: FlightHeader) -> FlightHeader:
    """Returns a header whose values are what they should be. Raises ValueError for the first that is not."""
    for field in fields(header):
        value, kind = getattr(header, field.name), _KINDS[str(field.type)]
        number = kind is float and type(value) is int
        if type(value) is not kind and not number:
            raise ValueError(f"its {field.name} is {value!r:.40}, expected {field.type}")
        if kind is int and not -(2**62) < value < 2**62:
            raise ValueError(f"its {field.name} is out of range")
    if not (math.isfinite(header.rate_hz) and header.rate_hz > 0.0):
        raise ValueError(f"its rate_hz is {header.rate_hz}, expected a finite number above 0")
    return header


def _lack(records: NDArray[Any], expected: np.dtype[np.void]) -> str:
    """Returns what records lack of the expected fields, "" for nothing; further fields do no harm."""
    theirs = records.dtype
    for name in expected.names or ():
        if name not in (theirs.names or ()):
            return f"no {name}"
        if theirs[name] != expected[name]:
            return f"a {name} of another type"
    return ""


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    if array.ndim != 1 or array.dtype.names is None:
        raise ValueError(f"{name} are no records")
    return array
