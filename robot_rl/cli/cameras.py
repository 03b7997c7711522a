"""`robot-rl cameras`: which RealSense cameras are connected, and what they can do."""

from __future__ import annotations

from typing import Any

from controllers.cameras.devices import Query, connected, info_of, modes_of
from robot_rl.config_cameras import CamerasConfig


def run(config: CamerasConfig, query: Query | None = None) -> dict[str, Any]:
    """Prints a camera a block and returns them; `ok` is false if the one asked for is not there, or there twice.

    query: where devices are looked for, the USB bus by default. Raises UserError where the driver does not load.
    """
    cameras = [_described(device) for device in (query or connected())()]
    for camera in cameras:
        print(f"{camera['serial']}  {camera['name']}, firmware {camera['firmware'] or '-'}, USB {camera['usb'] or '-'}")
        for stream, modes in camera["modes"].items():
            print(f"  {stream:<5}  {', '.join(modes)}")
    found = [camera for camera in cameras if camera["serial"] == config.serial]
    print(_conclusion(config.serial, len(found), len(cameras)))
    return {"ok": config.serial is None or len(found) == 1, "cameras": cameras}


def _described(device: Any) -> dict[str, Any]:
    info = info_of(device)
    modes: dict[str, list[str]] = {}
    for mode in modes_of(device):
        modes.setdefault(mode.stream, []).append(str(mode))
    return {
        "name": info.product,
        "serial": info.serial,
        "firmware": info.firmware,
        "usb": info.usb,
        "modes": modes,
    }


def _conclusion(serial: str | None, found: int, there: int) -> str:
    if serial is None:
        return f"{there} connected" if there else "no camera is connected: plug one into a USB 3 port"
    if found == 1:
        return f"{serial} is connected"
    if found:
        return f"{found} cameras have serial number {serial}: unplug all but the one that is meant"
    return f"{serial} is not connected: plug it into a USB 3 port, and look at udev's rules for it"
