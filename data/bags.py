"""Writes ROS messages as they came over the wire into MCAP files that `ros2 bag play`, Foxglove and rosbags open.

A bag is a folder as rosbag2 lays it out: `<name>/<name>_0.mcap`, `_1`, ... and, once it was closed, `metadata.yaml`.
Messages are gathered into chunks, each compressed and with a checksum; at least every `flush_s` the chunk begun is
written, so that a killed process costs no more than that. What a kill leaves behind is read by `data.bag_reading` and
completed by `data.bag_repair`. Nothing here knows ROS: messages are bytes, definitions are text.

Format: https://mcap.dev/spec, profile `ros2`; messages in CDR, schemas in the encoding `ros2msg`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.data_stream import RecordBuilder
from mcap.records import Channel, Message, Schema

from data.atomic import fsync, is_disk_full
from data.bag_format import PlacedChunk, begin, compressed, ending, placed, records
from data.bag_metadata import FileSummary, write_metadata
from data.errors import UserError

CHUNK_BYTES = 4 << 20
"""A chunk is written when it holds this much before compression."""
FILE_BYTES = 4 << 30
"""A file that has grown to this is followed by the next one: its index, kept in memory until then, stays small."""


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    """Whole name, such as `/arm/joint_states`."""
    kind: str
    """Type, such as `sensor_msgs/msg/JointState`."""
    definition: str
    """Text of the type's definition and of all that it is made of, in the encoding `ros2msg`."""
    qos: tuple[dict[str, Any], ...] = field(default=(), compare=False)
    """Quality of service that its publishers offered, in the words of rosbag2's metadata."""


