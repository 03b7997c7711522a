"""Records of the motor tick as ROS messages: fixed bytes behind a header that says what they are.

Standard messages carry a pose, or a stiffness, but not one whole command with its sequence, stamp and duration; and no
message needs to be compiled for std_msgs/UInt8MultiArray. What arrives is checked before anything looks into it: magic,
layout of this version, kind, count, length, checksum.

    magic (8) | layout hash (16) | kind (16) | boot id (40) | sender, count, crc32, packed_ns (8 each) | records
"""

from __future__ import annotations

import array
import math
import secrets
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import UInt8MultiArray

from controllers.shared_memory.layout import ANSWER, REQUEST, layout_hash
from controllers.types import COMMAND, REPORT
from data.errors import UserError
from safety.risk_weights import CRITIC_WEIGHTS

MAGIC = b"RRLTOPIC"
HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("layout", "S16"),
        ("kind", "S16"),
        ("boot", "S40"),
        ("sender", "u8"),
        ("count", "u8"),
        ("crc", "u8"),
        ("packed_ns", "i8"),
    ]
)
BEAT = np.dtype([("source", "i8"), ("stamp_ns", "i8"), ("name", "S32")], align=True)
"""A sign of life: safety.supervision.Heartbeat, its time (0: no longer in use), and which of several it is."""
FRAME = np.dtype(
    [
        ("number", "i8"),
        ("stamp_ns", "i8"),  # exposure, on CLOCK_MONOTONIC
        ("received_ns", "i8"),  # arrival in the camera's process
        ("published_ns", "i8"),
        ("header_ns", "i8"),  # ROS time in the header of the picture that this belongs to
    ],
    align=True,
)
"""When a picture was taken: ROS time in a header may jump with the wall clock, ages of pictures must not."""
KINDS = {
    "command": COMMAND,
    "report": REPORT,
    "request": REQUEST,
    "answer": ANSWER,
    "critic": CRITIC_WEIGHTS,
    "beat": BEAT,
    "frame": FRAME,
}
MAX_RECORDS = 4096


class MalformedMessage(UserError):
    """A message is not what its topic carries; nothing of it was used."""


@dataclass(frozen=True)
class Parcel:
    """What one message held."""

    records: NDArray[Any]
    """(n,) records of its kind, a copy of the receiver's own."""
    sender: int
    """Drawn at random by each sender at its start."""
    same_clock: bool
    """Whether stamps of CLOCK_MONOTONIC mean the same here: it was sent on this machine, in this boot."""
    age_s: float
    """How long ago it was packed [s]; infinite where the clock is another."""


def draw_sender() -> int:
    """Returns a number that tells this sender from all others."""
    return secrets.randbits(63)


@cache
def _layout() -> bytes:
    return layout_hash()


@cache
def boot_id() -> bytes:
    """Returns the id of this machine's boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()


def pack(kind: str, records: NDArray[Any], sender: int) -> UInt8MultiArray:
    """Returns records of one kind, () or (n,), as a message."""
    payload = np.ascontiguousarray(records, KINDS[kind]).reshape(-1)
    header = np.zeros((), HEADER)
    header["magic"], header["layout"], header["kind"], header["boot"] = MAGIC, _layout(), kind.encode(), boot_id()
    body = payload.tobytes()
    header["sender"], header["count"], header["packed_ns"] = sender, len(payload), time.monotonic_ns()
    header["crc"] = _checksum(header, body)
    message = UInt8MultiArray()
    # An array('B') is taken as it is, everything else is checked element by element (milliseconds).
    message.data = array.array("B", header.tobytes() + body)
    return message


def _checksum(header: Any, body: bytes) -> int:
    """Of the records and of when they were packed."""
    return zlib.crc32(body, zlib.crc32(header["packed_ns"].tobytes()))


def unpack(kind: str, message: UInt8MultiArray) -> Parcel:
    """Returns what a message of this kind holds. Raises MalformedMessage, in one sentence, for anything else."""
    raw = bytes(message.data)
    if len(raw) < HEADER.itemsize:
        raise MalformedMessage(f"expected a {kind} of at least {HEADER.itemsize} bytes, got {len(raw)}")
    header, body = np.frombuffer(raw[: HEADER.itemsize], HEADER)[0], raw[HEADER.itemsize :]
    if header["magic"] != MAGIC:
        raise MalformedMessage(f"expected a {kind} record of robot-rl, got other bytes; see who publishes this topic")
    if header["layout"] != _layout():
        raise MalformedMessage(
            f"expected a {kind} of version {_layout().decode()}, got {header['layout'].decode('ascii', 'replace')}: "
            "both ends need the same robot-rl"
        )
    if header["kind"] != kind.encode():
        raise MalformedMessage(f"expected a {kind}, got a {header['kind'].decode('ascii', 'replace')}")
    count, size = int(header["count"]), KINDS[kind].itemsize
    if not 1 <= count <= MAX_RECORDS or len(body) != count * size:
        raise MalformedMessage(f"expected {count} times {size} bytes of {kind}, got {len(body)}")
    if header["crc"] != _checksum(header, body):
        raise MalformedMessage(f"the bytes of a {kind} do not match their checksum")
    records = np.frombuffer(body, KINDS[kind]).copy()
    same_clock = bool(header["boot"] == boot_id())
    age_s = (time.monotonic_ns() - int(header["packed_ns"])) * 1e-9 if same_clock else math.inf
    return Parcel(records, int(header["sender"]), same_clock, age_s)
