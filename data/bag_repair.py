"""Completes bags whose writer was killed, so that readers that want an index open them as well.

Nothing recorded is deleted: a torn end, which belongs to no whole record, is kept beside the file under `.torn`; chunks
with a wrong checksum stay where they are and are left out of the index.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from data.atomic import fsync, write_new
from data.bag_format import PlacedChunk, ending, placed
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
        chunks = [_place(whole) for whole in file.chunks()]
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


def _place(whole: WholeChunk) -> tuple[PlacedChunk, bytes, int]:
    """Returns a chunk in its place, the message indexes that follow it there, and the end of the chunk itself."""
    messages: dict[int, list[tuple[int, int]]] = {}
    for part in whole.parts:
        if part.opcode == Opcode.MESSAGE:
            channel, _, arrived_ns, _ = MESSAGE.unpack_from(part.body)
            messages.setdefault(channel, []).append((arrived_ns, part.offset))
    return *placed(whole.chunk, messages, whole.start, whole.end), whole.end


def _complete(file: BagFile, chunks: list[tuple[PlacedChunk, bytes, int]]) -> str:
    """Puts the end of a file in order: the torn part aside, then what is missing of indexes, statistics and footer."""
    end, missing = file.end, b""
    for _, indexes, chunk_end in chunks:
        if chunk_end + len(indexes) > file.end:  # only the last chunk's can be torn: written anew
            end, missing = chunk_end, indexes
    if end < len(MCAP0_MAGIC):
        end, missing = 0, MCAP0_MAGIC
    with file.path.open("r+b") as stream:
        stream.seek(file.end)
        torn = stream.read()
        if torn:
            kept = file.path.with_name(f"{file.path.name}.torn")
            kept.unlink(missing_ok=True)
            write_new(kept, torn)
        stream.truncate(end)
        stream.seek(end)
        stream.write(missing)
        placed_chunks = [one for one, *_ in chunks]
        stream.write(ending(stream.tell(), file.schemas.values(), file.channels.values(), placed_chunks))
        stream.flush()
        os.fsync(stream.fileno())
        file.summary.size_bytes = stream.tell()
    fsync(file.path.parent)
    return f"{file.path.name}: completed behind {file.summary.total} messages, {len(torn)} torn bytes put aside"
