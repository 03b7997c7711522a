"""The parent's end of the request mailbox: one request at a time, answered between two ticks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from controllers.link_side import Side
from controllers.motor_child import MotorProcessDied
from controllers.shared_memory.layout import ANSWER, REQUEST, Request
from controllers.shared_memory.mailbox import record_bytes
from safety.supervision import Answer, GrantRefused, ResetRefused

_POLL_S = 0.001
_AGAIN_S = 0.02


class RequestClient:
    """Makes requests to one motor process and waits for their answers."""

    def __init__(
        self, side: Side, motor: str, timeout_s: float, alive: Callable[[], None], sleep: Callable[[float], None]
    ) -> None:
        """alive: raises if the motor process is dead; sleep: waits, but not beyond the death of that process."""
        self._side, self._motor, self._timeout_s, self._alive, self._sleep = side, motor, timeout_s, alive, sleep
        self._number = 0

    def publish(self, kind: Request, name: str = "", values: Any = ()) -> int:
        """Makes a request without waiting; returns its number."""
        request = np.zeros((), REQUEST)
        self._number += 1
        request["kind"], request["number"], request["name"] = kind, self._number, name.encode()
        request["values"][: len(values)] = values
        self._side.requests.publish(request)
        return self._number

    def ask(self, kind: Request, name: str = "", values: Any = ()) -> None:
        """Makes a request and waits until it was carried out.

        Raises ValueError with the motor's words if it was refused; ResetRefused, or GrantRefused for a grant, if the
        supervisor did so.
        """
        self._alive()
        number = self.publish(kind, name, values)
        answer = np.zeros((), ANSWER)
        deadline_ns = self._deadline_ns()
        while answer["number"] != number:
            self._alive()
            if time.monotonic_ns() > deadline_ns:
                raise MotorProcessDied(f"motor process {self._motor!r} did not answer {kind.name} in time")
            if not self._side.answers.poll(record_bytes(answer)):
                self._sleep(_POLL_S)
        if answer["refused"]:
            verdict = Answer(int(answer["verdict"]))
            if kind == Request.GRANT and verdict != Answer.GRANTED:
                raise GrantRefused(verdict)
            if verdict != Answer.GRANTED:
                raise ResetRefused(verdict, int(answer["reason"]), self._motor)
            raise ValueError(answer["message"].item().decode())

    def reseed(self) -> None:
        """Asks for a fresh start, for a while again and again where the arm only has to come to rest.

        Raises ResetRefused where it takes a person.
        """
        deadline_ns = self._deadline_ns()
        while True:
            try:
                return self.ask(Request.RESEED)
            except ResetRefused as refused:
                if refused.answer != Answer.NOT_CALM or time.monotonic_ns() > deadline_ns:
                    raise
            self._sleep(_AGAIN_S)

    def _deadline_ns(self) -> int:
        return time.monotonic_ns() + round(self._timeout_s * 1e9)
