"""What a run measured: one JSON object a line in metrics.jsonl, the same as TensorBoard scalars, and progress bars.

Kinds of records: `episode`, `update`, `eval`, `critic`; docs/reports.md defines their fields, docs/learning.md those of
`update`. The file is the truth, TensorBoard a copy.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from io import BytesIO, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from data.atomic import is_disk_full, write_atomic
from data.errors import UserError

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
ONLINE_KINDS = ("episode", "update", "eval", "critic", "summary")
"""Kinds whose `step` counts environment steps of online training."""


def plain(value: Any) -> Any:
    """Returns `value` as JSON can hold it: NumPy numbers and arrays as plain ones, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def json_line(figures: Mapping[str, Any]) -> str:
    """Returns the figures as one line of JSON."""
    return json.dumps(plain(figures), allow_nan=False)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns the records of a run in the order of writing; a torn last line (a crash while writing) is left out."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    records: list[dict[str, Any]] = []
    for number, line in enumerate(_whole_lines(path.read_bytes()), start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise UserError(
                f"{path}, line {number} is no JSON ({error}); remove that line or restore the file"
            ) from error
    return records


def _whole_lines(content: bytes) -> list[bytes]:
    return content[: content.rfind(b"\n") + 1].splitlines()


class MetricsLog:
    """Append-only log of a run: `write` takes a record with `kind` and `step`.

    A record is on its way to the disk when `write` returns; a killed process leaves at most a torn last line, which the
    next one removes.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self._path = folder / METRICS_FILE
        self._mend_tail()
        self._file = self._path.open("ab", buffering=0)
        self._scalars = _Scalars(folder / TENSORBOARD_FOLDER) if tensorboard else None

    def _mend_tail(self) -> None:
        if self._path.is_file():
            whole = self._path.read_bytes().rfind(b"\n") + 1
            if whole < self._path.stat().st_size:
                with self._path.open("r+b") as file:
                    file.truncate(whole)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record; numbers that are not finite become null. Raises `UserError` where the disk is full."""
        _append_whole(self._file, json_line(record).encode() + b"\n", self._path)
        if self._scalars is not None:
            self._scalars.write(record)

    def truncate_to(self, step: int) -> None:
        """Removes online training's records of later steps: a run resumed from a checkpoint at `step` writes them anew.

        Records of other kinds, such as those of imitation whose steps are updates, stay.
        """
        self._file.close()
        content = self._path.read_bytes()
        kept = [line for line in _whole_lines(content) if not _later(json.loads(line), step)]
        write_atomic(self._path, b"".join(line + b"\n" for line in kept))
        self._file = self._path.open("ab", buffering=0)
        if self._scalars is not None:
            self._scalars.forget_after(step)

    def close(self) -> None:
        """Writes what is still to be written; harmless when called again."""
        self._file.close()
        if self._scalars is not None:
            self._scalars.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _append_whole(file: FileIO, content: bytes, path: Path) -> None:
    """Appends `content` wholly or not at all. Raises `UserError` where the disk is full."""
    start = file.tell()
    try:
        written = file.write(content)
        if written != len(content):  # the disk took a part only: ask for the rest, which raises if it is full
            file.write(content[written:])
    except OSError as error:
        if not is_disk_full(error):
            raise
        file.truncate(start)
        raise UserError(f"disk full while writing {path}; free some space and run the same command") from error


def _later(record: Mapping[str, Any], step: int) -> bool:
    return record.get("kind") in ONLINE_KINDS and record.get("step", 0) > step


class _Scalars:
    """Numbers as TensorBoard scalars, in TensorBoard's own format (which needs neither torch nor TensorFlow).

    Written here and now: TensorBoard's own file writer does it in a thread, which prints a traceback on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # names sort by age; the nanoseconds keep two writers of one second apart
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / f"{name}.{time.monotonic_ns()}"
        self._file = self._path.open("ab", buffering=0)
        self._add(file_version="brain.Event:2")

    def _add(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        packed = BytesIO()
        RecordWriter(packed).write(Event(wall_time=time.time(), **content).SerializeToString())
        _append_whole(self._file, packed.getvalue(), self._path)

    def write(self, record: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record)]
        self._add(step=int(record.get("step", 0)), summary=Summary(value=values))

    def forget_after(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self._add(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def close(self) -> None:
        self._file.close()


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields (tag, value) for each finite number of a record, nested mappings included: `episode/source_share/base`."""
    for key, value in plain(record).items():
        if key in ("kind", "step"):
            continue
        prefix = f"{record['kind']}/{key}" if "kind" in record else key
        if isinstance(value, Mapping):
            yield from ((f"{prefix}/{tag}", number) for tag, number in scalars(value))
        elif isinstance(value, bool | int | float) and math.isfinite(value):
            yield prefix, float(value)


class Progress(Protocol):
    """A progress bar: context manager that counts in `n`."""

    n: Any

    def update(self, n: int = 1) -> Any:
        """Counts `n` more."""

    def set_postfix_str(self, s: str = "", refresh: bool = False) -> None:
        """Sets the text behind the rate."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any: ...


def progress(total: int, label: str, unit: str = "step", initial: int = 0, every_s: float = 10.0) -> Progress:
    """Returns a bar with rate and time to go; where standard error is no terminal, a line each `every_s` instead."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar: Progress = tqdm(total=total, desc=label, unit=unit, initial=initial, dynamic_ncols=True, mininterval=0.2)
        return bar
    return PlainProgress(total, label, unit, initial, every_s)


class PlainProgress:
    """Progress for log files: now and then one line, and one at the end."""

    def __init__(self, total: int, label: str, unit: str, initial: int = 0, every_s: float = 10.0) -> None:
        self.total, self.label, self.unit, self.n = total, label, unit, initial
        self._initial, self._every_s, self._text = initial, every_s, ""
        self._started = self._last = time.monotonic()

    def update(self, n: int = 1) -> None:
        """Counts `n` more and prints a line if the last one is old enough."""
        self.n += n
        if time.monotonic() - self._last >= self._every_s:
            self._print()

    def set_postfix_str(self, s: str = "", refresh: bool = False) -> None:
        """Sets the text behind the rate."""
        self._text = s

    def _print(self) -> None:
        self._last = time.monotonic()
        rate = (self.n - self._initial) / max(self._last - self._started, 1e-9)
        text = f", {self._text}" if self._text else ""
        print(f"{self.label}: {self.n}/{self.total} {self.unit}s, {rate:.1f}/s{text}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print()
