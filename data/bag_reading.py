"""Reads bags from their first byte on, also those that end anywhere: no index is needed, every whole chunk counts.

A file is a row of records; each says how long it is. Where one is longer than what is left of the file, the writer was
killed there, and everything before it is intact. A chunk whose checksum does not fit is left out and counted.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema
from mcap.writer import MCAP0_MAGIC

from data.bag_metadata import FileSummary
from data.bags import BagTopic
from data.errors import UserError

_HEAD = struct.Struct("<BQ")  # opcode and length of a record
MESSAGE = struct.Struct("<HIQQ")
"""Begin of a message record: channel, sequence, arrival, publication."""
_DAMAGE = (ValueError, TypeError, struct.error, zstandard.ZstdError, McapError, OverflowError, MemoryError)


class BagMessage(NamedTuple):
    """One message of a bag."""

    topic: BagTopic
    data: bytes
    """In its serialised form (CDR)."""
    published_ns: int
    """Both times count from the Unix epoch [ns]."""
    arrived_ns: int


class ChunkPart(NamedTuple):
    """One record within a chunk."""

    opcode: int
    offset: int
    """Within the chunk's uncompressed content."""
    body: memoryview


@dataclass
class WholeChunk:
    """A chunk that is there completely, and where its file holds it."""

    start: int
    end: int
    chunk: Chunk
    parts: list[ChunkPart]


@dataclass
class BagFile:
    """What is found in one file of a bag, filled in while it is read."""

    path: Path
    topics: dict[int, BagTopic] = field(default_factory=dict)
    """By channel."""
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    summary: FileSummary = field(init=False)
    end: int = 0
    """First byte behind the last whole record of the data section."""
    damaged_chunks: int = 0
    torn_bytes: int = 0
    """Bytes behind `end` that belong to no whole record."""
    complete: bool = False
    """Whether the writer closed the file."""

    def __post_init__(self) -> None:
        self.summary = FileSummary(self.path.name)

    def chunks(self) -> Iterator[WholeChunk]:
        """Yields the whole chunks in their order. Raises `UserError` where the file is no MCAP file at all."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            magic = file.read(len(MCAP0_MAGIC))
            if magic != MCAP0_MAGIC[: len(magic)]:
                raise UserError(f"expected an MCAP file at {self.path}, got other bytes; check the path")
            self.end = len(magic)
            for opcode, start, end in _records(file, self.end, size):
                if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):  # without a checksum: what the chunks tell wins
                    self._learn_spare(file, opcode, start, end)
                if opcode == Opcode.CHUNK:
                    found = self._chunk(file, start, end)
                    if found is not None:
                        yield found
                if opcode == Opcode.DATA_END:
                    self.complete = _ends_well(file, size)
                    break
                self.end = end
        self.summary.size_bytes = size
        self.torn_bytes = 0 if self.complete else size - self.end

    def messages(self) -> Iterator[BagMessage]:
        """Yields all messages of the whole chunks in the order of their arrival."""
        for whole in self.chunks():
            for part in whole.parts:
                if part.opcode == Opcode.MESSAGE:
                    channel, _, arrived_ns, published_ns = MESSAGE.unpack_from(part.body)
                    yield BagMessage(self.topics[channel], bytes(part.body[MESSAGE.size :]), published_ns, arrived_ns)

    def _chunk(self, file: BinaryIO, start: int, end: int) -> WholeChunk | None:
        file.seek(start + _HEAD.size)
        try:
            chunk = Chunk.read(ReadDataStream(BytesIO(file.read(end - start - _HEAD.size))))
            content = chunk.data
            if chunk.compression == "zstd":
                content = zstandard.decompress(chunk.data, chunk.uncompressed_size)
            if zlib.crc32(content) != chunk.uncompressed_crc:
                raise ValueError("checksum")
            parts = list(_parts(content))
            self._take(parts)
        except _DAMAGE:
            self.damaged_chunks += 1
            return None
        return WholeChunk(start, end, chunk, parts)

    def _take(self, parts: list[ChunkPart]) -> None:
        """Learns topics, counts messages. Raises ValueError for a message of an unknown channel."""
        for opcode, _, body in parts:
            self._learn(opcode, body)
        messages = [MESSAGE.unpack_from(body) for opcode, _, body in parts if opcode == Opcode.MESSAGE]
        if not all(channel in self.topics for channel, *_ in messages):
            raise ValueError("a message of an unknown channel")
        for channel, _, arrived_ns, _ in messages:
            self.summary.count(self.topics[channel].name, arrived_ns)

    def _learn_spare(self, file: BinaryIO, opcode: int, start: int, end: int) -> None:
        file.seek(start + _HEAD.size)
        with suppress(*_DAMAGE, KeyError):
            self._learn(opcode, file.read(end - start - _HEAD.size))

    def _learn(self, opcode: int, body: bytes | memoryview) -> None:
        stream = ReadDataStream(BytesIO(body))
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            schema = self.schemas[channel.schema_id]
            qos = tuple(json.loads(channel.metadata.get("offered_qos_profiles", "[]")))
            self.topics[channel.id] = BagTopic(channel.topic, schema.name, schema.data.decode(), qos)
            self.channels[channel.id] = channel


def _records(file: BinaryIO, start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yields opcode, first byte and end of the whole records from `start` on."""
    while start + _HEAD.size <= size:
        file.seek(start)
        opcode, length = _HEAD.unpack(file.read(_HEAD.size))
        end = start + _HEAD.size + length
        if end > size or opcode not in Opcode._value2member_map_:
            return
        yield opcode, start, end
        start = end


