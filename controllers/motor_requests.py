"""What a motor process does on request besides motion: start over, tare, stop; in simulation move things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from controllers.description.geometry import Pose
from controllers.robots.base import Robot
from controllers.shared_memory.layout import ANSWER, REQUEST, Request
from controllers.shared_memory.mailbox import record_bytes
from controllers.shared_memory.sides import MotorSide, shortened
from controllers.types import JOINTS
from safety.supervision import Answer


class Restart(Protocol):
    """Whoever may start the chain over."""

    def restart(self, moved: bool = False) -> tuple[Answer, int]:
        """Starts the chain over if the supervisor grants it. Returns its answer, and the reason of the latch."""

    def grant(self) -> Answer:
        """Sets the energy tank to its start, unless the arm is latched or the supervisor does not allow it."""

    def estop(self) -> None:
        """Emergency stop."""


class RequestDesk:
    """Serves the request mailbox between two ticks. In a tick without a request it costs one comparison."""

    def __init__(self, side: MotorSide, robot: Robot, loop: Restart) -> None:
        self._side, self._robot, self._loop = side, robot, loop
        self._verdict, self._reason = Answer.GRANTED, 0
        self._request = np.zeros((), REQUEST)
        self._bytes = record_bytes(self._request)

    def serve(self) -> bool:
        """Carries out a waiting request and answers it. Returns whether it was a wish to stop."""
        if not self._side.requests.poll(self._bytes):
            return False
        refusal, self._verdict, self._reason = "", Answer.GRANTED, 0
        try:
            self._carry_out(int(self._request["kind"]), self._request["name"].item().decode(), self._request["values"])
        except (ValueError, OverflowError, KeyError, AttributeError) as error:
            refusal = str(error)
        answer = np.zeros((), ANSWER)
        answer["number"] = self._request["number"]
        answer["verdict"], answer["reason"] = self._verdict, self._reason
        answer["refused"] = bool(refusal) or self._verdict != Answer.GRANTED
        answer["message"] = shortened(refusal, ANSWER["message"].itemsize)
        self._side.answers.publish(answer)
        return bool(self._request["kind"] == Request.STOP)

    def _carry_out(self, kind: int, name: str, values: Any) -> None:
        if kind == Request.RESEED:
            self._verdict, self._reason = self._loop.restart()
        elif kind == Request.GRANT:
            self._verdict = self._loop.grant()
        elif kind == Request.TELEPORT:
            self._ability("teleport")(values[:JOINTS].copy())
            self._loop.restart(moved=True)  # an arm that is latched is moved all the same, and stays latched
        elif kind == Request.ESTOP:
            self._loop.estop()
        elif kind == Request.PLACE_FIXTURE:
            self._ability("place")(name, Pose(values[:3].copy(), values[3:7].copy()))
        elif kind == Request.TARE:
            self._ability("tare", "its driver needs a method `tare` for the wrist sensor")()
        elif kind == Request.SEED_SENSOR:
            self._ability("reseed")(int(values[0]))
        elif kind == Request.PUSH:
            self._ability("push")(values[:6].copy(), float(values[6]))
        elif kind != Request.STOP:
            raise ValueError(f"unknown request {kind}; known are {[f'{item.value} {item.name}' for item in Request]}")

    def _ability(self, verb: str, otherwise: str = "only a simulated arm can") -> Callable[..., None]:
        ability = getattr(self._robot, verb, None)
        if ability is None:
            raise ValueError(f"{type(self._robot).__name__} cannot {verb}: {otherwise}")
        return ability  # type: ignore[no-any-return]
