"""A person's buttons behind services: arm, hold, stop, release, reset, and a topic for a physical stop button.

The node sits at the buttons of one motor process for good. From its first sign of life on the motor process holds the
arm where the next one is missing for 0.25 s, however this process ended. Software on a PC is no safety function.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.task import Future
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from controllers.person import Seen
from ros_nodes import qos
from ros_nodes.attendant import BEAT_S, Attendant, Told
from ros_nodes.config_supervisor import SupervisorNodeConfig
from ros_nodes.diagnostics import ERROR, OK, STALE, WARN, Saying
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.spinning import run_node
from ros_nodes.stop_sources import ButtonWatch, Edge, Source, StopSources
from safety.supervision import SupervisorState, reason_name

_TURN_S, _TELL_S, _HUNG_S = 0.02, 1.0, 1.0
_INACTIVE = "refused: the supervisor is not active"


class SupervisorNode(ManagedNode[SupervisorNodeConfig]):
    """Services and topics of one arm's buttons, under the node's namespace. See docs/safety-supervisor.md."""

    config_class = SupervisorNodeConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor", **options)
        self.attendant: Attendant | None = None
        self._resets: list[tuple[Future[None], list[Told], threading.Thread]] = []
        self._told: tuple[Any, ...] | None = None
        self._beats = self.diagnostics.watch("signs of life", expected_hz=1.0 / BEAT_S, stale_s=0.1)
        self.diagnostics.say(self._say_seat)

    # Lifecycle

    def setup(self) -> None:
        """Makes services and topics; nobody sits at the buttons yet."""
        self.motor = self.config.motor_name(self.get_namespace())
        self._stop_topic = self.resolve_topic_name("stop")
        self._state = self.create_publisher(DiagnosticStatus, "supervisor_state", qos.latched())
        self.create_subscription(Bool, "stop", self._take_button, qos.latched())
        for name in ("arm", "hold", "stop", "release"):
            self.create_service(Trigger, f"~/{name}", self._server(getattr(self, f"_{name}")))
        self.create_service(Trigger, "~/reset", self._serve_reset)

    def start(self) -> None:
        """Takes the seat as soon as there is a motor process."""
        config = self.config
        self._sources, self._button = StopSources(), ButtonWatch(config.button_required, config.button_silence_s)
        self._turned_s, self._told_s, self._told = time.monotonic(), 0.0, None
        self.attendant = Attendant(
            self.motor,
            config.holds_at_start or config.button_required,
            config.press_s,
            lambda: time.monotonic() - self._turned_s < _HUNG_S,
            self._beats.tick,
        )
        self.attendant.start()
        self._timer = self.create_timer(_TURN_S, self._turn)
        self.get_logger().info(f"sits at the buttons of motor process {self.motor!r}")

    def halt(self) -> None:
        """Leaves the seat in order."""
        self.destroy_timer(self._timer)
        attendant, self.attendant = self.attendant, None
        if attendant is not None:
            attendant.leave()
        for _, _, thread in self._resets:
            thread.join()
        self._answer_resets()

    # Services

    def _server(self, work: Any) -> Any:
        def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            attendant = self.attendant
            response.success, response.message = (False, _INACTIVE) if attendant is None else work(attendant)
            self.get_logger().info(f"{work.__name__.strip('_')}: {response.message}")
            return response

        return serve

    def _arm(self, attendant: Attendant) -> Told:
        if self._button.awaited:
            return False, "refused: the node of the stop button was not heard yet, see button_required"
        return attendant.arm()

    def _hold(self, attendant: Attendant) -> Told:
        return attendant.hold()

    def _stop(self, attendant: Attendant) -> Told:
        self._sources.level(Source.SERVICE, True)
        return attendant.press_stop()  # each call is a press of its own

    def _release(self, attendant: Attendant) -> Told:
        self._sources.level(Source.SERVICE, False)
        if self._sources.words:
            return False, f"refused: {self._sources.words} still presses"
        return attendant.release_stop()

    async def _serve_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Presses the button in a thread of its own: for as long as that takes, everything else goes on."""
        attendant = self.attendant
        if attendant is None:
            response.success, response.message = False, _INACTIVE
            return response
        told: list[Told] = []
        answer: Future[None] = Future()
        thread = threading.Thread(target=lambda: told.append(attendant.reset()), name="reset", daemon=True)
        self._resets.append((answer, told, thread))
        thread.start()
        await answer
        response.success, response.message = told[0]
        self.get_logger().info(f"reset: {response.message}")
        return response

    # The stop button's topic

    def _take_button(self, message: Bool) -> None:
        if self.attendant is None:
            return
        self._button.hear(time.monotonic())
        if not message.data and self.count_publishers(self._stop_topic) > 1:
            return  # a level of several senders: each may press, nobody knows whether all have let go
        self._follow(Source.BUTTON, message.data)

    def _follow(self, source: Source, pressed: bool) -> None:
        edge = self._sources.level(source, pressed)
        if self.attendant is None or edge is Edge.NONE:
            return
        told = self.attendant.press_stop() if edge is Edge.PRESS else self.attendant.release_stop()
        self.get_logger().warning(f"{source.value}: {told[1]}")

    # Every turn

    def _turn(self) -> None:
        self._turned_s = now_s = time.monotonic()
        self._answer_resets()
        if self.config.button_required:
            self._follow(Source.ABSENCE, self._button.absent(now_s, self.count_publishers(self._stop_topic)))
        if self.attendant is not None:
            self._tell(self.attendant, now_s)

    def _answer_resets(self) -> None:
        done = [entry for entry in self._resets if entry[1]]
        self._resets = [entry for entry in self._resets if not entry[1]]
        for answer, _, _ in done:
            answer.set_result(None)

    def _tell(self, attendant: Attendant, now_s: float) -> None:
        seen, seated, pressed_by = attendant.seen(), attendant.seated, self._sources.words
        news = (seen, seated, pressed_by, attendant.absence)
        if news != self._told or now_s - self._told_s > _TELL_S:
            self._told, self._told_s = news, now_s
            self._state.publish(self._message(attendant, seen))

    def _message(self, attendant: Attendant, seen: Seen | None) -> DiagnosticStatus:
        """The motor process's supervisor: its state as name, the reason of a latch or hold, who presses."""
        if seen is None:
            return DiagnosticStatus(
                level=STALE, name="NO_MOTOR_PROCESS", message=attendant.absence, hardware_id=self.motor
            )
        reason = seen.latch_reason or seen.hold_reason
        level = ERROR if seen.latch_reason or not attendant.seated else WARN if seen.hold_reason else OK
        values = {
            "seated": attendant.seated,
            "pressed_by": self._sources.words,
            "trips": seen.trips,
            "recoveries_left": seen.recoveries_left,
        }
        return DiagnosticStatus(
            level=level,
            name=SupervisorState(seen.state).name,
            message=reason_name(reason) if reason else "",
            hardware_id=self.motor,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _say_seat(self) -> Saying:
        attendant = self.attendant
        if attendant is None:
            return "seat", OK, "not active", {}
        if not attendant.seated:
            return "seat", WARN, attendant.absence, {}
        pressed_by = self._sources.words
        return "seat", ERROR if pressed_by else OK, f"pressed by {pressed_by}" if pressed_by else "at the buttons", {}


def main() -> int:
    """`python -m ros_nodes.supervisor_node --ros-args -r __ns:=/arm`."""
    return run_node(SupervisorNode)


if __name__ == "__main__":
    sys.exit(main())
