from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.shared_memory import MailboxReader, MailboxWriter
from controllers.shared_memory.layout import MAILBOX_HEADER_BYTES, SLOT_HEADER_BYTES, mailbox_bytes, slot_stride
from controllers.shared_memory.mailbox import record_bytes

RECORD = np.dtype([("number", "i8"), ("copies", "i8", 40)])
"""A whole record repeats its number 40 times: anything else was torn."""


def record_of(number: int) -> np.ndarray[tuple[()], np.dtype[np.void]]:
    record = np.zeros((), RECORD)
    record["number"], record["copies"] = number, number
    return record


class Exchange:
    """One mailbox with both ends, and the reader's private record."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(mailbox_bytes(RECORD)))
        self.writer = MailboxWriter(self.memory, RECORD)
        self.reader = MailboxReader(self.memory, RECORD)
        self.out = np.zeros((), RECORD)

    def poll(self) -> bool:
        return self.reader.poll(record_bytes(self.out))


def test_a_record_arrives_once_and_whole() -> None:
    exchange = Exchange()
    assert not exchange.poll()
    exchange.writer.publish(record_of(7))
    assert exchange.poll() and exchange.out["number"] == 7 and (exchange.out["copies"] == 7).all()
    assert not exchange.poll()


def test_only_the_newest_of_several_records_is_read() -> None:
    exchange = Exchange()
    for number in range(1, 6):
        exchange.writer.publish(record_of(number))
    assert exchange.poll() and exchange.out["number"] == 5


def test_a_write_in_progress_reads_as_nothing_new_and_leaves_the_old_record() -> None:
    exchange = Exchange()
    exchange.writer.publish(record_of(1))
    assert exchange.poll()
    number = exchange.writer.begin()
    exchange.writer.fill(number, record_bytes(record_of(2)))
    assert not exchange.poll() and exchange.out["number"] == 1
    exchange.writer.commit(number)
    assert exchange.poll() and exchange.out["number"] == 2


def test_a_writer_killed_in_the_middle_is_followed_by_one_that_works() -> None:
    exchange = Exchange()
    exchange.writer.publish(record_of(1))
    exchange.writer.begin()
    MailboxWriter(exchange.memory, RECORD).publish(record_of(2))
    assert exchange.poll() and exchange.out["number"] == 2


@given(st.integers(0, RECORD.itemsize - 1), st.integers(1, 255))
def test_a_damaged_payload_is_refused_and_counted(position: int, flip: int) -> None:
    exchange = Exchange()
    exchange.writer.publish(record_of(1))
    start = MAILBOX_HEADER_BYTES + slot_stride(RECORD) + SLOT_HEADER_BYTES  # record 1 lies in slot 1
    exchange.memory[start + position] ^= flip
    assert not exchange.poll()
    assert exchange.out["number"] == 0 and exchange.reader.torn == 1


@given(st.integers(0, RECORD.itemsize))
def test_a_payload_written_up_to_any_byte_is_never_taken(written: int) -> None:
    """Stores may become visible in another order than they were made: here all counters came before the payload."""
    exchange = Exchange()
    exchange.writer.publish(record_of(1))
    exchange.writer.publish(record_of(2))
    old = bytes(record_bytes(record_of(1)))
    number = exchange.writer.begin()
    exchange.writer.fill(number, record_bytes(record_of(3)))
    exchange.writer.commit(number)
    start = MAILBOX_HEADER_BYTES + (number & 1) * slot_stride(RECORD) + SLOT_HEADER_BYTES
    exchange.memory[start + written : start + RECORD.itemsize] = old[written:]
    if exchange.poll():
        assert exchange.out["number"] == 3 and (exchange.out["copies"] == 3).all()


def writer_steps(exchange: Exchange) -> Iterator[None]:
    number = 0
    while True:
        number += 1
        slot = exchange.writer.begin()
        yield
        data = bytes(record_bytes(record_of(number)))
        payload = exchange.writer._slots.payloads[slot & 1]
        half = len(data) // 2
        payload[:half] = data[:half]  # the copy itself is no single step
        yield
        exchange.writer.fill(slot, data)
        yield
        exchange.writer.commit(slot)
        yield


def reader_steps(exchange: Exchange, seen: list[int]) -> Iterator[None]:
    while True:
        number = exchange.reader.locate()
        yield
        if not number:
            continue
        payload = exchange.reader.copy(number)
        yield
        if exchange.reader.accept(number, payload):
            record = np.frombuffer(payload, RECORD)[0]
            assert (record["copies"] == record["number"]).all(), "a torn record was taken for whole"
            seen.append(int(record["number"]))
        yield


@given(st.lists(st.booleans(), max_size=200))
def test_no_interleaving_of_writer_and_reader_lets_a_torn_or_older_record_through(schedule: list[bool]) -> None:
    exchange = Exchange()
    seen: list[int] = []
    writer, reader = writer_steps(exchange), reader_steps(exchange, seen)
    for writers_turn in schedule:
        next(writer if writers_turn else reader)
    assert seen == sorted(set(seen))


def test_a_region_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least .* bytes, got 8"):
        MailboxWriter(memoryview(bytearray(8)), RECORD)
