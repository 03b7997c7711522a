"""Who looks on while a run trains: a place for what learns from the same episodes and is no part of the agent."""

from __future__ import annotations

from typing import Any

from robot_rl.training.workplace import Outcome


class Onlooker:
    """Is told of every training episode; this one does nothing."""

    def resume(self, episode: int) -> None:
        """The run goes on after its training episode of this number; what came later never happened."""

    def begin(self) -> None:
        """An episode was reset."""

    def step(self, outcome: Outcome) -> None:
        """A decision was executed."""

    def end(self, episode: int) -> dict[str, Any] | None:
        """The episode of this number is over; returns what to write into the metrics, None for nothing."""
        return None

    def saved(self, episode: int) -> None:
        """A checkpoint after the episode of this number is on the disk."""
