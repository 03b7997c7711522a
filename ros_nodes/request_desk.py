"""What may be asked of a controller node besides motion: by links, as records; by others, as services.

Nobody but whoever commands the arm may start it over, tare or move things; anybody may stop it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rclpy.task import Future
from std_msgs.msg import UInt8MultiArray
from std_srvs.srv import Trigger

from controllers.shared_memory.layout import Request
from ros_nodes.request_relay import refusal, words
from ros_nodes.wire import MalformedMessage, pack, unpack

if TYPE_CHECKING:
    from ros_nodes.controller_node import ControllerNode

REQUEST_AGE_S = 2.0
"""Whoever asked longer ago has given up waiting for the answer; an emergency stop is carried out all the same [s]."""


class RequestDesk:
    """The requests of one controller node."""

    def __init__(self, node: ControllerNode) -> None:
        self._node = node
        for name, kind in (("start_over", Request.RESEED), ("tare", Request.TARE)):
            node.create_service(Trigger, f"~/{name}", self._server(kind))

    def take(self, message: UInt8MultiArray) -> None:
        """Serves a request of a link."""
        if self._node.link is None:
            return
        try:
            parcel = unpack("request", message)
        except MalformedMessage as error:
            self._node.refuse(str(error))
            return

        kind, sender = int(parcel.records[-1]["kind"]), parcel.sender

        def answer(record: Any) -> None:
            if kind == Request.RESEED and not record["refused"]:
                self._started_over(sender)
            if self._node.link is not None:
                # first what changed, then that it is done
                self._node.voice.tell_status(self._node.link, self._node.modes.name)
            self._node.voice.answers.publish(pack("answer", record, parcel.sender))

        record = parcel.records[-1]
        holder = self._node.gate.holder(time.monotonic_ns())
        if record["kind"] == Request.ESTOP:
            self._node.relay.ask(record, answer)
        elif parcel.age_s > REQUEST_AGE_S:
            answer(refusal(record, "asked too long ago, or by the clock of another machine"))
        elif holder not in (None, parcel.sender):
            answer(refusal(record, "another sender commands the arm: end that first"))
        else:
            self._node.relay.ask(record, answer)

    def _server(self, kind: Request) -> Any:
        """Serves a request of somebody who has no link: a program of standard messages, a person at a terminal."""

        async def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if self._node.link is None:
                response.success, response.message = False, "the controller is not active"
                return response
            if self._node.gate.holder(time.monotonic_ns()) is not None:
                response.success, response.message = False, "somebody commands the arm: end that first"
                return response
            answered: Future[Any] = Future()

            def done(answer: Any) -> None:
                if kind == Request.RESEED and not answer["refused"]:
                    self._started_over(self._node.sender)
                answered.set_result(answer)

            self._node.relay.ask_for(kind, done)
            answer: Any = await answered
            response.success, response.message = not answer["refused"], words(answer)
            return response

        return serve

    def _started_over(self, sender: int) -> None:
        """A sender started the arm over: nothing that was asked for before is renewed, and no dead link is missed."""
        self._node.gate.drop()
        if self._node.link is not None:
            for source in self._node.beats.keep_link(sender):
                self._node.link.side.heartbeat(source, self._node.beats.oldest(source))
