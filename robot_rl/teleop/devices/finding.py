"""Which input devices are there, which may be read, and the device of a name."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError

if TYPE_CHECKING:
    from robot_rl.teleop.devices.base import Device
    from robot_rl.teleop.devices.calibration import Calibration

DEVICES = ("gamepad", "spacemouse", "keyboard", "ros")
"""Names of what a person can hold; `ros`: whatever a teleoperation node publishes."""
FOLDER = Path("/dev/input")
INSTALL = "pip install -c constraints.txt -e '.[teleop]'"
RIGHTS = "add yourself to the group input (sudo usermod -aG input $USER) and log in again"
_MAKERS_OF_SPACEMICE = (0x256F, 0x046D)
"""USB vendors: 3Dconnexion, and Logitech, under which older models run."""


@dataclass(frozen=True)
class Found:
    """An input device."""

    path: str
    name: str
    kind: str
    """gamepad, spacemouse, or "" for any other."""


def make_device(name: str, path: str = "", calibration: Calibration | None = None) -> Device:
    """Returns a device, not yet opened. Raises UserError for an unknown name, or where the library evdev is missing."""
    if name == "keyboard":
        from robot_rl.teleop.devices.keyboard import Keyboard

        return Keyboard(calibration=calibration)
    if name == "ros":
        return _over_topics(path)
    if name not in DEVICES:
        raise UserError(f"unknown device {name}; expected one of: {', '.join(DEVICES)}")
    require_evdev(name)
    from robot_rl.teleop.devices.gamepad import Gamepad
    from robot_rl.teleop.devices.spacemouse import SpaceMouse

    return (Gamepad if name == "gamepad" else SpaceMouse)(path, calibration)


def _over_topics(namespace: str) -> Device:
    """The device of a teleoperation node. That room comes after this one: it is looked up by name, as a plug-in is."""
    try:
        joy = import_module("ros_nodes.joy")
    except ImportError as error:
        cure = "install the extra [ros], or source the distribution on a robot PC"
        raise UserError(f"device ros needs ROS 2, which cannot be imported ({error}): {cure}") from error
    device: Device = joy.JoyDevice(namespace or "arm")
    return device


def require_evdev(name: str) -> None:
    """Raises UserError where the library that reads input devices is not installed."""
    try:
        import evdev  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise UserError(f"a {name} is read with the library evdev, which is not installed: {INSTALL}") from error


def open_events(kind: str, path: str) -> Any:
    """Returns the open evdev.InputDevice at `path`, or the only one of this kind.

    Raises UserError in one sentence: which devices were found, and what to do.
    """
    from evdev import InputDevice

    if not path:
        path = _only_one(kind, *look_around())
    try:
        return InputDevice(path)
    except PermissionError as error:
        raise UserError(f"no right to read {path}: {RIGHTS}") from error
    except OSError as error:
        raise UserError(
            f"cannot read an input device at {path} ({error.strerror or error}): give another one"
        ) from error


def look_around(folder: Path = FOLDER) -> tuple[list[Found], list[str]]:
    """Returns the input devices that may be read, and the paths of those that may not."""
    from evdev import InputDevice

    found, closed = [], []
    paths = sorted(folder.glob("event*"), key=lambda path: (len(path.name), path.name)) if folder.is_dir() else []
    for path in paths:
        if not stat.S_ISCHR(path.stat().st_mode):
            continue
        if not os.access(path, os.R_OK):
            closed.append(str(path))
            continue
        try:
            device = InputDevice(str(path))
        except OSError:  # it went while we looked
            continue
        found.append(Found(str(path), device.name, kind_of(device.info.vendor, device.name, device.capabilities())))
        device.close()
    return found, closed


def kind_of(vendor: int, name: str, capabilities: dict[int, Any]) -> str:
    """Returns gamepad, spacemouse or "" by what a device says of itself."""
    from evdev import ecodes

    space = any(word in name.lower() for word in ("spacemouse", "spacenavigator", "space navigator", "spaceball"))
    if space or (vendor == _MAKERS_OF_SPACEMICE[0] and ecodes.REL_RX in capabilities.get(ecodes.EV_REL, [])):
        return "spacemouse"
    return "gamepad" if ecodes.BTN_GAMEPAD in capabilities.get(ecodes.EV_KEY, []) else ""


def _only_one(kind: str, found: Sequence[Found], closed: Sequence[str]) -> str:
    fitting = [device for device in found if device.kind == kind]
    if len(fitting) == 1:
        return fitting[0].path
    if fitting:
        listed = ", ".join(f"{device.path} ({device.name})" for device in fitting)
        raise UserError(f"found {len(fitting)} devices of the kind {kind}: {listed}; give teleop_config.device=<path>")
    listed = ", ".join(f"{device.path} ({device.name})" for device in found) or "no readable input device"
    if closed:
        cure = f"{len(closed)} more may not be read: {RIGHTS}"
    else:
        cure = "connect it, switch it on, or use the keyboard instead"
    raise UserError(f"no {kind} found, but {listed}: {cure}")