def _parts(content: bytes) -> Iterator[ChunkPart]:
    view, offset = memoryview(content), 0
    while offset < len(view):
        opcode, length = _HEAD.unpack_from(view, offset)
        yield ChunkPart(opcode, offset, view[offset + _HEAD.size : offset + _HEAD.size + length])
        offset += _HEAD.size + length


def _ends_well(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - len(MCAP0_MAGIC)))
    return file.read() == MCAP0_MAGIC


def bag_files(path: str | Path) -> list[Path]:
    """Returns the MCAP files of a bag's folder in their order, or the one file. Raises `UserError` if there is none."""
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    found = sorted(path.glob("*.mcap"), key=lambda item: (len(item.name), item.name))
    if not found:
        raise UserError(f"expected a bag at {path}: a folder with .mcap files, found none; check the path")
    return found


def is_bag(path: str | Path) -> bool:
    """Tells whether there is a bag at a path: an .mcap file, or a folder with some."""
    path = Path(path).expanduser()
    return path.suffix == ".mcap" if path.is_file() else any(path.glob("*.mcap"))


def read_bag(path: str | Path) -> Iterator[BagMessage]:
    """Yields the messages of a bag (folder or file), as far as they are intact."""
    for file in bag_files(path):
        yield from BagFile(file).messages()


def survey(path: str | Path) -> list[BagFile]:
    """Reads a bag through and returns what each file holds."""
    files = [BagFile(file) for file in bag_files(path)]
    for file in files:
        for _ in file.chunks():
            pass
    return files


def totals(files: list[BagFile]) -> dict[str, Any]:
    """Returns the figures of a surveyed bag: messages by topic, seconds, bytes, what is wrong."""
    counts: dict[str, int] = {}
    for file in files:
        for topic, count in file.summary.counts.items():
            counts[topic] = counts.get(topic, 0) + count
    filled = [file.summary for file in files if file.summary.total]
    span_ns = max((s.last_ns for s in filled), default=0) - min((s.first_ns for s in filled), default=0)
    return {
        "messages": sum(counts.values()),
        "seconds": span_ns * 1e-9,
        "size_mib": sum(file.summary.size_bytes for file in files) / 2**20,
        "topics": dict(sorted(counts.items())),
        "damaged_chunks": sum(file.damaged_chunks for file in files),
        "torn_bytes": sum(file.torn_bytes for file in files),
        "closed": all(file.complete for file in files),
    }
