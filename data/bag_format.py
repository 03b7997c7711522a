"""The pieces of an MCAP file: chunks with their message indexes, and the ending with the index of all.

Both who writes a bag and who completes one put them together here. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, Header, MessageIndex, Schema, Statistics
from mcap.writer import MCAP0_MAGIC

LEVEL = 1
"""Of zstd. A camera's picture: 1 GB/s at 80 % of its size; at the usual level 3 it is 0.17 GB/s at 74 %."""
Messages = Mapping[int, list[tuple[int, int]]]
"""By channel, in the order of their first messages: arrival and place within the chunk of each message."""


@dataclass
class PlacedChunk:
    """A chunk in its file."""

    index: ChunkIndex
    counts: dict[int, int]
    """Messages by channel."""


def begin() -> bytes:
    """Returns what a file begins with."""
    return MCAP0_MAGIC + records(Header("ros2", "robot-rl"))


def records(*some: Any) -> bytes:
    """Returns the bytes of records."""
    builder: Any = RecordBuilder()
    for record in some:
        record.write(builder)
    content: bytes = builder.end()
    return content


def compressed(content: bytes, messages: Messages) -> tuple[Chunk, bytes]:
    """Returns a chunk of records and its bytes."""
    times_ns = [arrived_ns for entries in messages.values() for arrived_ns, _ in entries]
    chunk = Chunk(
        compression="zstd",
        data=zstandard.ZstdCompressor(level=LEVEL).compress(content),
        message_start_time=min(times_ns, default=0),
        message_end_time=max(times_ns, default=0),
        uncompressed_crc=zlib.crc32(content),
        uncompressed_size=len(content),
    )
    return chunk, records(chunk)


def placed(chunk: Chunk, messages: Messages, start: int, end: int) -> tuple[PlacedChunk, bytes]:
    """Returns a chunk that takes up the bytes from `start` to `end`, and the message indexes that follow it there."""
    parts, offsets, length = [], {}, 0
    for channel, entries in messages.items():
        offsets[channel] = end + length
        parts.append(records(MessageIndex(channel, entries)))
        length += len(parts[-1])
    index = ChunkIndex(
        message_start_time=chunk.message_start_time,
        message_end_time=chunk.message_end_time,
        chunk_start_offset=start,
        chunk_length=end - start,
        message_index_offsets=offsets,
        message_index_length=length,
        compression=chunk.compression,
        compressed_size=len(chunk.data),
        uncompressed_size=chunk.uncompressed_size,
    )
    return PlacedChunk(index, {channel: len(entries) for channel, entries in messages.items()}), b"".join(parts)


def ending(start: int, schemas: Iterable[Schema], channels: Iterable[Channel], chunks: Iterable[PlacedChunk]) -> bytes:
    """Returns the end of a file whose data section ends at byte `start`."""
    schemas, channels, chunks = list(schemas), list(channels), list(chunks)
    data_end = records(DataEnd(0))
    start += len(data_end)
    summary = records(*schemas, *channels, _statistics(schemas, channels, chunks), *(one.index for one in chunks))
    checksum = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, 8 + 8 + 4, start, 0), zlib.crc32(summary))
    footer = Footer(summary_start=start, summary_offset_start=0, summary_crc=checksum)
    return data_end + summary + records(footer) + MCAP0_MAGIC


def _statistics(schemas: list[Schema], channels: list[Channel], chunks: list[PlacedChunk]) -> Statistics:
    counts: dict[int, int] = {}
    for one in chunks:
        for channel, count in one.counts.items():
            counts[channel] = counts.get(channel, 0) + count
    return Statistics(
        attachment_count=0,
        channel_count=len(channels),
        channel_message_counts=counts,
        chunk_count=len(chunks),
        message_count=sum(counts.values()),
        message_end_time=max((one.index.message_end_time for one in chunks), default=0),
        message_start_time=min((one.index.message_start_time for one in chunks), default=0),
        metadata_count=0,
        schema_count=len(schemas),
    )
