"""Where each field of the shared block stands.

One side writes each region, the other only reads it, and regions of different writers never share a cache line (64
bytes). All words are signed 64-bit integers: one aligned store, which the CPU never shows half done.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np

from controllers.types import COMMAND, REPORT, SCHEMA_VERSION
from safety.risk_weights import CRITIC_WEIGHTS

MAGIC = b"RRLMOTOR"
FORMAT_VERSION = 3
"""Raised whenever the meaning of a word changes without a change of any record."""

RING_CAPACITY = 4096
"""Tick reports that the ring holds: about four seconds at 1 kHz."""

HISTOGRAM_BINS = 4097
"""One bin a microsecond, the last one for everything above."""

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("layout", "S16"),  # layout_hash() of the creator
        ("boot", "S40"),  # /proc/sys/kernel/random/boot_id of the creator
        ("owner_pid", "i8"),
        ("owner_start", "i8"),  # clock ticks after boot at which the owner started: tells a reused pid
    ],
    align=True,
)

REQUEST = np.dtype(
    [
        ("kind", "i8"),  # see Request
        ("number", "i8"),  # strictly increasing; the answer repeats it
        ("name", "S64"),  # what the request is about, for example a fixture
        ("values", "f8", 16),  # numbers of the request, see Request
    ],
    align=True,
)

ANSWER = np.dtype(
    [("number", "i8"), ("refused", "i8"), ("verdict", "i8"), ("reason", "i8"), ("message", "S240")], align=True
)
"""verdict: a supervisor's Answer to a wish to start over or for energy, else 0; reason: what it had latched for."""


class Request(IntEnum):
    """What the parent may ask for besides motion."""

    RESEED = 1
    """Let the controller start over from the measured state; no values."""
    STOP = 2
    """Ordered stop: hold, ramp the torque to zero, leave; no values."""
    TELEPORT = 3
    """Simulation only: values = joint positions [rad]."""
    PLACE_FIXTURE = 4
    """Simulation only: name = fixture, values = position [m] and quaternion (xyzw) in the base frame."""
    TARE = 5
    """Tare the wrist sensor, in free space; no values. The simulated arm draws the bias that such a tare leaves."""
    SEED_SENSOR = 6
    """Simulation only: values = seed of the random numbers of the sensor's noise and bias."""
    GRANT = 7
    """Set the energy tank to its start, for a new episode; no values."""
    ESTOP = 8
    """Emergency stop: soft hold, latched until a person resets; no values."""


class MotorState(IntEnum):
    """Life of the motor process, as its status says."""

    STARTING = 0
    RUNNING = 1
    ORPHANED = 2
    """Runs, but the parent gives no sign of life: the reference is frozen and held."""
    STOPPING = 3
    STOPPED = 4
    FAILED = 5


class Status(IntEnum):
    """Words that the motor process writes."""

    STATE = 0
    PID = 1
    REALTIME = 2  # 1 if all measures that keep the loop punctual were obtained
    TICKS = 3
    OVERRUNS = 4
    LATENESS_MAX_NS = 5
    WORK_MAX_NS = 6
    TORN_COMMANDS = 7  # mailbox reads that met a write in progress, or a damaged one
    RATE_MILLIHERTZ = 8
    SUPERVISOR = 9  # SupervisorState
    LATCH_REASON = 10  # Reason of the latch, 0 without one
    HOLD_REASON = 11  # Reason of a hold that the supervisor asks for, 0 without one
    LATE = 12  # bit i: source i of Heartbeat is beyond its soft limit
    TRIPS = 13  # how often the arm was latched
    RECOVERIES_LEFT = 14  # that need no person
    RESET_ANSWER = 15  # Answer to the last release of a person's button
    RELEASES = 16  # how often that button was released
    CRITIC_VERSION = 17  # of the safety critic's weights in use, 0 without any
    CRITIC_REFUSED = 18  # how many times weights were refused
    CRITIC_REFUSAL = 19  # WeightsRefusal of the newest weights
    PACKETS_LOST = 20  # of a robot behind a network connection
    SUCCESS_PPM = 21  # share of our commands that it receives in time, in millionths; 0: unknown


