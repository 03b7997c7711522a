"""What goes over the socket of the lock-step plugin: heads, numbers, names. `lockstep_plugin.cc` is the other end.

A message is a head of 16 bytes (four unsigned 32-bit integers, little endian: magic, operation, argument, bytes that
follow), then its doubles (little endian), then perhaps a name in UTF-8. A reply has the operation that it answers and,
as argument, 0, or 1 with the reason in words instead of numbers. One client at a time, one request at a time.

| operation | argument | body | what it does |
|---|---|---|---|
| HELLO | version | names of the joints, a line each | answers (time step [s], joints n, limits of effort (n)) |
| STEP | steps, 1 or more | torques (n) [Nm] | applies them for so many steps; the reply is the state after the last |
| GET | 0 | | nothing |
| RESET | 0 | positions (n) [rad], speeds (n) [rad/s] | puts the arm there, torques to 0 |
| POSE | 0 | position (3) [m], quaternion (4) xyzw; name | puts a movable fixture there |
| SLIDE | 0 | x, y [m], yaw [rad] from its first place; name | likewise one that slides, at rest |
| PUSH | 0 | force (3) [N], moment (3) [Nm], base axes | acts on the last link about its centre of mass till the next |

All but HELLO are answered by the state, see `state_dtype`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 1
MAGIC = int.from_bytes(b"RRGZ", "little")
MAX_BYTES = 4096
"""Of a body; a longer one is no message of this protocol."""
HEAD = struct.Struct("<4I")


class Operation(IntEnum):
    """What a client may ask for."""

    HELLO = 1
    STEP = 2
    GET = 3
    RESET = 4
    POSE = 5
    SLIDE = 6
    PUSH = 7


class Head(NamedTuple):
    """The fixed part of a reply."""

    operation: int
    refused: bool
    size: int
    """Bytes that follow."""


class NotOurProtocol(ValueError):
    """What came is no message of this protocol."""


def encode(operation: Operation, argument: int = 0, numbers: Any = (), name: str = "") -> bytes:
    """Returns a request."""
    body = np.asarray(numbers, dtype="<f8").tobytes() + name.encode()
    if len(body) > MAX_BYTES:
        raise ValueError(f"a request holds up to {MAX_BYTES} bytes, got {len(body)}")
    return HEAD.pack(MAGIC, operation, argument, len(body)) + body


def decode_head(data: bytes | bytearray | memoryview) -> Head:
    """Reads the head of a reply. Raises NotOurProtocol."""
    magic, operation, status, size = HEAD.unpack(data)
    if magic != MAGIC or size > MAX_BYTES or status > 1:
        raise NotOurProtocol(f"expected a head with magic {MAGIC:#x} and up to {MAX_BYTES} bytes, got {bytes(data)!r}")
    return Head(operation, status == 1, size)


def state_dtype(joints: int) -> np.dtype[Any]:
    """The state of an arm with so many joints, as it comes over the socket."""
    return np.dtype(
        [
            ("time_s", "<f8"),  # steps so far times their length
            ("q_rad", "<f8", joints),
            ("qd_rad_s", "<f8", joints),
            ("tau_nm", "<f8", joints),  # of the last step, without what holds the arm against gravity
            ("reading", "<f8", 6),  # what the flange exerts on the tool [N, Nm], flange axes, about its origin
            ("axes_flange", "<f8", (3, 3)),  # a row each: the flange's axes in the base frame
        ]
    )


def as_state(body: bytes | bytearray | memoryview, joints: int) -> NDArray[Any]:
    """Returns the state (1,) as a view of a reply's body. Raises NotOurProtocol for a body of another size."""
    dtype = state_dtype(joints)
    if len(body) != dtype.itemsize:
        raise NotOurProtocol(f"expected a state of {dtype.itemsize} bytes for {joints} joints, got {len(body)}")
    return np.frombuffer(body, dtype)
