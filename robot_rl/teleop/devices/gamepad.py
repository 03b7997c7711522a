"""A gamepad through Linux evdev: sticks move, a shoulder button is the dead-man."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from evdev import ecodes as e

from data.errors import UserError
from robot_rl.teleop.devices.base import Button, DeviceState
from robot_rl.teleop.devices.calibration import Calibration
from robot_rl.teleop.devices.events import EventReader
from robot_rl.teleop.devices.finding import open_events


def _buttons() -> dict[int, Button]:
    return {
        e.BTN_SOUTH: Button.GRIPPER_CLOSE,
        e.BTN_EAST: Button.GRIPPER_OPEN,
        e.BTN_START: Button.SUCCESS,
        e.BTN_SELECT: Button.DISCARD,
        e.BTN_WEST: Button.TAKEOVER,
        e.BTN_NORTH: Button.HAND_BACK,
    }


@dataclass(frozen=True)
class GamepadLayout:
    """Codes of the kernel's gamepad protocol (Documentation/input/gamepad.rst), as Xbox and PlayStation pads send them.

    On an Xbox pad BTN_WEST is the key Y and BTN_NORTH the key X: its driver has them so.
    """

    left_x: int = e.ABS_X
    left_y: int = e.ABS_Y
    right_x: int = e.ABS_RX
    right_y: int = e.ABS_RY
    hat_y: int = e.ABS_HAT0Y
    """The cross, up and down: faster and slower."""
    dead_man: int = e.BTN_TL
    """Left shoulder, to be held."""
    tilt: int = e.BTN_TR
    """Right shoulder: while it is held the left stick tilts instead of moving sideways."""
    buttons: dict[int, Button] = field(default_factory=_buttons)


class Gamepad:
    """Left stick: away and sideways; with `tilt` it tilts. Right stick: up and down, turn about the vertical."""

    name = "gamepad"

    def __init__(
        self, path: str = "", calibration: Calibration | None = None, layout: GamepadLayout | None = None
    ) -> None:
        """path: such as /dev/input/event5; "" takes the only gamepad that is there."""
        self.path, self.calibration, self.layout = path, calibration or Calibration(), layout or GamepadLayout()
        self._reader: EventReader | None = None
        self._hat = 0.0

    def open(self) -> None:
        """Takes the device. Raises UserError where there is none, or no right to it."""
        events = open_events(self.name, self.path)
        try:
            there = self.axes_of(events.name, events.capabilities())
        except UserError:
            events.close()
            raise
        self.attach(EventReader(events, there))

    def axes_of(self, name: str, capabilities: dict[int, Any]) -> list[int]:
        """Returns the codes of the axes to follow. Raises UserError for a pad without both sticks."""
        layout = self.layout
        sticks = [layout.left_x, layout.left_y, layout.right_x, layout.right_y]
        there = {code for code, _ in capabilities.get(e.EV_ABS, [])}
        if not there.issuperset(sticks):
            raise UserError(
                f"{name} does not report both sticks as the kernel's gamepad protocol has them (ABS_X, ABS_Y, ABS_RX, "
                "ABS_RY): switch it to that mode (often a switch X/D on the pad), or use another device"
            )
        return [code for code in (*sticks, layout.hat_y) if code in there]

    def attach(self, reader: EventReader) -> None:
        """Takes events from there."""
        self._reader, self._hat = reader, 0.0

    def poll(self, now_ns: int) -> DeviceState:
        """Takes in what has happened since the last call. Raises DeviceLost when the device is gone."""
        if self._reader is None:
            raise RuntimeError("the gamepad is not open")
        self._reader.read()
        return replace(self._state(self._reader), stamp_ns=now_ns)

    def _state(self, reader: EventReader) -> DeviceState:
        layout, at = self.layout, reader.absolute
        # sticks point right and down, the operator's axes away, to the left and up
        away, left = -at[layout.left_y], -at[layout.left_x]
        up, turn = -at[layout.right_y], -at[layout.right_x]
        if layout.tilt in reader.keys:
            # the tool's top follows the stick: away is a positive turn about the left axis
            raw = np.array([0.0, 0.0, up, -left, away, turn])
        else:
            raw = np.array([away, left, up, 0.0, 0.0, turn])
        pressed = [layout.buttons[code] for code in reader.went_down if code in layout.buttons]
        hat, self._hat = self._hat, at.get(layout.hat_y, 0.0)
        if self._hat != hat and abs(self._hat) > 0.5:
            pressed.append(Button.FASTER if self._hat < 0.0 else Button.SLOWER)
        held = layout.dead_man in reader.keys
        return DeviceState(0, self.calibration.shape(raw), held, tuple(pressed))

    def let_go(self) -> None:
        """Nothing is toggled here."""

    def close(self) -> None:
        """Gives the device back."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
