"""What a camera is to the rest of the stack: three verbs and a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError


class CameraError(UserError):
    """A camera does not do what was asked of it: one sentence with the cure."""


class NoFrame(CameraError):
    """No frame came in time; the camera is still there, and the next one may come."""


class CameraLost(CameraError):
    """The camera is gone: nothing comes from it until somebody plugs it in and it is started again."""


class EndOfRecording(CameraError):
    """A recording has been played to its end: in order, and for good."""


class StaleFrame(CameraError):
    """The newest picture is older than the caller can use."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera with distortion; (0, 0) is the middle of the upper left pixel.

    A point (x, y, z) in optical axes falls on (fx x/z + cx, fy y/z + cy), before distortion.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    model: str = "none"
    """Distortion model as librealsense names it, `none` without."""
    coefficients: tuple[float, ...] = ()


@dataclass(frozen=True)
class DeviceInfo:
    """Who a camera is."""

    name: str
    """As the configuration calls it."""
    product: str
    serial: str
    firmware: str = ""
    usb: str = ""
    """USB version of the connection, such as 3.2; empty where it is none."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture. Its arrays are its own and read-only: it may be kept and handed to other threads without a copy."""

    color: NDArray[np.uint8]
    """(height, width, 3), RGB."""
    number: int
    """Counted by the camera: a gap means frames that never arrived."""
    stamp_ns: int
    """Exposure on CLOCK_MONOTONIC [ns], as well as it is known (controllers.cameras.stamps)."""
    received_ns: int
    """Arrival in this process on CLOCK_MONOTONIC [ns]."""
    intrinsics: Intrinsics
    """Of `color`, and of `depth` where that is aligned."""
    hardware_ns: int | None = None
    """Stamp on the camera's own clock [ns]; None where it has none."""
    depth: NDArray[np.uint16] | None = None
    """(height, width) in units of depth_unit_m; 0 where nothing is known."""
    depth_unit_m: float = math.nan

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.color.shape[2] != 3 or self.color.dtype != np.uint8:
            raise ValueError(f"color needs (height, width, 3) uint8, got {self.color.shape} {self.color.dtype}")
        self.color.setflags(write=False)
        if self.depth is not None:
            if self.depth.ndim != 2 or self.depth.dtype != np.uint16 or not self.depth_unit_m > 0.0:
                raise ValueError(
                    f"depth needs (height, width) uint16 and a unit above 0 m, got {self.depth.shape} "
                    f"{self.depth.dtype} and {self.depth_unit_m} m"
                )
            self.depth.setflags(write=False)

    def age_s(self, now_ns: int) -> float:
        """Returns how long ago the exposure was [s]."""
        return (now_ns - self.stamp_ns) * 1e-9

    def depth_m(self) -> NDArray[np.float32]:
        """Returns distances along the optical axis (height, width) [m], NaN where nothing is known.

        Raises ValueError for a frame without depth.
        """
        if self.depth is None:
            raise ValueError("this frame has no depth: set depth=true of the camera")
        metres = self.depth.astype(np.float32) * np.float32(self.depth_unit_m)
        metres[self.depth == 0] = np.nan
        return metres


class Camera(Protocol):
    """One camera. One thread starts, reads and closes it; after `close` it may be started again."""

    name: str
    rate_hz: float
    """Frames a second that it was asked for."""

    @property
    def description(self) -> DeviceInfo:
        """Who it is; complete once it is started."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with its stamps, in sentences; any thread may ask. Empty where nothing is."""

    def start(self) -> None:
        """Opens it. Raises CameraError with the cure where it is not there or cannot do what is asked."""

    def read(self, timeout_s: float) -> Frame:
        """Waits for the next frame.

        Raises NoFrame after timeout_s, CameraLost where it is gone, EndOfRecording after the last frame of a file.
        """

    def close(self) -> None:
        """Lets go of it; may be called twice, and without a start."""


def copied(data: Any, dtype: Any) -> NDArray[Any]:
    """Returns a copy of a driver's buffer: that memory is the driver's again as soon as the frame is released."""
    return np.array(data, dtype=dtype, order="C")
