"""Passes requests of several askers on to one motor process, one at a time, and gives each its answer. Never waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from controllers.link_side import Side
from controllers.shared_memory.layout import ANSWER, REQUEST, Request
from controllers.shared_memory.mailbox import record_bytes
from safety.supervision import ANSWER_WORDS, Answer, reason_name

_PATIENCE_S = 2.0
_MOST_WAITING = 16


class Asked(NamedTuple):
    """One request that waits, or is under way."""

    record: Any
    """REQUEST (), as its asker numbered it."""
    done: Callable[[Any], None]
    """Takes the ANSWER (), which repeats the asker's number."""


class RequestRelay:
    """One queue in front of one motor process."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._waiting: deque[Asked] = deque()
        self._under_way: Asked | None = None
        self._number, self._deadline_s = 0, 0.0
        self._answer = np.zeros((), ANSWER)

    def ask(self, record: Any, done: Callable[[Any], None]) -> None:
        """Queues a REQUEST record (). A wish to stop is refused: the process is ended by its own node alone."""
        asked = Asked(record.copy(), done)
        if record["kind"] == Request.STOP:
            done(refusal(asked.record, "the motor process is ended by its controller node: deactivate that"))
        elif len(self._waiting) >= _MOST_WAITING:
            done(refusal(asked.record, f"{_MOST_WAITING} requests wait already"))
        else:
            self._waiting.append(asked)
        self.look()

    def ask_for(self, kind: Request, done: Callable[[Any], None]) -> None:
        """Queues a request without values."""
        record = np.zeros((), REQUEST)
        record["kind"] = kind
        self.ask(record, done)

    def look(self) -> None:
        """To be called often: takes the answer that came, and sends the next request."""
        if self._under_way is not None:
            asked = self._under_way
            if self._side.answers.poll(record_bytes(self._answer)) and self._answer["number"] == self._number:
                self._under_way = None
                answer = self._answer.copy()
                answer["number"] = asked.record["number"]
                asked.done(answer)
            elif time.monotonic() > self._deadline_s:
                self._under_way = None
                asked.done(refusal(asked.record, "the motor process did not answer in time"))
        if self._under_way is None and self._waiting:
            self._under_way = self._waiting.popleft()
            self._number += 1
            record = self._under_way.record.copy()
            record["number"] = self._number
            self._deadline_s = time.monotonic() + _PATIENCE_S
            self._side.requests.publish(record)


def refusal(record: Any, why: str) -> Any:
    """Returns the ANSWER () that refuses a REQUEST ()."""
    answer = np.zeros((), ANSWER)
    answer["number"], answer["refused"], answer["message"] = record["number"], 1, why.encode()
    return answer


def words(answer: Any) -> str:
    """Returns what an ANSWER () says, as one sentence for a person."""
    if not answer["refused"]:
        return "done"
    if answer["verdict"]:
        reason = f" ({reason_name(int(answer['reason']))})" if answer["reason"] else ""
        return f"refused: {ANSWER_WORDS[Answer(int(answer['verdict']))]}{reason}"
    return f"refused: {answer['message'].item().decode('utf-8', 'replace')}"
