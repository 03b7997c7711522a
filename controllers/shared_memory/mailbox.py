"""Newest-value exchange in one direction: double buffer, sequence, checksum.

The n-th record goes to slot n mod 2, whose sequence is 2n - 1 while it is being written and 2n afterwards; only then
does the head counter become n. A reader that meets an odd or foreign sequence, or a payload that does not match its
checksum, reads "nothing new" and looks again at its next tick: it never waits for the writer, who may have been
killed in the middle.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from controllers.shared_memory.layout import MAILBOX_HEADER_BYTES, SLOT_HEADER_BYTES, mailbox_bytes, slot_stride


def record_bytes(record: Any) -> memoryview:
    """Returns a view of a 0-d record array as bytes: writing to one writes to the other."""
    return memoryview(record.reshape(1).view(np.uint8)).cast("B")


def checksum(payload: bytes | memoryview, number: int) -> int:
    """Returns the CRC-32 of a payload, seeded with its number so that an old payload never passes for a new one."""
    return zlib.crc32(payload, number & 0xFFFFFFFF)


class _Slots:
    """Addresses inside one mailbox."""

    def __init__(self, memory: memoryview, record_type: np.dtype[np.void]) -> None:
        if len(memory) < mailbox_bytes(record_type):
            raise ValueError(f"expected at least {mailbox_bytes(record_type)} bytes, got {len(memory)}")
        stride = slot_stride(record_type)
        starts = [MAILBOX_HEADER_BYTES + index * stride for index in range(2)]
        self.head = memory[:8].cast("q")
        self.sequences = [memory[start : start + 8].cast("q") for start in starts]
        self.checksums = [memory[start + 8 : start + 16].cast("q") for start in starts]
        first = SLOT_HEADER_BYTES
        self.payloads = [memory[start + first : start + first + record_type.itemsize] for start in starts]

    def release(self) -> None:
        for view in (self.head, *self.sequences, *self.checksums, *self.payloads):
            view.release()


class MailboxWriter:
    """The one writer of a mailbox. `begin`, `fill`, `commit` are the parts of `publish`, for tests to stop between."""

    def __init__(self, memory: memoryview, record_type: np.dtype[np.void]) -> None:
        self._slots = _Slots(memory, record_type)

    @property
    def count(self) -> int:
        """Returns how many records have been published."""
        return self._slots.head[0]

    def begin(self) -> int:
        """Marks the next slot as being written; returns the number of the record to come."""
        number = self.count + 1
        self._slots.sequences[number & 1][0] = 2 * number - 1
        return number

    def fill(self, number: int, payload: bytes | memoryview) -> None:
        """Copies the payload and its checksum into the slot."""
        self._slots.payloads[number & 1][:] = payload
        self._slots.checksums[number & 1][0] = checksum(payload, number)

    def commit(self, number: int) -> None:
        """Makes the slot readable."""
        self._slots.sequences[number & 1][0] = 2 * number
        self._slots.head[0] = number

    def publish(self, record: Any) -> int:
        """Publishes a 0-d record array; returns its number, counted from 1."""
        number = self.begin()
        self.fill(number, bytes(record_bytes(record)))
        self.commit(number)
        return number

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        self._slots.release()


class MailboxReader:
    """The one reader of a mailbox. `locate`, `copy`, `accept` are the parts of `poll`."""

    def __init__(self, memory: memoryview, record_type: np.dtype[np.void]) -> None:
        self._slots = _Slots(memory, record_type)
        self._seen = 0
        self.torn = 0

    def locate(self) -> int:
        """Returns the number of a record that was not read yet, or 0."""
        number = self._slots.head[0]
        return number if number != self._seen else 0

    def copy(self, number: int) -> bytes:
        """Returns the payload of the slot as it is now: perhaps torn."""
        return bytes(self._slots.payloads[number & 1])

    def accept(self, number: int, payload: bytes) -> bool:
        """Returns whether `payload` is record `number`, whole; counts it as torn otherwise."""
        slot = number & 1
        finished = self._slots.sequences[slot][0] == 2 * number
        whole = finished and self._slots.checksums[slot][0] == checksum(payload, number)
        if whole:
            self._seen = number
        else:
            self.torn += 1
        return whole

    def poll(self, out: memoryview) -> bool:
        """Copies the newest record to `out` (bytes of a record) if it is whole and was not read yet.

        Returns False, and leaves `out` as it was, when there is nothing new or the newest is being written or damaged.
        """
        number = self.locate()
        if not number:
            return False
        payload = self.copy(number)
        if not self.accept(number, payload):
            return False
        out[:] = payload
        return True

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        self._slots.release()
