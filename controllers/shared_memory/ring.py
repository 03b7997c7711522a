"""The last few thousand tick reports, from the motor process to its parent.

Report i (from 0) goes to slot i mod capacity, whose sequence is 0 while it is being written and i + 1 afterwards. The
writer never waits: what a slow reader has not fetched is overwritten, and the reader counts it as lost.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from controllers.shared_memory.layout import RING_HEADER_BYTES, SLOT_HEADER_BYTES, slot_stride


def slot_type(record_type: np.dtype[np.void]) -> np.dtype[np.void]:
    """Returns the record of a whole slot: sequence, checksum, report, padding."""
    return np.dtype(
        {
            "names": ["sequence", "checksum", "report"],
            "formats": ["i8", "i8", record_type],
            "offsets": [0, 8, SLOT_HEADER_BYTES],
            "itemsize": slot_stride(record_type),
        }
    )


class RingWriter:
    """The one writer of a ring."""

    def __init__(self, memory: memoryview, record_type: np.dtype[np.void], capacity: int) -> None:
        self._capacity = capacity
        self._stride = slot_stride(record_type)
        self._size = record_type.itemsize
        self._head = memory[:8].cast("q")
        slots = memory[RING_HEADER_BYTES : RING_HEADER_BYTES + capacity * self._stride]
        self._words = slots.cast("q")
        self._bytes = slots

    def begin(self) -> int:
        """Marks the next slot as being written; returns the index of the report to come."""
        index = self._head[0]
        self._words[(index % self._capacity) * (self._stride // 8)] = 0
        return index

    def fill(self, index: int, payload: memoryview | bytes) -> None:
        """Copies the report and its checksum into the slot."""
        start = (index % self._capacity) * self._stride
        self._words[start // 8 + 1] = zlib.crc32(payload)
        self._bytes[start + SLOT_HEADER_BYTES : start + SLOT_HEADER_BYTES + self._size] = payload

    def commit(self, index: int) -> None:
        """Makes the slot readable."""
        self._words[(index % self._capacity) * (self._stride // 8)] = index + 1
        self._head[0] = index + 1

    def push(self, payload: memoryview | bytes) -> None:
        """Appends one report, given as bytes."""
        index = self.begin()
        self.fill(index, payload)
        self.commit(index)

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        for view in (self._head, self._words, self._bytes):
            view.release()


class RingReader:
    """A reader of a ring, one of perhaps several; `lost` counts the reports that it never got."""

    def __init__(
        self, memory: memoryview, record_type: np.dtype[np.void], capacity: int, from_oldest: bool = False
    ) -> None:
        """from_oldest: begin with the oldest report that is still there, not with the next."""
        self._capacity = capacity
        self._slot_type = slot_type(record_type)
        self._head = memory[:8].cast("q")
        self._bytes = memory[RING_HEADER_BYTES : RING_HEADER_BYTES + capacity * self._slot_type.itemsize]
        self._next = max(self._head[0] - (capacity - 1), 0) if from_oldest else self._head[0]
        self.lost = 0

    @property
    def written(self) -> int:
        """Returns how many reports have been written since the block was made."""
        return self._head[0]

    @property
    def waiting(self) -> int:
        """Returns how many reports were written since the last `drain` or `skip`."""
        return self._head[0] - self._next

    def skip(self) -> None:
        """Passes over all reports up to now, without counting them as lost."""
        self._next = self._head[0]

    def drain(self) -> NDArray[np.void]:
        """Returns the reports since the last call, oldest first, and counts those that were overwritten or damaged."""
        head = self._head[0]
        first = max(self._next, head - (self._capacity - 1))  # the slot after the newest may be under the writer's pen
        slots = self._copy(first, head)
        good = slots["sequence"] == np.arange(first + 1, head + 1)
        for index in np.flatnonzero(good):
            good[index] = zlib.crc32(slots["report"][index].tobytes()) == slots["checksum"][index]
        self.lost += (head - self._next) - int(np.count_nonzero(good))
        self._next = head
        return np.ascontiguousarray(slots["report"][good])

    def newest(self) -> NDArray[np.void] | None:
        """Returns the newest whole report as an array of one, or None before the first; takes nothing from `drain`."""
        head = self._head[0]
        for index in range(head - 1, max(head - 4, -1), -1):
            slot = self._copy(index, index + 1)
            if slot["sequence"][0] == index + 1 and zlib.crc32(slot["report"][0].tobytes()) == slot["checksum"][0]:
                return np.ascontiguousarray(slot["report"])
        return None

    def _copy(self, first: int, end: int) -> NDArray[np.void]:
        """Returns slots first ... end - 1 as a private copy."""
        stride = self._slot_type.itemsize
        start, count = first % self._capacity, end - first
        until_wrap = min(count, self._capacity - start)
        raw = bytes(self._bytes[start * stride : (start + until_wrap) * stride])
        raw += bytes(self._bytes[: (count - until_wrap) * stride])
        return np.frombuffer(raw, self._slot_type)

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        for view in (self._head, self._bytes):
            view.release()
