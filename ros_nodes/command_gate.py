"""Who may command the arm: one sender at a time, each command passed on with a sequence of this process.

Whoever sends first has the arm until it was silent for `silence_s`. What another one sends meanwhile is refused and
counted: two senders that take turns would make an arm that follows neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from controllers.link import KEEP_ALIVE_S
from controllers.types import COMMAND, Command

_KEEP_ALIVE_NS = round(KEEP_ALIVE_S * 1e9)


class Verdict(Enum):
    """What became of a command."""

    PASSED = "passed on"
    TAKEN = "refused: another sender commands the arm"
    TWO_PUBLISHERS = "refused: its topic has two publishers"
    MALFORMED = "refused: malformed"
    MODE = "refused: the controller is in another mode"
    REORDERED = "refused: older than its sender's last one"
    CLOCK = "refused: stamped by the clock of another machine"


class CommandGate:
    """Passes commands on to one motor process."""

    def __init__(self, publish: Callable[[Any], Any], silence_s: float = 1.0) -> None:
        """publish: takes a COMMAND record (). silence_s: after which another sender may take over [s]."""
        self._publish, self._silence_ns = publish, round(silence_s * 1e9)
        self._record = np.zeros((), COMMAND)
        self._sequence = 0
        self._foreign: tuple[int, int] | None = None  # sender and sequence of the command passed on last
        self._heard_ns = 0
        self._renew_until_ns = 0
        self.only: int | None = None
        """The one sender that a mode lets through; None: whoever comes first."""
        self.counts: Counter[Verdict] = Counter()

    def holder(self, now_ns: int) -> int | None:
        """Returns the sender that has the arm now."""
        if self._foreign is None or now_ns - self._heard_ns > self._silence_ns:
            return None
        return self._foreign[0]

    def offer(self, sender: int, record: Any, now_ns: int, same_clock: bool = True) -> Verdict:
        """Passes a COMMAND record () on if its sender may command.

        A repeated sequence is a renewal: it keeps the sequence here too. A lower one was overtaken on its way. A stamp
        of another machine's clock says nothing of the command's age: it is refused.
        """
        verdict = self._judge(sender, int(record["sequence"]), now_ns) if same_clock else Verdict.CLOCK
        self.counts[verdict] += 1
        if verdict is not Verdict.PASSED:
            return verdict
        foreign = (sender, int(record["sequence"]))
        if foreign != self._foreign:
            self._sequence += 1
        self._foreign, self._heard_ns, self._renew_until_ns = foreign, now_ns, 0
        self._record[...] = record
        self._record["sequence"] = self._sequence
        self._publish(self._record)
        return verdict

    def offer_lasting(self, sender: int, command: Command, now_ns: int) -> Verdict:
        """Like `offer`, for a sender that does not renew: done here until the command's duration is over."""
        record = np.zeros((), COMMAND)
        command.write_to(record)
        record["sequence"], record["stamp_ns"] = self._sequence + 1, now_ns
        verdict = self.offer(sender, record, now_ns)
        if verdict is Verdict.PASSED:
            self._renew_until_ns = now_ns + round(command.duration_s * 1e9)
        return verdict

    def renew(self, now_ns: int) -> None:
        """To be called often: renews what `offer_lasting` passed on, while it is meant to last."""
        if now_ns < self._renew_until_ns and now_ns - int(self._record["stamp_ns"]) >= _KEEP_ALIVE_NS:
            self._record["stamp_ns"] = now_ns
            self._publish(self._record)

    def drop(self) -> None:
        """Nobody has the arm any more, nothing is renewed."""
        self._foreign, self._renew_until_ns = None, 0

    def _judge(self, sender: int, sequence: int, now_ns: int) -> Verdict:
        if self.only is not None and sender != self.only:
            return Verdict.MODE
        if self.holder(now_ns) not in (None, sender):
            return Verdict.TAKEN
        overtaken = self._foreign is not None and self._foreign[0] == sender and sequence < self._foreign[1]
        return Verdict.REORDERED if overtaken else Verdict.PASSED
