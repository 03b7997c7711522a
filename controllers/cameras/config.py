"""Settings of one camera, checked at construction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError

SOURCES = "serial:<number>, file:<path>, software, mujoco"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,49}")


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """One camera. Raises UserError, naming the field, what came and what was expected."""

    name: str
    """Name of the camera, as the task's scene calls it; letters, digits, '_' and '-'."""
    source: str = "software"
    """Where frames come from: `serial:<number>` is a RealSense, `file:<path>` a recording of one (.db3), `software` a
    test pattern through librealsense's software device, `mujoco` the simulated scene."""
    width_px: int = 640
    """Width of the picture that the camera is asked for [px], 1..8192."""
    height_px: int = 480
    """Height of that picture [px], 1..8192."""
    rate_hz: float = 30.0
    """Frames a second that the camera is asked for [Hz], 1..300."""
    depth: bool = False
    """Whether depth is wanted as well, at the same size and rate."""
    align: bool = True
    """Whether depth is drawn into the colour picture's pixels (about 3 ms a frame at 640x480)."""
    depth_unit_m: float = 0.001
    """Length of one unit of depth [m], 1e-6..0.01."""
    exposure_ms: float | None = None
    """Exposure of the colour picture [ms], above 0 and at most 1000; None: the camera chooses."""
    delay_s: float = 0.0
    """Time from exposure to arrival of the quickest frame, as a calibration found it [s], 0..0.2; stamps are earlier by
    as much. 0 where nobody measured it: stamps are then late by that time, for a USB camera by 20 to 60 ms."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(f"a camera's name must be letters, digits, '_' or '-', got {self.name!r}; rename it")
        self._check_source()
        self._check("width_px", 1, 8192, "px")
        self._check("height_px", 1, 8192, "px")
        self._check("rate_hz", 1.0, 300.0, "Hz")
        self._check("depth_unit_m", 1e-6, 0.01, "m")
        self._check("delay_s", 0.0, 0.2, "s")
        if self.exposure_ms is not None and not 0.0 < self.exposure_ms <= 1000.0:
            raise UserError(
                f"camera {self.name}: exposure_ms must be above 0 and at most 1000 ms, got {self.exposure_ms}; "
                "leave it out for automatic exposure"
            )

    def _check(self, field: str, low: float, high: float, unit: str) -> None:
        value = getattr(self, field)
        if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
            raise UserError(f"camera {self.name}: {field} must be {low:g}..{high:g} {unit}, got {value}")

    def _check_source(self) -> None:
        kind, _, value = self.source.partition(":")
        if kind in ("serial", "file") and value:
            return
        if self.source not in ("software", "mujoco"):
            raise UserError(f"camera {self.name}: source must be one of {SOURCES}, got {self.source!r}")

    @property
    def kind(self) -> str:
        """The first word of the source."""
        return self.source.partition(":")[0]

    @property
    def serial(self) -> str | None:
        """The serial number asked for; None for another source."""
        return self.source.partition(":")[2] if self.kind == "serial" else None

    @property
    def file(self) -> Path | None:
        """The recording asked for; None for another source."""
        return Path(self.source.partition(":")[2]).expanduser() if self.kind == "file" else None

    @property
    def period_s(self) -> float:
        """Time between two frames [s]."""
        return 1.0 / self.rate_hz


def require_different(configs: Iterable[CameraConfig]) -> None:
    """Raises UserError where two cameras share a name, or one device is asked for under two names."""
    names: set[str] = set()
    serials: dict[str, str] = {}
    for config in configs:
        if config.name in names:
            raise UserError(f"two cameras are named {config.name}: give each a name of its own")
        names.add(config.name)
        serial = config.serial
        if serial is not None and serial in serials:
            raise UserError(
                f"cameras {serials[serial]} and {config.name} both ask for serial {serial}: one device serves one of "
                "them; `robot-rl cameras` lists the serial numbers"
            )
        if serial is not None:
            serials[serial] = config.name
