"""Completes bags whose writer was killed, so that readers that want an index open them as well.

Nothing recorded is deleted: a torn end, which belongs to no whole record, is kept beside the file under `.torn`; chunks
with a wrong checksum stay where they are and are left out of the index.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import ChunkIndex, DataEnd, Footer, MessageIndex, Statistics
from mcap.writer import MCAP0_MAGIC

from data.atomic import fsync, write_new
from data.bag_metadata import METADATA, write_metadata
from data.bag_reading import MESSAGE, BagFile, WholeChunk, bag_files


@dataclass(frozen=True)
class BagRepair:
    """What `repair_bag` found and did."""

    files: tuple[BagFile, ...]
    actions: tuple[str, ...]

    def __str__(self) -> str:
        messages = sum(file.summary.total for file in self.files)
        done = "\n".join(self.actions) or "nothing to repair"
        return f"{done}\n{messages} messages in {len(self.files)} files"


def repair_bag(path: str | Path) -> BagRepair:
    """Completes the files of a bag (folder or file) that their writer did not close. Raises OSError on a full disk."""
    files, actions = [], []
    for found in bag_files(path):
        file = BagFile(found)
        chunks = [_index(file, whole) for whole in file.chunks()]
        if not file.complete:
            actions.append(_complete(file, chunks))
        if file.damaged_chunks:
            actions.append(f"{found.name}: {file.damaged_chunks} damaged chunks are left out")
        files.append(file)
    folder = Path(path).expanduser()
    if folder.is_dir() and (actions or not (folder / METADATA).exists()):
        topics = {topic.name: topic for file in files for topic in file.topics.values()}
        write_metadata(folder, [file.summary for file in files], topics)
        actions.append(f"{METADATA} written")
    return BagRepair(tuple(files), tuple(actions))


@dataclass
class _Indexed:
    """A chunk's place and the places of its messages, without its content."""

    index: ChunkIndex
    end: int
    messages: dict[int, MessageIndex]


def _index(file: BagFile, whole: WholeChunk) -> _Indexed:
    messages: dict[int, MessageIndex] = {}
    for part in whole.parts:
        if part.opcode == Opcode.MESSAGE:
            channel, _, arrived_ns, _ = MESSAGE.unpack_from(part.body)
            messages.setdefault(channel, MessageIndex(channel, [])).records.append((arrived_ns, part.offset))
    chunk = whole.chunk
    index = ChunkIndex(
        message_start_time=chunk.message_start_time,
        message_end_time=chunk.message_end_time,
        chunk_start_offset=whole.start,
        chunk_length=whole.end - whole.start,
        message_index_offsets={},
        message_index_length=0,
        compression=chunk.compression,
        compressed_size=len(chunk.data),
        uncompressed_size=chunk.uncompressed_size,
    )
    return _Indexed(index, whole.end, messages)


def _complete(file: BagFile, chunks: list[_Indexed]) -> str:
    """Puts the end of a file in order: the torn part aside, then what is missing of indexes, statistics and footer."""
    missing = b""
    with file.path.open("r+b") as stream:
        stream.seek(file.end)
        torn = stream.read()
        if torn:
            kept = file.path.with_name(f"{file.path.name}.torn")
            kept.unlink(missing_ok=True)
            write_new(kept, torn)
        end = file.end
        for one in chunks:
            content = _place_messages(one)
            if one.end + len(content) > file.end:  # only the last chunk's can be torn: written anew
                end, missing = one.end, content
        stream.truncate(end)
        stream.seek(0 if end < len(MCAP0_MAGIC) else end)
        stream.write(MCAP0_MAGIC if end < len(MCAP0_MAGIC) else missing)
        builder = RecordBuilder()
        DataEnd(0).write(builder)
        stream.write(_content(builder))
        stream.write(_ending(file, chunks, stream.tell()))
        stream.flush()
        os.fsync(stream.fileno())
        file.summary.size_bytes = stream.tell()
    fsync(file.path.parent)
    return f"{file.path.name}: completed behind {file.summary.total} messages, {len(torn)} torn bytes put aside"


def _place_messages(one: _Indexed) -> bytes:
    """Fills in where the indexes of a chunk's messages are, right behind it; returns these records as mcap writes them.

    The order is that of the first message of each channel, there as here.
    """
    builder = RecordBuilder()
    for channel, index in one.messages.items():
        one.index.message_index_offsets[channel] = one.end + builder.count
        index.write(builder)
    one.index.message_index_length = builder.count
    return _content(builder)


def _ending(file: BagFile, chunks: list[_Indexed], start: int) -> bytes:
    """Returns summary section, footer and closing magic of a file whose summary begins at byte `start`."""
    builder = RecordBuilder()
    for schema in file.schemas.values():
        schema.write(builder)
    for channel in file.channels.values():
        channel.write(builder)
    _statistics(file, chunks).write(builder)
    for one in chunks:
        one.index.write(builder)
    summary = _content(builder)
    checksum = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, 8 + 8 + 4, start, 0), zlib.crc32(summary))
    Footer(summary_start=start, summary_offset_start=0, summary_crc=checksum).write(builder)
    return summary + _content(builder) + MCAP0_MAGIC


def _content(builder: RecordBuilder) -> bytes:
    """Returns what was written to a builder, which is empty then."""
    content: bytes = builder.end()  # type: ignore[no-untyped-call]
    return content


def _statistics(file: BagFile, chunks: list[_Indexed]) -> Statistics:
    counts: dict[int, int] = {}
    for one in chunks:
        for channel, index in one.messages.items():
            counts[channel] = counts.get(channel, 0) + len(index.records)
    return Statistics(
        attachment_count=0,
        channel_count=len(file.channels),
        channel_message_counts=counts,
        chunk_count=len(chunks),
        message_count=sum(counts.values()),
        message_end_time=file.summary.last_ns,
        message_start_time=file.summary.first_ns,
        metadata_count=0,
        schema_count=len(file.schemas),
    )
