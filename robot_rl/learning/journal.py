"""The replay's file: one record a transition, appended: a killed process loses at most the record being written.

`replay.log` begins with one JSON line that describes the record, then holds fixed-size records, each with its serial
number and a checksum. What follows the last whole record is the trace of a crash and is cut off at the next load.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.atomic import is_disk_full, write_atomic
from data.errors import UserError

if TYPE_CHECKING:
    from robot_rl.learning.replay import Replay

FILE = "replay.log"
FORMAT = "robot-rl replay 2"
TRANSITION, INTERRUPT = 0, 1
_PLAIN = (
    "serial", "starts", "terminated", "truncated", "cut", "steps", "source", "reward", "cost", "obs", "action",
    "proposed",
)  # fmt: skip
"""Fields of a record that are rows of the replay's arrays of the same names."""


def record_type(replay: Replay) -> np.dtype[Any]:
    """Returns the record of one transition of `replay`."""
    fields: list[Any] = [
        ("serial", "<i8"), ("kind", "u1"), ("starts", "u1"), ("terminated", "u1"), ("truncated", "u1"), ("cut", "u1"),
        ("steps", "<f8"), ("source", "<i8"), ("reward", "<f4"), ("cost", "<f4"), ("obs", "<f4", (replay.obs_size,)),
        ("action", "<f4", (replay.action_size,)), ("proposed", "<f4", (replay.action_size,)),
        ("next_obs", "<f4", (replay.obs_size,)),
    ]  # fmt: skip
    for name, shape in replay.extras_shapes.items():
        fields += [(f"extras.{name}", "<f4", shape), (f"next_extras.{name}", "<f4", shape)]
    return np.dtype([*fields, ("checksum", "<u4")])


def append(replay: Replay, folder: str | os.PathLike[str], since: int, was_open: bool, sync: bool) -> None:
    """Appends the transitions added after the first `since`, and an interruption that came after the last of them.

    Args:
        replay: source.
        folder: where `replay.log` is, or is made.
        since: transitions that the file holds already.
        was_open: whether, by the file, the newest episode still goes on.
        sync: whether to force the file to the disk, against a loss of power too.

    Raises:
        UserError: the disk is full (the file keeps what it had), or transitions were overwritten unsaved.
    """
    path = Path(folder) / FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _header(replay))
    records = _records(replay, since)
    closing = bool(records[-1]["terminated"] or records[-1]["truncated"]) if len(records) else not was_open
    if not closing and not replay.open:
        marker = np.zeros(1, records.dtype)
        marker["serial"], marker["kind"] = replay.added, INTERRUPT
        records = np.concatenate([records, _sealed(marker)])
    if len(records):
        _write(path, records.tobytes(), sync)


def read(replay: Replay, folder: str | os.PathLike[str], upto: int | None) -> None:
    """Fills an empty replay with the first `upto` transitions of the file (all if None) and cuts off what follows them.

    Raises:
        UserError: there is no such file, it belongs to another replay or was written by another version of this
            program, or it holds fewer transitions than `upto`.
    """
    path, kind = Path(folder) / FILE, record_type(replay)
    if not path.is_file():
        if upto == 0:
            return
        raise UserError(f"expected the replay's file at {path}, found none; resume from a whole run folder")
    content = path.read_bytes()
    line, _, body = content.partition(b"\n")
    if line + b"\n" != _header(replay):
        found, wanted = line[:400].decode(errors="replace"), _header(replay).decode().strip()
        cure = "go on with the version that wrote it, or begin anew in another out" if FORMAT not in found else ""
        raise UserError("; ".join(filter(None, [f"{path} holds {found}", f"this run needs {wanted}", cure])))
    records = np.frombuffer(body[: len(body) // kind.itemsize * kind.itemsize], kind)
    kept = 0
    for record, intact in zip(records, _checksums(records) == records["checksum"], strict=True):
        if not intact or record["serial"] != replay.added:
            break
        if record["kind"] == TRANSITION and upto is not None and replay.added >= upto:
            break
        _apply(replay, record)
        kept += 1
    if upto is not None and replay.added < upto:
        raise UserError(f"{path} holds {replay.added} whole transitions, the checkpoint needs {upto}; use an older one")
    os.truncate(path, len(line) + 1 + kept * kind.itemsize)


def _apply(replay: Replay, record: Any) -> None:
    if record["kind"] == INTERRUPT:
        replay.interrupt()
    else:
        add_record(replay, record)


def add_record(replay: Replay, record: Any) -> None:
    """Adds the transition of a record of `record_type`, with the interruption before or after it if there was one.

    Raises:
        UserError: as Replay.add tells.
    """
    if record["starts"]:
        replay.interrupt()
    now = {name: record[f"extras.{name}"] for name in replay.extras_shapes}
    then = {name: record[f"next_extras.{name}"] for name in replay.extras_shapes}
    replay.add(
        record["obs"], record["action"], float(record["reward"]), record["next_obs"], bool(record["terminated"]),
        bool(record["truncated"]) and not record["cut"], int(record["source"]), now, then, float(record["steps"]),
        float(record["cost"]), record["proposed"],
    )  # fmt: skip
    if record["cut"]:
        replay.interrupt()


def records_of(replay: Replay, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Returns the records, not yet sealed, of these rows of a replay."""
    following = (rows + 1) % replay.capacity
    records = np.zeros(len(rows), record_type(replay))
    for name in _PLAIN:
        records[name] = getattr(replay, name)[rows]
    records["next_obs"] = replay.obs[following]
    for name, values in replay.extras.items():
        records[f"extras.{name}"], records[f"next_extras.{name}"] = values[rows], values[following]
    return records


def _records(replay: Replay, since: int) -> NDArray[Any]:
    """Returns the sealed records of the transitions added after the first `since`."""
    rows = np.flatnonzero(replay.has_action & (replay.serial >= since))
    rows = rows[np.argsort(replay.serial[rows])]
    if len(rows) != replay.added - since:
        lost = replay.added - since - len(rows)
        cure = f"save more often than every {replay.capacity} rows"
        raise UserError(f"{lost} transitions were overwritten before they were saved: {cure}")
    return _sealed(records_of(replay, rows))


def _sealed(records: NDArray[Any]) -> NDArray[Any]:
    records["checksum"] = _checksums(records)
    return records


def _checksums(records: NDArray[Any]) -> NDArray[np.uint32]:
    """Returns the CRC-32 of each record without its last field."""
    return np.array([zlib.crc32(record.tobytes()[:-4]) for record in records], np.uint32)


def _header(replay: Replay) -> bytes:
    about = {
        "format": FORMAT, "obs": replay.obs_size, "action": replay.action_size,
        "extras": {name: list(shape) for name, shape in replay.extras_shapes.items()},
    }  # fmt: skip
    return json.dumps(about).encode() + b"\n"


def _write(path: Path, content: bytes, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            if sync:
                os.fsync(descriptor)
        except OSError as error:
            if not is_disk_full(error):
                raise
            os.ftruncate(descriptor, size)
            raise UserError(f"disk full while appending to {path}: what it held is intact; free some space") from error
    finally:
        os.close(descriptor)
