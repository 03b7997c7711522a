"""A device with few buttons, helped out by the terminal's keys: success, discard, takeover and hand-back."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from robot_rl.teleop.devices.base import Device, DeviceState
from robot_rl.teleop.devices.keyboard import Keyboard


class WithTerminalKeys:
    """Axes and dead-man of a device; presses of the device and of the keyboard. Keys that move are without effect."""

    def __init__(self, device: Device, keyboard: Keyboard) -> None:
        self.device, self.keyboard, self.name = device, keyboard, device.name

    def open(self) -> None:
        """Takes both; the terminal is left alone if the device cannot be had."""
        self.device.open()
        self.keyboard.open()

    def poll(self, now_ns: int) -> DeviceState:
        """Takes in what has happened to either. Raises DeviceLost when one of them is gone."""
        state = self.device.poll(now_ns)
        return replace(state, pressed=(*state.pressed, *self.keyboard.poll(now_ns).pressed))

    def let_go(self) -> None:
        """As the device."""
        self.device.let_go()

    def close(self) -> None:
        """Gives both back."""
        self.keyboard.close()
        self.device.close()


def with_keys(device: Device) -> Device:
    """Returns the device with the keys of standard input, where that is a terminal and not the device itself."""
    closed = sys.stdin is None or sys.stdin.closed
    if isinstance(device, Keyboard) or closed or not os.isatty(sys.stdin.fileno()):
        return device
    return WithTerminalKeys(device, Keyboard())
