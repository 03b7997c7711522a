"""Which RealSense cameras are there, what they can do, and which one is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from controllers.cameras.base import CameraError, DeviceInfo
from controllers.cameras.config import CameraConfig
from controllers.cameras.library import load_realsense

Query = Callable[[], Iterable[Any]]
"""Returns the pyrealsense2 devices that are connected at this moment."""
_PLUG = "plug it into a USB 3 port"


@dataclass(frozen=True, order=True)
class Mode:
    """One size and rate of one stream."""

    stream: str
    width_px: int
    height_px: int
    rate_hz: int

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}@{self.rate_hz}"


def connected() -> Query:
    """Returns what asks the USB bus. Raises CameraError where the driver does not load."""
    context = load_realsense().context()
    return lambda: list(context.query_devices())


def info_of(device: Any, name: str = "") -> DeviceInfo:
    """Returns who a pyrealsense2 device is; `name` is ours for it."""
    known = load_realsense().camera_info

    def told(what: Any) -> str:
        return str(device.get_info(what)) if device.supports(what) else ""

    return DeviceInfo(
        name, told(known.name), told(known.serial_number), told(known.firmware_version), told(known.usb_type_descriptor)
    )


def find_device(query: Query, config: CameraConfig) -> Any:
    """Returns the one connected device with the serial number that is asked for.

    Raises CameraError where there is none, where others are there, and where two have that number.
    """
    devices = list(query())
    serials = [info_of(device).serial for device in devices]
    meant = [device for device, serial in zip(devices, serials, strict=True) if serial == config.serial]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise CameraError(
            f"camera {config.name}: {len(meant)} connected cameras have serial number {config.serial}: unplug all but "
            "the one that is meant"
        )
    if not devices:
        raise CameraError(
            f"camera {config.name}: no camera is connected, expected serial number {config.serial}: {_PLUG}, "
            "look at udev's rules for it, then `robot-rl cameras`"
        )
    raise CameraError(
        f"camera {config.name}: no camera with serial number {config.serial}, connected are {', '.join(serials)}: "
        f"{_PLUG}, or set source=serial:{serials[0]}"
    )


def modes_of(device: Any) -> list[Mode]:
    """Returns sizes and rates of a device's colour (RGB8) and depth (Z16) streams, each once, the smallest first."""
    found = {mode for sensor in device.query_sensors() for mode, _ in _profiles(sensor)}
    return sorted(found)


def choose_profiles(device: Any, config: CameraConfig) -> list[tuple[Any, list[Any]]]:
    """Returns (sensor, its stream profiles) to open for a configuration.

    Raises CameraError, naming what is offered, where the device does not have such a stream.
    """
    wanted = {"color", "depth"} if config.depth else {"color"}
    chosen: list[tuple[Any, list[Any]]] = []
    for sensor in device.query_sensors():
        fitting: dict[str, Any] = {}
        for mode, profile in _profiles(sensor):
            size_fits = (mode.width_px, mode.height_px) == (config.width_px, config.height_px)
            if mode.stream in wanted and size_fits and mode.rate_hz == config.rate_hz:
                fitting.setdefault(mode.stream, profile)
        wanted -= fitting.keys()
        if fitting:
            chosen.append((sensor, list(fitting.values())))
    if wanted:
        stream = min(wanted)
        offered = ", ".join(str(mode) for mode in modes_of(device) if mode.stream == stream) or "none at all"
        asked = f"{config.width_px}x{config.height_px}@{config.rate_hz:g}"
        raise CameraError(f"camera {config.name} has no {stream} of {asked}, it offers {offered}: choose one of these")
    return chosen


def _profiles(sensor: Any) -> Iterable[tuple[Mode, Any]]:
    """Yields what can be used of a sensor's video streams."""
    rs = load_realsense()
    usable = {(rs.stream.color, rs.format.rgb8): "color", (rs.stream.depth, rs.format.z16): "depth"}
    for profile in sensor.get_stream_profiles():
        name = usable.get((profile.stream_type(), profile.format()))
        if name is not None:
            video = profile.as_video_stream_profile()
            yield Mode(name, video.width(), video.height(), profile.fps()), video