class BagWriter:
    """Writes one bag. One thread at a time may use it.

    The first error of the disk ends it: what was written until then stays readable, and every later call raises
    `UserError` with the same sentence.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        flush_s: float = 0.5,
        chunk_bytes: int = CHUNK_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """Makes the folder. Raises `UserError` where it exists already, or where nothing can be written."""
        self.folder = Path(folder)
        self._flush_s, self._chunk_bytes, self._file_bytes = flush_s, chunk_bytes, file_bytes
        self.problem: str | None = None
        """Why nothing more is written; None while all is well."""
        self.messages = 0
        """Messages so far."""
        self._topics: list[BagTopic] = []
        self._channels: dict[int, int] = {}
        self._done: list[FileSummary] = []
        self._flushed_s = time.monotonic()
        try:
            self.folder.mkdir(parents=True)
            self._open()
        except FileExistsError as error:
            raise UserError(f"{self.folder} exists already; give every bag a folder of its own") from error
        except OSError as error:
            raise UserError(self._sentence(error)) from error

    @property
    def bytes_written(self) -> int:
        """Returns the size of all files so far."""
        return sum(file.size_bytes for file in self._done) + self._sink.position

    def add_topic(self, topic: BagTopic) -> int:
        """Returns the number by which `write` knows a topic; the same one for the same topic."""
        if topic not in self._topics:
            self._topics.append(topic)
        return self._topics.index(topic)

    def write(self, topic: int, message: bytes, published_ns: int, arrived_ns: int) -> None:
        """Adds a message in its serialised form; both times count from the Unix epoch [ns]. Raises `UserError`."""
        self._try(lambda: self._write(topic, message, published_ns, arrived_ns))

    def flush(self, now_s: float | None = None) -> None:
        """Hands what is gathered to the operating system if `flush_s` is over; to be called often, also when idle."""
        now_s = time.monotonic() if now_s is None else now_s
        if now_s - self._flushed_s >= self._flush_s:
            self._flushed_s = now_s
            self._try(self._file.flush)

    def close(self) -> None:
        """Completes the bag: index, metadata, everything forced to the disk. May be called twice."""
        if self.problem is not None or self._sink.closed:
            self._sink.close()
            return

        def finish() -> None:
            self._close_file()
            write_metadata(self.folder, self._done, {topic.name: topic for topic in self._topics})
            fsync(self.folder)

        self._try(finish)

    # Files

    def _open(self) -> None:
        path = self.folder / f"{self.folder.name}_{len(self._done)}.mcap"
        self._sink = _Sink(path)
        self._summary = FileSummary(path.name)
        self._file = _Chunks(self._sink)
        self._channels = {}

    def _close_file(self) -> None:
        self._file.finish()
        self._summary.size_bytes = self._sink.position
        self._sink.force()
        self._sink.close()
        self._done.append(self._summary)

    def _write(self, topic: int, message: bytes, published_ns: int, arrived_ns: int) -> None:
        if self._sink.position >= self._file_bytes:
            self._close_file()
            self._open()
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._file.describe(self._topics[topic])
        sequence = self._summary.count(self._topics[topic].name, arrived_ns)
        self._file.add(Message(channel, arrived_ns, message, published_ns, sequence))
        self.messages += 1
        if self._file.gathered >= self._chunk_bytes:
            self._file.flush()

    def _try(self, work: Any) -> None:
        """Does some work that writes whole records; at an error of the disk the file is cut behind the last of them."""
        if self.problem is not None:
            raise UserError(self.problem)
        self._sink.whole = self._sink.position
        try:
            work()
        except OSError as error:
            self.problem = self._sentence(error)
            self._sink.cut()
            raise UserError(self.problem) from error

    def _sentence(self, error: OSError) -> str:
        what = "disk full while recording" if is_disk_full(error) else f"recording failed ({error.strerror})"
        return (
            f"{what} to {self.folder}: what came before is readable, nothing more is recorded; free some space, start "
            f"the recorder again, and complete the bag with: robot-rl data repair {self.folder}"
        )


class _Chunks:
    """The records of one file."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._builder: Any = RecordBuilder()
        self._messages: dict[int, list[tuple[int, int]]] = {}
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._placed: list[PlacedChunk] = []
        sink.write(begin())

    @property
    def gathered(self) -> int:
        """Returns the bytes of the chunk to come, before compression."""
        return int(self._builder.count)

    def describe(self, topic: BagTopic) -> int:
        """Describes a topic in the chunk to come and, in case it gets damaged, in front of it; returns the channel."""
        number, qos = len(self._channels) + 1, {"offered_qos_profiles": json.dumps(topic.qos)}
        schema = Schema(data=topic.definition.encode(), encoding="ros2msg", id=number, name=topic.kind)
        channel = Channel(number, topic.name, "cdr", qos, number)
        self._sink.write(records(schema, channel))
        schema.write(self._builder)
        channel.write(self._builder)
        self._schemas.append(schema)
        self._channels.append(channel)
        return number

    def add(self, message: Message) -> None:
        """Adds a message to the chunk to come."""
        self._messages.setdefault(message.channel_id, []).append((message.log_time, self.gathered))
        message.write(self._builder)

    def flush(self) -> None:
        """Writes the chunk, if there is any message in it."""
        if not self._messages:
            return
        start = self._sink.position
        chunk, content = compressed(self._builder.end(), self._messages)
        self._sink.write(content)
        one, indexes = placed(chunk, self._messages, start, self._sink.position)
        self._sink.write(indexes)
        self._placed.append(one)
        self._messages = {}

    def finish(self) -> None:
        """Writes what is gathered, and the ending."""
        self.flush()
        self._sink.write(ending(self._sink.position, self._schemas, self._channels, self._placed))


class _Sink:
    """A file without a buffer of its own, that knows how far it is whole."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self.position = self.whole = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self.position += written
            view = view[written:]

    def force(self) -> None:
        os.fsync(self._file.fileno())

    def cut(self) -> None:
        """Drops what was not written whole. Readers need no help with a torn end, so that an error here is nothing."""
        try:
            self._file.truncate(self.whole)
        except OSError:
            return
        finally:
            self._file.close()

    def close(self) -> None:
        self._file.close()
