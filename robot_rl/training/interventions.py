"""Intervened transitions as demonstrations: what a person did instead of the policy counts twice.

They stand in the replay like all others, and once more in the partition of demonstrations, from which half of every
batch comes. The partition is a function of the replay: a resumed run makes it again from there, and a learner in
another process makes it from the transitions that it is sent.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.training.takeover import INTERVENED


class InterventionPartition:
    """Adds the intervened ones of all transitions that it is shown, in their order, to the demonstrations."""

    def __init__(self, demos: Replay) -> None:
        self.demos = demos

    def add(self, records: NDArray[Any]) -> None:
        """records: transitions (n,) of robot_rl.learning.journal.record_type, in the order of their recording."""
        for record in records:
            if int(record["source"]) not in INTERVENED:
                self.demos.interrupt()  # the person handed back: the stretch ends, its last observation bootstraps
                continue
            journal.add_record(self.demos, record)
