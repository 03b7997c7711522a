from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controllers.shared_memory import RingReader, RingWriter
from controllers.shared_memory.layout import RING_HEADER_BYTES, SLOT_HEADER_BYTES, slot_stride

RECORD = np.dtype([("number", "i8"), ("copies", "i8", 10)])
CAPACITY = 8


class Exchange:
    def __init__(self) -> None:
        self.memory = memoryview(bytearray(RING_HEADER_BYTES + CAPACITY * slot_stride(RECORD)))
        self.writer = RingWriter(self.memory, RECORD, CAPACITY)
        self.reader = RingReader(self.memory, RECORD, CAPACITY)
        self.written = 0

    def push(self, count: int = 1) -> None:
        for _ in range(count):
            self.writer.push(self.payload(self.written))
            self.written += 1

    def payload(self, number: int) -> bytes:
        record = np.zeros((), RECORD)
        record["number"], record["copies"] = number, number
        return record.tobytes()


@given(st.lists(st.integers(0, 20), max_size=20))
def test_reports_come_in_order_and_every_missing_one_is_counted(bursts: list[int]) -> None:
    exchange = Exchange()
    got: list[int] = []
    for burst in bursts:
        exchange.push(burst)
        reports = exchange.reader.drain()
        assert (reports["copies"] == reports["number"][:, None]).all()
        got += reports["number"].tolist()
    assert got == sorted(set(got))
    assert len(got) + exchange.reader.lost == exchange.written
    if max(bursts, default=0) < CAPACITY:
        assert got == list(range(exchange.written)) and exchange.reader.lost == 0


def test_wrap_around_keeps_the_order() -> None:
    exchange = Exchange()
    exchange.push(CAPACITY - 2)
    exchange.reader.skip()
    exchange.push(4)
    assert exchange.reader.drain()["number"].tolist() == [6, 7, 8, 9]
    assert exchange.reader.lost == 0


def test_overflow_keeps_the_newest_and_counts_the_rest_as_lost() -> None:
    exchange = Exchange()
    exchange.push(100)
    assert exchange.reader.drain()["number"].tolist() == list(range(93, 100))
    assert exchange.reader.lost == 93


def test_skip_is_no_loss() -> None:
    exchange = Exchange()
    exchange.push(5)
    exchange.reader.skip()
    assert exchange.reader.waiting == 0 and exchange.reader.lost == 0 and len(exchange.reader.drain()) == 0


def test_newest_leaves_the_reports_for_drain() -> None:
    exchange = Exchange()
    assert exchange.reader.newest() is None
    exchange.push(3)
    newest = exchange.reader.newest()
    assert newest is not None and newest["number"].tolist() == [2]
    assert exchange.reader.waiting == 3


def test_a_report_being_written_is_not_seen() -> None:
    exchange = Exchange()
    exchange.push(2)
    index = exchange.writer.begin()
    exchange.writer.fill(index, exchange.payload(2))
    assert exchange.reader.drain()["number"].tolist() == [0, 1]
    exchange.writer.commit(index)
    assert exchange.reader.drain()["number"].tolist() == [2]


@given(st.integers(0, CAPACITY - 1), st.integers(0, RECORD.itemsize - 1))
def test_a_damaged_report_is_lost_and_no_other(slot: int, position: int) -> None:
    exchange = Exchange()
    exchange.push(CAPACITY - 1)
    exchange.memory[RING_HEADER_BYTES + slot * slot_stride(RECORD) + SLOT_HEADER_BYTES + position] ^= 1
    expected = [number for number in range(CAPACITY - 1) if number != slot]
    assert exchange.reader.drain()["number"].tolist() == expected
    assert exchange.reader.lost == CAPACITY - 1 - len(expected)


def test_what_was_drained_is_the_callers_own() -> None:
    exchange = Exchange()
    exchange.push(1)
    reports = exchange.reader.drain()
    exchange.push(CAPACITY)
    assert reports["number"].tolist() == [0]
