"""What all nodes of this package share: lifecycle, parameters from a dataclass, diagnostics, one line where it ends.

    unconfigured -> configure -> inactive -> activate -> active      (and back: deactivate, clean up)

A node with `autostart` configures and activates itself; without, the transitions come from outside (launch, a lifecycle
manager, `ros2 lifecycle set`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn

from data.errors import UserError
from robot_rl.options import Config
from ros_nodes import parameters
from ros_nodes.diagnostics import Diagnostics

C = TypeVar("C", bound=Config)
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""Of all timers: rclpy's default follows the wall clock, which an hour's step back would stop for an hour."""


class ManagedNode(LifecycleNode, Generic[C]):
    """A lifecycle node with one configuration class. Subclasses fill in `setup`, `start`, `halt` and `teardown`.

    Each of these may raise UserError: the transition fails, and the line is logged and kept as `problem`.
    """

    config_class: ClassVar[type[Config]]
    _in_setup = False  # rclpy's own constructor makes publishers and services as well

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.declare_parameter("autostart", True)
        parameters.declare(self, self.config_class)
        self.config: C
        self.active = False
        self.failure: str | None = None
        """Why the node cannot go on: its program ends with this line and status 1."""
        self.problem: str | None = None
        """Why the last transition failed."""
        self.diagnostics = Diagnostics(self)
        self._kept: list[tuple[Callable[[Any], Any], Any]] = []  # (how to take it away, what)
        parameters.lock(self, self.config_class, lambda: self.active, self.changed)  # type: ignore[arg-type]

    def create_timer(self, timer_period_sec: float, callback: Any, *arguments: Any, **options: Any) -> Any:
        """As rclpy's, on a clock that nobody sets."""
        options.setdefault("clock", STEADY)
        timer = super().create_timer(timer_period_sec, callback, *arguments, **options)
        return self._keep(self.destroy_timer, timer)

    def create_publisher(self, *arguments: Any, **options: Any) -> Any:
        """As rclpy's."""
        return self._keep(self.destroy_publisher, super().create_publisher(*arguments, **options))

    def create_subscription(self, *arguments: Any, **options: Any) -> Any:
        """As rclpy's."""
        return self._keep(self.destroy_subscription, super().create_subscription(*arguments, **options))

    def create_service(self, *arguments: Any, **options: Any) -> Any:
        """As rclpy's."""
        return self._keep(self.destroy_service, super().create_service(*arguments, **options))

    def _keep(self, take_away: Callable[[Any], Any], what: Any) -> Any:
        """What `setup` makes goes with the cleanup: else a node that is configured again would have it twice."""
        if self._in_setup:
            self._kept.append((take_away, what))
        return what

    # For subclasses

    def setup(self) -> None:
        """Checks the configuration, makes what moves nothing.

        Topics, services, timers and diagnostics made here are taken away after `teardown`.
        """

    def start(self) -> None:
        """Begins to work; what is made here, `halt` takes away."""

    def halt(self) -> None:
        """Ends what `start` began."""

    def teardown(self) -> None:
        """Lets go of what else `setup` made."""

    def changed(self, config: C) -> None:
        """Parameters that may change while the node is active did."""
        self.config = config

    # Lifecycle

    def begin(self) -> None:
        """Configures and activates the node if it has `autostart`. Raises UserError where that fails."""
        if not self.get_parameter("autostart").value:
            return
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise UserError(self.problem or "the node could not start")

    def end(self) -> None:
        """Halts and lets go, whatever state the node is in; may be called twice."""
        if self.active:
            self.active = False
            self.halt()
        self._clean_up()

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Reads the parameters and calls `setup`."""

        def configure() -> None:
            self.config = parameters.read(self, self.config_class)  # type: ignore[assignment]
            self._in_setup = True
            self.diagnostics.mark()
            try:
                self.setup()
            except BaseException:
                self._take_away()
                raise
            finally:
                self._in_setup = False

        return self._try(configure)

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Calls `start`."""
        result = self._try(self.start)
        self.active = result == TransitionCallbackReturn.SUCCESS
        if self.active:
            super().on_activate(state)
            self.get_logger().info("node is active")  # robot_rl.bringup waits for these words
        return result

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Calls `halt`."""
        self.active = False
        super().on_deactivate(state)
        return self._try(self.halt)

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Calls `teardown`."""
        return self._try(self._clean_up)

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Calls `halt`, if need be, and `teardown`."""
        return self._try(self.end)

    def _clean_up(self) -> None:
        try:
            self.teardown()
        finally:
            self._take_away()

    def _take_away(self) -> None:
        while self._kept:
            take_away, what = self._kept.pop()
            take_away(what)
        self.diagnostics.forget()

    def _try(self, work: Any) -> TransitionCallbackReturn:
        try:
            work()
        except (UserError, ValueError) as error:
            self.problem = " ".join(str(error).split())
            self.get_logger().error(self.problem)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS
