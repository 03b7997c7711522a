"""The seam between an actor and a learner that share no memory: what crosses it, and the two sides' protocols.

Nothing here assumes processes of one machine; robot_rl.training.process_seam is the implementation for one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

State = dict[str, NDArray[Any]]
Records = NDArray[Any]
"""Transitions as a structured array (n,) of robot_rl.learning.journal.record_type."""


class SeamError(UserError):
    """The other side is gone, silent, or sends what cannot be right. What was recorded is kept."""


@dataclass(frozen=True)
class Weights:
    """What an actor needs of the learner's agent, numbered by the blocks of updates behind it."""

    version: int
    arrays: State
    checksum: int

    @classmethod
    def of(cls, version: int, arrays: State) -> Weights:
        """Returns sealed weights."""
        return cls(version, arrays, checksum(arrays))

    def fault(self) -> str | None:
        """Returns why these weights must not act, None if they may: damaged on the way, or not finite."""
        if checksum(self.arrays) != self.checksum:
            return f"version {self.version} does not fit its checksum"
        bad = [name for name, array in self.arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        return f"version {self.version} has numbers that are not finite in {', '.join(sorted(bad))}" if bad else None


def checksum(arrays: State) -> int:
    """Returns a CRC-32 over names, types, shapes and bytes."""
    crc = 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return crc


@dataclass(frozen=True)
class Progress:
    """What the learner has done so far."""

    updates: int = 0
    """Blocks of updates, those of the run's earlier parts included."""
    update_s: float = 0.0
    """Wall-clock time of them since the learner started."""
    metrics: dict[str, float] = field(default_factory=dict)


class ActorSeam(Protocol):
    """The actor's side. Each method raises SeamError, in one line, when the learner is dead or silent for too long."""

    progress: Progress
    """The learner's newest figures."""

    def push(self, records: Records) -> None:
        """Hands over transitions; they arrive once and in order."""

    def weights(self) -> Weights | None:
        """Returns the newest valid weights if they have not been returned yet; never older ones than before."""

    def wait_for_credit(self, deadline_s: float, slack_steps: int | None = None) -> bool:
        """Waits until the actor may act, at most `deadline_s`; returns whether it may.

        With slack_steps=0: until the learner has done all that it may, and the weights of it have arrived.
        """

    def state(self, deadline_s: float) -> tuple[State, Progress]:
        """Returns the learner's agent as it is when all that was pushed has arrived."""

    def close(self) -> None:
        """Ends the learner; harmless when called again."""


@dataclass
class Pulled:
    """What came over since the last look."""

    records: list[Records] = field(default_factory=list)
    state_wanted: bool = False


class LearnerSeam(Protocol):
    """The learner's side."""

    def pull(self, wait_s: float) -> Pulled | None:
        """Returns what came, waiting at most `wait_s` for something; None when the actor has gone."""

    def publish(self, weights: Weights) -> None:
        """Sends weights to act with."""

    def report(self, progress: Progress) -> None:
        """Sends a sign of life."""

    def give_state(self, state: State, progress: Progress) -> None:
        """Answers a pull whose `state_wanted` was set."""
