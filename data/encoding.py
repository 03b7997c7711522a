"""An episode as the files of a zarr v3 group, and back.

Files are made and read in memory: whoever stores them can take checksums of what was meant, and a full disk cannot
leave a half-encoded array. Each array is one shard file. Its chunks hold a few steps each (an image: one), carry a
CRC-32C of their own and stand in the order of time behind an index, so that a file cut short still
gives its first steps.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer import cpu
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from data import plain_json
from data.spec import ArraySpec

STEPS_PER_CHUNK = 32
METADATA = "zarr.json"

DECODE_ERRORS = (ValueError, TypeError, KeyError, IndexError, RuntimeError, OSError)
"""What zarr and its codecs raise for damaged files."""

_INDEX_ENTRY = struct.Struct("<QQ")  # offset and length of a chunk within the shard
_CHECKSUM_BYTES = 4


def encode(arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns the files, by relative path, of a zarr group of `arrays` (by path; one row at least) and `attributes`."""
    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(buffers), zarr_format=3, attributes=dict(attributes))
    for path, array in arrays.items():
        _create(group, path, ArraySpec(array.shape, array.dtype.name))[...] = array
    return {path: buffer.to_bytes() for path, buffer in buffers.items()}


def decode(files: Mapping[str, bytes]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Returns the arrays by path and the attributes of `encode`'s files; one of `DECODE_ERRORS` for damaged ones.

    A *missing* shard reads as zeros, as zarr defines it: hand in only files that are known to be all there.
    """
    group = _open(files)
    nodes = [path.removesuffix(f"/{METADATA}") for path in files if path.endswith(f"/{METADATA}")]
    kinds = {path: plain_json.loads(files[f"{path}/{METADATA}"], path).get("node_type") for path in nodes}
    arrays = {path: np.asarray(group[path][...]) for path, kind in kinds.items() if kind == "array"}
    return arrays, dict(group.attrs.asdict())


def shard_path(path: str, spec: ArraySpec) -> str:
    """Returns the file that holds all data of the array at `path`."""
    return path + "/c" + "/0" * len(spec.shape)


def readable_prefix(path: str, spec: ArraySpec, shard: bytes) -> NDArray[Any]:
    """Returns the rows, from the first on, that a damaged shard still gives; none where its index is damaged.

    `spec` has the full shape. The array's own metadata file is not needed, since it follows from `spec`.
    """
    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(buffers), zarr_format=3)
    array = _create(group, path, spec)
    buffers[shard_path(path, spec)] = cpu.Buffer.from_bytes(shard)
    step, count = _rows_per_chunk(spec), spec.shape[0]
    blocks = [np.zeros((0, *spec.shape[1:]), spec.dtype)]
    for number, first in enumerate(range(0, count, step)):
        if not _is_within(shard, number, -(-count // step)):
            break
        try:
            blocks.append(np.asarray(array[first : first + step]))
        except DECODE_ERRORS:  # the checksum of the chunk, or that of the index: nothing behind it is taken
            break
    return np.concatenate(blocks)


def _is_within(shard: bytes, number: int, chunks: int) -> bool:
    """Tells whether chunk `number` lies inside the shard: zarr would read one behind its end as zeros."""
    header = chunks * _INDEX_ENTRY.size + _CHECKSUM_BYTES
    if len(shard) < header:
        return False
    offset, length = _INDEX_ENTRY.unpack_from(shard, number * _INDEX_ENTRY.size)
    return bool(offset >= header and length > 0 and offset + length <= len(shard))


def _rows_per_chunk(spec: ArraySpec) -> int:
    is_image = spec.dtype == "uint8" and len(spec.shape) >= 3
    return 1 if is_image else min(STEPS_PER_CHUNK, spec.shape[0])


def _create(group: zarr.Group, path: str, spec: ArraySpec) -> Any:
    step = _rows_per_chunk(spec)
    shard_rows = -(-spec.shape[0] // step) * step
    shards: Any = {"shape": (shard_rows, *spec.shape[1:]), "index_location": "start"}
    return group.create_array(
        path,
        shape=spec.shape,
        dtype=spec.dtype,
        chunks=(step, *spec.shape[1:]),
        shards=shards,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        fill_value=0,
        config={"write_empty_chunks": True},  # a chunk of zeros that is missing must not look like one that is there
    )


def _open(files: Mapping[str, bytes]) -> Any:
    buffers: dict[str, Any] = {path: cpu.Buffer.from_bytes(content) for path, content in files.items()}
    return zarr.open_group(MemoryStore(buffers), mode="r", zarr_format=3)
