"""Frames over a stream socket: a fixed header with length and checksum, then plain bytes. Nothing is pickled."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
import zlib
from contextlib import suppress
from enum import IntEnum
from typing import Any

import numpy as np

from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.training.seam import Records, SeamError, State

_HEADER = struct.Struct("<4sBxxxIQ")  # magic, kind, CRC-32 and length of the payload
_MAGIC = b"RRL2"
_LARGEST = 1 << 31


class Kind(IntEnum):
    """What a frame holds."""

    SETUP = 1
    LOAD_STATE = 2
    DEMOS = 3
    TRANSITIONS = 4
    START = 5
    STATE_WANTED = 6
    CLOSE = 7
    READY = 8
    WEIGHTS = 9
    PROGRESS = 10
    STATE = 11
    FAILED = 12


_KINDS = {int(kind) for kind in Kind}


class PeerGone(SeamError):
    """The other end was closed, as the kernel does when its process ends, however it ends."""


class Channel:
    """Frames in both directions; one thread may send while another receives."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream

    def send(self, kind: Kind, payload: bytes = b"", deadline_s: float = 10.0) -> None:
        """Sends one frame. Raises PeerGone, or SeamError if it could not be sent within the deadline."""
        frame = memoryview(_HEADER.pack(_MAGIC, kind, zlib.crc32(payload), len(payload)) + payload)
        until = time.monotonic() + deadline_s
        while frame:
            self._socket.settimeout(max(1e-3, until - time.monotonic()))
            try:
                frame = frame[self._socket.send(frame) :]
            except TimeoutError as error:
                raise SeamError(f"the other process took nothing for {deadline_s:g} s: is it stopped?") from error
            except OSError as error:
                raise PeerGone("the other process has gone") from error

    def receive(self, wait_s: float, deadline_s: float = 10.0) -> tuple[Kind, bytes] | None:
        """Returns the next frame; None if none began within `wait_s`.

        Raises PeerGone, or SeamError for a frame that is damaged or did not end within the deadline.
        """
        first = self._some(1, wait_s)
        if first is None:
            return None
        until = time.monotonic() + deadline_s
        magic, kind, crc, length = _HEADER.unpack(first + self._exactly(_HEADER.size - 1, until))
        if magic != _MAGIC or length > _LARGEST or kind not in _KINDS:
            raise SeamError("what came from the other process is no frame of this program")
        payload = self._exactly(length, until)
        if zlib.crc32(payload) != crc:
            raise SeamError("a frame from the other process does not fit its checksum")
        return Kind(kind), payload

    def _exactly(self, size: int, until: float) -> bytes:
        parts, missing = [], size
        while missing:
            part = self._some(min(missing, 1 << 20), max(1e-3, until - time.monotonic()))
            if part is None:
                raise SeamError("the other process fell silent in the midst of a frame")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _some(self, size: int, wait_s: float) -> bytes | None:
        # a poll of the kernel instead of settimeout: the sending thread sets the timeout of the same socket
        if not self._readable(wait_s):
            return None
        try:
            part = self._socket.recv(size)
        except OSError as error:
            raise PeerGone("the other process has gone") from error
        if not part:
            raise PeerGone("the other process has gone")
        return part

    def _readable(self, wait_s: float) -> bool:
        waiter = select.poll()
        waiter.register(self._socket, select.POLLIN)
        return bool(waiter.poll(wait_s * 1000.0))

    def hang_up(self) -> None:
        """Ends the conversation; both ends notice at once, a receiver of this one as well."""
        with suppress(OSError):  # the other end may have hung up first
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the socket back, once nobody receives any more."""
        self._socket.close()


def pack(about: dict[str, Any], arrays: State) -> bytes:
    """Returns JSON values and numeric arrays as bytes: length of the JSON, JSON, safetensors."""
    from safetensors.numpy import save

    text = json.dumps(about).encode()
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    return struct.pack("<I", len(text)) + text + bytes(save(plain))


def unpack(payload: bytes) -> tuple[dict[str, Any], State]:
    """Returns what `pack` was given."""
    from safetensors.numpy import load

    (size,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + size]), load(payload[4 + size :])


def records_of(replay: Replay, since: int) -> Records:
    """Returns the transitions of a replay added after the first `since`, oldest first."""
    if replay.added - since == 1 and replay.has_action[replay.head - 2]:
        rows = np.array([(replay.head - 2) % replay.capacity])  # the newest, found without looking through all
    else:
        rows = np.flatnonzero(replay.has_action & (replay.serial >= since))
        rows = rows[np.argsort(replay.serial[rows])]
    return journal.records_of(replay, rows)


def add_records(replay: Replay, records: Records) -> None:
    """Adds transitions to a replay on the other side."""
    for record in records:
        journal.add_record(replay, record)
