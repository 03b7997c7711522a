"""A person at a device while the arm runs: looked at all the time, not only between two decisions.

A decision may last a second; a dead-man that is let go must count within a fraction of that. `AttendedLink` therefore
stands between environment and motor link, runs each step in pieces of LOOK_S, and looks at the device before each:

- dead-man held while the person has the arm: a heartbeat, so that the supervisor holds the arm within 0.25 s if this
  program or the device driver stalls;
- let go: the target goes to the measured pose at once, and the heartbeat is taken off the watch, since the release was
  *seen* and answered (a hold that the supervisor asks for latches after 5 s, and a person may rest longer than that);
- the policy has the arm and a person grabs it: the target goes to the measured pose at once, the person acts from the
  next decision on;
- device gone: the target goes to the measured pose, then DeviceLost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from controllers.link import MotorLink
from controllers.types import Command, TickReport
from robot_rl.teleop.devices.base import AXES, Button, Device, DeviceLost, DeviceState
from robot_rl.teleop.mapping import Mapping
from safety.reflex import Mode
from safety.supervision import Heartbeat

LOOK_S = 0.02
"""Time between two looks at the device while the arm moves [s]."""
_LEAST_S = 0.001
_NEVER_NS = -(2**62)


@runtime_checkable
class HeartbeatLink(MotorLink, Protocol):
    """A motor link that passes signs of life on to the supervisor."""

    def heartbeat(self, source: Heartbeat, in_use: bool = True) -> None:
        """A sign of life of a source; in_use false: it is watched no longer."""


class Session:
    """A device, what has come from it, and who has the arm; presses wait until somebody asks for them."""

    def __init__(self, device: Device, mapping: Mapping, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.device, self.mapping, self._clock_ns = device, mapping, clock_ns
        self.state = DeviceState(0)
        """What the device said last; `pressed` of it has been taken out."""
        self.in_charge = False
        """Whether the person has the arm."""
        self.moved_ns = _NEVER_NS
        """When the stick was last moved with the dead-man held, while the person might have the arm."""
        self.grabbed = False
        """Whether the person grabbed the arm from a policy in the midst of a decision."""
        self._may_grab = False
        self._waiting: list[Button] = []

    def look(self) -> DeviceState:
        """Takes in what the device says now. Raises DeviceLost when it is gone; nothing counts as held then."""
        try:
            found = self.device.poll(self._clock_ns())
        except DeviceLost:
            self.state = DeviceState(self._clock_ns())
            raise
        self._waiting += [button for button in found.pressed if not self.mapping.press(button)]
        self.state = replace(found, pressed=())
        if found.held and found.moving and (self.in_charge or self._may_grab):
            self.moved_ns = found.stamp_ns
        wished = found.held and found.moving
        if self._may_grab and not self.in_charge and (wished or Button.TAKEOVER in self._waiting):
            self.in_charge = self.grabbed = True
        return self.state

    def take_charge(self) -> None:
        """The person has the arm."""
        self.in_charge, self.grabbed = True, False

    def release(self, may_grab: bool = False) -> None:
        """Somebody else has the arm: a policy, from which it may be grabbed, or the reset."""
        self.in_charge = self.grabbed = False
        self._may_grab, self.moved_ns = may_grab, _NEVER_NS

    def take(self, *wanted: Button) -> Button | None:
        """Returns the last of these buttons that was pressed since they were last asked for, and forgets them."""
        found = [button for button in self._waiting if button in wanted]
        self._waiting = [button for button in self._waiting if button not in wanted]
        return found[-1] if found else None

    def begin(self) -> None:
        """An episode begins: what was pressed or toggled before, such as during a reset, no longer counts."""
        self.look()
        self._waiting.clear()
        self.device.let_go()
        self.state = replace(self.state, held=False, axes=np.zeros(len(AXES)))


class AttendedLink:
    """The motor link of an arm that a person may move: a MotorLink."""

    def __init__(self, link: HeartbeatLink, session: Session) -> None:
        self.link, self.session = link, session
        self._sent: Command | None = None
        self._end_ns = 0
        self._beating = self._taken = False

    def reset(self) -> None:
        """As the link; the last command no longer counts."""
        self._sent, self._taken = None, False
        self.link.reset()

    def grant(self) -> float:
        """As the link."""
        return self.link.grant()

    def send(self, command: Command) -> None:
        """As the link."""
        self._sent = command
        self.link.send(command)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """Lets the arm run for duration_s, looking at the device meanwhile; returns the REPORT records (n,).

        Calls in a row keep the cadence that the motor link keeps: the time spent thinking between two counts.
        Raises DeviceLost when the device is gone, after the arm was told to stay where it is.
        """
        now_ns, duration_ns = self.link.now_ns(), round(duration_s * 1e9)
        begin_ns = now_ns if now_ns - self._end_ns > duration_ns // 2 else self._end_ns
        self._end_ns = begin_ns + duration_ns
        taken, parts, left_s = self._taken, list[NDArray[Any]](), duration_s
        while not parts or left_s > 0.5 * _LEAST_S:
            self._look()
            parts.append(self.link.step(min(LOOK_S, max(left_s, _LEAST_S)), interruptible))
            self._taken = bool(parts[-1]["mode"][-1] >= Mode.REFLEX)
            if interruptible and self._taken != taken:
                self._end_ns = self.link.now_ns()
                break
            left_s = (self._end_ns - self.link.now_ns()) * 1e-9
        return np.concatenate(parts)

    def _look(self) -> None:
        session = self.session
        was_held, had_arm = session.state.held, session.in_charge
        try:
            held = session.look().held
        except DeviceLost:
            self.stay()
            self._watch(False)
            raise
        let_go = had_arm and was_held and not held
        if let_go or session.in_charge > had_arm:
            self.stay()
        self._watch(held and session.in_charge)

    def _watch(self, beating: bool) -> None:
        """Gives a heartbeat, or tells once that none will follow."""
        if beating or self._beating:
            self.link.heartbeat(Heartbeat.OPERATOR, in_use=beating)
        self._beating = beating

    def stay(self) -> None:
        """Sends the measured pose as the target, with stiffness and gripper of the last command."""
        if self._sent is None:
            return
        report = self.link.latest()
        here = replace(
            self._sent,
            position_base_m=report.position_base_m,
            quaternion_base_xyzw=report.quaternion_base_xyzw,
            feedforward_wrench_base=np.zeros(6),
        )
        self.send(here)

    def latest(self) -> TickReport:
        """As the link."""
        return self.link.latest()

    def now_ns(self) -> int:
        """As the link."""
        return self.link.now_ns()

    def close(self) -> None:
        """As the link; the device is closed as well."""
        self.session.device.close()
        self.link.close()
