"""A person's device on a topic: sensor_msgs/Joy with the axes and buttons of robot_rl.teleop, from one node to others.

    axes      (6,) in [-1, 1], operator's frame (x away from the person, y left, z up), after calibration
    buttons   [dead-man held, then one count of presses for each Button, in their order]

Presses are counts since the sender's start, so that a lost message loses none.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
from sensor_msgs.msg import Joy

from data.errors import UserError
from robot_rl.teleop.devices.base import AXES, Button, Device, DeviceLost, DeviceState
from ros_nodes import qos
from ros_nodes.arm_messages import numbers
from ros_nodes.listener import Listener
from ros_nodes.wire import MalformedMessage

TOPIC = "teleop/joy"
RELEASED_S, LOST_S = 0.15, 1.0
"""Without a message for so long the dead-man counts as released; after the second, the device as gone [s]."""
_BUTTONS = tuple(Button)


class CrowdedDevice(DeviceLost):
    """Several nodes publish one device: nobody knows whose hand the arm would follow."""

    def __init__(self, topic: str) -> None:
        UserError.__init__(
            self,
            f"more than one node publishes {topic}: nobody knows whose hand counts, and the arm holds where it is; end "
            "all teleoperation nodes of this arm but one, then type the same command to go on",
        )


class JoySender:
    """Turns device states into messages."""

    def __init__(self) -> None:
        self._counts = [0] * len(_BUTTONS)

    def message(self, state: DeviceState, stamp: Any) -> Joy:
        """Returns a state as a message; its presses are counted."""
        for button in state.pressed:
            self._counts[_BUTTONS.index(button)] += 1
        joy = Joy()
        joy.header.stamp = stamp
        joy.axes = [float(value) for value in state.axes]
        joy.buttons = [int(state.held), *self._counts]
        return joy


class JoyDevice:
    """Implements robot_rl.teleop.devices.base.Device over that topic."""

    def __init__(self, namespace: str) -> None:
        self.name, self._namespace = f"teleoperation node in {namespace}", namespace
        self._lock = threading.Lock()
        self._state = DeviceState(0)
        self._counts: list[int] | None = None
        self._waiting: list[Button] = []
        self._let_go = False  # a press from before an episode counts again once it was let go
        self._listener: Listener | None = None
        self._crowded = False

    def open(self) -> None:
        """Subscribes and waits for a first message. Raises UserError where none comes."""
        self._listener = Listener("robot_rl_hand", self._namespace)
        self._subscription = self._listener.node.create_subscription(Joy, TOPIC, self._take, qos.states())
        self._listener.listen()
        deadline_s = time.monotonic() + 10.0
        while not self._state.stamp_ns:
            if time.monotonic() > deadline_s:
                self.close()
                if self._crowded:
                    raise CrowdedDevice(f"{self._namespace}/{TOPIC}")
                raise UserError(
                    f"no teleoperation node publishes {self._namespace}/{TOPIC}: start one (robot-rl up teleop), or "
                    "give a device of this terminal"
                )
            time.sleep(0.01)

    def poll(self, now_ns: int) -> DeviceState:
        """What came since the last look; nothing counts as held while several nodes publish.

        Raises DeviceLost after a second of silence, and CrowdedDevice after one of several publishers.
        """
        with self._lock:
            state, pressed, self._waiting = self._state, tuple(self._waiting), []
            crowded = self._crowded
        silence_s = (now_ns - state.stamp_ns) * 1e-9
        if silence_s > LOST_S or self._listener is None:
            raise CrowdedDevice(f"{self._namespace}/{TOPIC}") if crowded else DeviceLost(self.name)
        self._let_go = crowded or (self._let_go and state.held)
        if silence_s > RELEASED_S or self._let_go:
            state = replace(state, held=False, axes=np.zeros(len(AXES)))
        return replace(state, stamp_ns=now_ns, pressed=pressed)

    def let_go(self) -> None:
        """The dead-man has to be pressed anew: from here nobody knows whether it is a toggle."""
        self._let_go = True

    def close(self) -> None:
        """Unsubscribes; may be called twice."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _take(self, message: Joy) -> None:
        try:
            state, counts = read(message)
        except MalformedMessage:
            return
        with self._lock:
            self._crowded = self._subscription.get_publisher_count() > 1
            if self._crowded:  # whose message it is nobody can tell, nor whose presses it counts
                self._counts = None
                self._waiting.clear()
                return
            if self._counts is not None:
                for button, before, now in zip(_BUTTONS, self._counts, counts, strict=True):
                    self._waiting += [button] * min(max(now - before, 0), 3)
            self._counts, self._state = counts, state


def read(message: Joy) -> tuple[DeviceState, list[int]]:
    """Returns the state and the counts of presses. Raises MalformedMessage for other sizes or numbers."""
    axes = numbers(message.axes, len(AXES), "axes").clip(-1.0, 1.0)
    if len(message.buttons) != 1 + len(_BUTTONS):
        raise MalformedMessage(f"expected {1 + len(_BUTTONS)} buttons, got {len(message.buttons)}")
    held, *counts = (int(value) for value in message.buttons)
    return DeviceState(time.monotonic_ns(), axes, bool(held)), counts


def published(device: Device, publish: Any) -> Device:
    """Returns a device that shows whatever is read from it to `publish` as well."""
    return _Published(device, publish)


class _Published:
    """A device that is read here and followed elsewhere."""

    def __init__(self, device: Device, publish: Any) -> None:
        self.device, self.name, self._publish = device, device.name, publish

    def open(self) -> None:
        self.device.open()

    def poll(self, now_ns: int) -> DeviceState:
        state = self.device.poll(now_ns)
        self._publish(state)
        return state

    def let_go(self) -> None:
        self.device.let_go()

    def close(self) -> None:
        self.device.close()