class Parent(IntEnum):
    """Words that the parent writes."""

    HEARTBEAT_NS = 0  # monotonic time of its last sign of life
    PID = 1
    CAMERA_NS = 2  # monotonic time of the newest camera frame; 0: no camera in use
    LEARNER_NS = 3  # of the newest weights; 0: no learner
    OPERATOR_NS = 4  # at which the operator's dead-man switch was last seen pressed; 0: none in use


class Person(IntEnum):
    """Words of a person at the buttons: levels and times, not messages.

    The seat writes them all but ESTOP_NS, which anybody may set.
    """

    BUTTON = 0  # 1 while the reset button is pressed
    BUTTON_NS = 1  # when the seat said so last: a seat that dies while pressing never releases
    ESTOP_NS = 2  # when the emergency stop was pressed last; 0: never
    PID = 3
    RELEASED_NS = 4  # the ESTOP_NS that was released: the emergency stop is pressed while the two differ
    SEAT_NS = 5  # the seat's sign of life, from one that stays; 0: none does
    HOLD = 6  # 1 while a person wants the arm held; outlives the seat, until another one lets the arm go on


STATUS_TEXT = np.dtype([("kernels", "S16"), ("message", "S480")], align=True)

MAILBOX_HEADER_BYTES = 64
"""Head counter of a mailbox, on a cache line of its own."""

SLOT_HEADER_BYTES = 16
"""Sequence and checksum before each payload."""

RING_HEADER_BYTES = 64


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64


def mailbox_bytes(payload: np.dtype[np.void]) -> int:
    """Returns the size of a mailbox for one record type [bytes]."""
    return MAILBOX_HEADER_BYTES + 2 * _aligned(SLOT_HEADER_BYTES + payload.itemsize)


def slot_stride(payload: np.dtype[np.void]) -> int:
    """Returns the distance from one slot to the next [bytes]."""
    return _aligned(SLOT_HEADER_BYTES + payload.itemsize)


REGIONS: dict[str, tuple[int, int]] = {}
"""Name of a region -> (offset, size) [bytes]."""

_sizes = {
    "header": HEADER.itemsize,
    "status": 8 * 24,
    "status_text": STATUS_TEXT.itemsize,
    "lateness_histogram": 8 * HISTOGRAM_BINS,
    "work_histogram": 8 * HISTOGRAM_BINS,
    "answers": mailbox_bytes(ANSWER),
    "ring": RING_HEADER_BYTES + RING_CAPACITY * slot_stride(REPORT),
    "parent": 8 * 16,
    "person": 8 * 8,
    "commands": mailbox_bytes(COMMAND),
    "requests": mailbox_bytes(REQUEST),
    "critic": mailbox_bytes(CRITIC_WEIGHTS),
}
BLOCK_BYTES = 0
for _name, _size in _sizes.items():
    REGIONS[_name] = (BLOCK_BYTES, _size)
    BLOCK_BYTES += _aligned(_size)


def layout_hash() -> bytes:
    """Returns 16 hex digits that name this arrangement: records with their offsets, regions, words and versions."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {SCHEMA_VERSION} {RING_CAPACITY} {REGIONS}".encode())
    for record in (HEADER, REQUEST, ANSWER, STATUS_TEXT, COMMAND, REPORT, CRITIC_WEIGHTS):
        for name, (kind, offset) in ((key, value[:2]) for key, value in (record.fields or {}).items()):
            digest.update(f"{name} {kind.str} {kind.shape} {offset};".encode())
        digest.update(str(record.itemsize).encode())
    for words in (Request, MotorState, Status, Parent, Person):
        digest.update(" ".join(f"{word.name}={word.value}" for word in words).encode())
    return digest.hexdigest()[:16].encode()
