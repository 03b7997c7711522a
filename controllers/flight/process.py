"""The flight recorder's process: `python -m controllers.flight.process`, settings as JSON on standard input.

It reads the ring and the status of a motor process's shared block and writes nothing there, so that it can neither
disturb the loop nor be disturbed by the death of whoever commands. It outlives the motor process by as long as it
takes to write down its end.

The mailbox of the commands holds the newest only, and is looked at every POLL_S: of commands that follow each other
faster, accepted or not, only the last one of each look is noted. The reports, which the ring keeps, are whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import numpy as np

from controllers.flight.buffer import FlightBuffer
from controllers.flight.config import FlightConfig
from controllers.realtime import keep_threads_off_core
from controllers.shared_memory.block import BlockError, SharedBlock
from controllers.shared_memory.layout import RING_CAPACITY, MotorState, Status
from controllers.shared_memory.liveness import process_start
from controllers.shared_memory.mailbox import MailboxReader, record_bytes
from controllers.shared_memory.ring import RingReader
from controllers.types import COMMAND, REPORT

POLL_S = 0.05
"""The ring holds four seconds; a policy that decides at 20 Hz or less has each command noted."""
_NICENESS = 10
_OVER = (MotorState.STOPPED, MotorState.FAILED)


class Recorder:
    """Follows one motor process."""

    def __init__(self, block: SharedBlock, buffer: FlightBuffer) -> None:
        self._buffer = buffer
        self._status = block.region("status").cast("q")
        self._ring = RingReader(block.region("ring"), REPORT, RING_CAPACITY, from_oldest=True)
        self._mailbox = MailboxReader(block.region("commands"), COMMAND)
        self._command = np.zeros(1, COMMAND)
        self._sequence = -1
        self._pid = self._status[Status.PID]
        self._start = process_start(self._pid)

    def poll(self) -> None:
        """Takes what is new."""
        if self._mailbox.poll(record_bytes(self._command)) and self._command["sequence"][0] != self._sequence:
            self._sequence = int(self._command["sequence"][0])
            self._buffer.add_command(self._command)
        reports = self._ring.drain()
        self._buffer.lost = self._ring.lost
        self._buffer.add(reports)

    @property
    def death(self) -> str:
        """How the motor process ended, "" if it was in order."""
        state = self._status[Status.STATE]
        return "" if state == MotorState.STOPPED else "FAILED" if state == MotorState.FAILED else "DIED"

    @property
    def motor_lives(self) -> bool:
        """Whether the motor process runs and has not said that it ended."""
        return self._status[Status.STATE] not in _OVER and process_start(self._pid) == self._start

    def release(self) -> None:
        """Lets go of the memory, so that the block can be unmapped."""
        self._ring.release()
        self._mailbox.release()
        self._status.release()


def main() -> int:
    """Follows one motor process to its end; returns the exit status."""
    settings = json.loads(sys.stdin.read())
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    if settings["off_core"] is not None:
        keep_threads_off_core(settings["off_core"])
    try:
        block = SharedBlock.attach(settings["name"], command=False)
    except BlockError as error:  # the motor process has ended already
        print(f"flight recorder: {error}", file=sys.stderr)
        return 2
    buffer = FlightBuffer(
        FlightConfig(**settings["flight"]), settings["name"], settings["kernels"], settings["rate_hz"]
    )
    recorder = Recorder(block, buffer)
    try:
        while recorder.motor_lives:
            time.sleep(POLL_S)
            recorder.poll()
        recorder.poll()
        buffer.finish(recorder.death)
    finally:
        recorder.release()
        block.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
