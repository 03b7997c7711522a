"""What the commands about cameras can be told: one dataclass a command, one sentence a field."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.options import Config, option


@dataclass
class CamerasConfig(Config):
    """List the RealSense cameras that are connected, with their sizes and rates."""

    serial: str | None = option(None, "Serial number of a camera that must be there; exit status 1 if it is not.")


@dataclass
class BenchCameraConfig(Config):
    """Measure the camera driver through librealsense's software device: latency, rate, lost frames."""

    seconds: float = option(60.0, "Length of the measurement.", unit="s", low=1.0)
    width_px: int = option(640, "Width of the picture.", unit="px", low=8, high=4096)
    height_px: int = option(480, "Height of the picture.", unit="px", low=8, high=4096)
    rate_hz: float = option(30.0, "Frames a second.", unit="Hz", low=1.0, high=120.0)
    depth: bool = option(False, "With depth, drawn into the colour picture's pixels.")
