"""A 3Dconnexion SpaceMouse through Linux evdev: push and twist the cap, hold the left button.

The kernel's own HID driver offers it as an input device, so that no further library and no access to raw HID is needed.
By model and kernel its axes are relative or absolute. A relative one is sent while the cap is deflected and not at all
at rest: what was not repeated for REST_S counts as let go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from evdev import ecodes as e

from robot_rl.teleop.devices.base import Array, Button, DeviceState
from robot_rl.teleop.devices.calibration import Calibration
from robot_rl.teleop.devices.events import EventReader
from robot_rl.teleop.devices.finding import open_events

REST_S = 0.1
"""A relative axis that was silent for this long is at rest [s]; a deflected one speaks every 8 to 16 ms."""
FULL = 350.0
"""Value of a relative axis at full deflection."""
_RELATIVE = (e.REL_X, e.REL_Y, e.REL_Z, e.REL_RX, e.REL_RY, e.REL_RZ)
_ABSOLUTE = (e.ABS_X, e.ABS_Y, e.ABS_Z, e.ABS_RX, e.ABS_RY, e.ABS_RZ)
_OPERATOR_FROM_DEVICE = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""The device's axes point right, towards the person and down; a rotation matrix, so it serves turns as well."""


@dataclass(frozen=True)
class SpaceMouseLayout:
    """Codes of the buttons. A model with two has no others; the terminal's keys serve what is missing."""

    dead_man: int = e.BTN_0
    """Left button, to be held."""
    gripper: int = e.BTN_1
    """Right button: closes and opens in turn."""
    buttons: dict[int, Button] = field(default_factory=dict)
    """Further buttons of larger models."""


class SpaceMouse:
    """Six axes; the dead-man is the left button."""

    name = "spacemouse"

    def __init__(
        self, path: str = "", calibration: Calibration | None = None, layout: SpaceMouseLayout | None = None
    ) -> None:
        """path: such as /dev/input/event5; "" takes the only SpaceMouse that is there."""
        self.path, self.calibration, self.layout = path, calibration or Calibration(), layout or SpaceMouseLayout()
        self._reader: EventReader | None = None
        self._last = np.zeros(6)
        self._last_ns = np.zeros(6, np.int64)
        self._closed = False

    def open(self) -> None:
        """Takes the device. Raises UserError where there is none, or no right to it."""
        events = open_events(self.name, self.path)
        there = {code for code, _ in events.capabilities().get(e.EV_ABS, [])}
        self.attach(EventReader(events, [code for code in _ABSOLUTE if code in there]))

    def attach(self, reader: EventReader) -> None:
        """Takes events from there."""
        self._reader, self._closed = reader, False
        self._last, self._last_ns = np.zeros(6), np.zeros(6, np.int64)

    def poll(self, now_ns: int) -> DeviceState:
        """Takes in what has happened since the last call. Raises DeviceLost when the device is gone."""
        reader = self._reader
        if reader is None:
            raise RuntimeError("the SpaceMouse is not open")
        reader.read()
        raw = np.array([reader.absolute.get(code, 0.0) for code in _ABSOLUTE]) + self._deflection(reader, now_ns)
        rotated = np.concatenate([_OPERATOR_FROM_DEVICE @ raw[:3], _OPERATOR_FROM_DEVICE @ raw[3:]])
        pressed = tuple(button for code in reader.went_down if (button := self._meaning(code)) is not None)
        return DeviceState(now_ns, self.calibration.shape(rotated), self.layout.dead_man in reader.keys, pressed)

    def _deflection(self, reader: EventReader, now_ns: int) -> Array:
        """Deflection (6,) told by relative events, device axes."""
        for code, value in reader.relative:
            if code in _RELATIVE:
                index = _RELATIVE.index(code)
                self._last[index], self._last_ns[index] = value / FULL, now_ns
        self._last[now_ns - self._last_ns > REST_S * 1e9] = 0.0
        return self._last.copy()

    def _meaning(self, code: int) -> Button | None:
        if code == self.layout.gripper:
            self._closed = not self._closed
            return Button.GRIPPER_CLOSE if self._closed else Button.GRIPPER_OPEN
        return self.layout.buttons.get(code)

    def let_go(self) -> None:
        """Nothing is toggled here."""

    def close(self) -> None:
        """Gives the device back."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
