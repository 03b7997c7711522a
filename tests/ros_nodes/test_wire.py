"""Records on the wire: whole, of this version, of the right kind; everything else is one sentence."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from hypothesis import given
from hypothesis import strategies as st

from controllers.types import COMMAND, REPORT, Command
from ros_nodes.wire import HEADER, KINDS, MAX_RECORDS, MalformedMessage, draw_sender, pack, unpack


def command_record() -> np.ndarray:
    record = np.zeros((), COMMAND)
    Command(np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]), np.full(6, 100.0), sequence=7, stamp_ns=9).write_to(record)
    return record


def test_what_is_sent_arrives_with_its_sender() -> None:
    sender = draw_sender()
    parcel = unpack("command", pack("command", command_record(), sender))
    assert parcel.sender == sender and parcel.same_clock and parcel.records.shape == (1,)
    assert parcel.records[0].tobytes() == command_record().tobytes()
    reports = np.zeros(50, REPORT)
    reports["tick"] = np.arange(50)
    assert unpack("report", pack("report", reports, 1)).records["tick"].tolist() == list(range(50))


def test_a_received_record_is_the_receivers_own() -> None:
    message = pack("command", command_record(), 1)
    records = unpack("command", message).records
    records["sequence"] = 100
    assert unpack("command", message).records["sequence"][0] == 7


@given(st.integers(0, HEADER.itemsize + COMMAND.itemsize - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, change: int) -> None:
    message = pack("command", command_record(), 1)
    raw = bytearray(message.data)
    names: Any = HEADER.fields
    offset, size = names["sender"][1], 8
    boot = names["boot"][1]
    if offset <= position < offset + size or boot <= position < boot + 40:
        return  # who sends, and on which machine, is anybody's to say
    raw[position] ^= change
    message.data = array.array("B", raw)
    with pytest.raises(MalformedMessage):
        unpack("command", message)


@given(st.binary(max_size=400))
def test_other_bytes_are_refused_in_one_sentence(raw: bytes) -> None:
    message = pack("command", command_record(), 1)
    message.data = array.array("B", raw)
    with pytest.raises(MalformedMessage) as refused:
        unpack("command", message)
    assert "\n" not in str(refused.value)


def test_another_kind_and_a_wrong_count_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="expected a report, got a command"):
        unpack("report", pack("command", command_record(), 1))
    with pytest.raises(MalformedMessage, match="bytes of report"):
        unpack("report", pack("report", np.zeros(MAX_RECORDS + 1, REPORT), 1))
    with pytest.raises(MalformedMessage, match="bytes of report"):
        unpack("report", pack("report", np.zeros(0, REPORT), 1))


def test_a_stamp_from_another_boot_is_told() -> None:
    message = pack("command", command_record(), 1)
    raw = bytearray(message.data)
    names: Any = HEADER.fields
    boot = names["boot"][1]
    raw[boot : boot + 4] = b"0000"
    message.data = array.array("B", raw)
    assert not unpack("command", message).same_clock


def test_every_kind_fits_its_name() -> None:
    assert all(len(kind) <= 16 for kind in KINDS)
