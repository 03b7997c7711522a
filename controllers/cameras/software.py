"""librealsense's software device: pictures of our own through the real sensors, syncer and align.

So the driver is tested, and measured, without a camera, and a simulated scene can be seen through the very code that a
real camera is seen through.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.cameras.base import CameraError, Frame, Intrinsics, NoFrame
from controllers.cameras.config import CameraConfig
from controllers.cameras.library import load_realsense
from controllers.cameras.realsense import RealSenseCamera
from data.errors import UserError

_START_S = 10.0
"""Time that a painter may take to open; a scene is built and a drawing context made [s]."""
_LATEST = 8
"""A feeding thread that is more exposures behind than this skips some."""


@dataclass(frozen=True, eq=False)
class Painting:
    """What a sensor would have exposed."""

    color: NDArray[np.uint8]
    """(height, width, 3), RGB."""
    depth: NDArray[np.uint16] | None
    """(height, width) in units of the configuration's depth_unit_m, seen from the colour camera."""


class Painter(Protocol):
    """Who makes the pictures; all calls come from one thread."""

    @property
    def intrinsics(self) -> Intrinsics:
        """Of colour and depth."""

    def open(self) -> None:
        """Gets ready."""

    def paint(self) -> Painting:
        """Returns the next picture."""

    def close(self) -> None:
        """Lets go of everything."""


class TestPattern:
    """A colour ramp with noise, in front of a plane at 1 m."""

    __test__ = False  # not one of pytest's

    def __init__(self, config: CameraConfig, seed: int = 0) -> None:
        self._config = config
        height, width = config.height_px, config.width_px
        ramp = np.empty((height, width, 3), np.uint8)
        ramp[..., 0] = np.linspace(16, 232, width)
        ramp[..., 1] = np.linspace(16, 232, height)[:, None]
        ramp[..., 2] = 96
        self._ramp = ramp
        self._rng = np.random.default_rng(seed)
        self._noise = self._rng.integers(0, 5, 2 * ramp.size, dtype=np.uint8)
        self._depth = np.full((height, width), round(1.0 / config.depth_unit_m), np.uint16) if config.depth else None

    @property
    def intrinsics(self) -> Intrinsics:
        """A horizontal field of view of 69 degrees, as a D435 has."""
        width, height = self._config.width_px, self._config.height_px
        focal_px = 0.5 * width / math.tan(math.radians(34.5))
        return Intrinsics(focal_px, focal_px, 0.5 * (width - 1), 0.5 * (height - 1))

    def open(self) -> None:
        """Nothing to do."""

    def paint(self) -> Painting:
        """The ramp with other noise each time."""
        first = int(self._rng.integers(0, self._ramp.size))
        noise = self._noise[first : first + self._ramp.size].reshape(self._ramp.shape)
        return Painting(self._ramp + noise, self._depth)

    def close(self) -> None:
        """Nothing to do."""


class SoftwareDevice:
    """A software device with one colour sensor and, if wanted, one depth sensor beside it, that can be unplugged."""

    def __init__(self, config: CameraConfig, intrinsics: Intrinsics, serial: str = "software") -> None:
        self._rs = rs = load_realsense()
        self._config, self.serial = config, serial
        self.device = rs.software_device()
        self._tell(rs.camera_info.name, "Software camera")
        self._tell(rs.camera_info.serial_number, serial)
        self._plugged = True
        self._streams: dict[str, tuple[Any, Any]] = {}
        self._add("color", rs.format.rgb8, 3, intrinsics)
        if config.depth:
            self._add("depth", rs.format.z16, 2, intrinsics)
            depth, color = self._streams["depth"][1], self._streams["color"][1]
            same_place = rs.extrinsics()
            same_place.rotation, same_place.translation = [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0], [0.0, 0.0, 0.0]
            depth.register_extrinsics_to(color, same_place)
        self.device.create_matcher(rs.matchers.default)

    def query(self) -> list[Any]:
        """The devices that are connected: this one, until it is unplugged."""
        return [self.device] if self._plugged else []

    def unplug(self) -> None:
        """From now on it is not connected, and what is pushed goes nowhere."""
        self._plugged = False

    def plug_in(self) -> None:
        """Connects it again."""
        self._plugged = True

    def sensor(self, stream: str) -> Any:
        """The software sensor of `color` or `depth`, to give it options or metadata."""
        return self._streams[stream][0]

    def push(self, painting: Painting, number: int, exposed_ns: int) -> None:
        """Gives a picture to the sensors, as its hardware would; exposed_ns becomes its hardware stamp."""
        if not self._plugged:
            return
        if painting.depth is not None and "depth" in self._streams:
            self._push("depth", painting.depth, 2, exposed_ns, number)
        self._push("color", painting.color, 3, exposed_ns, number)

    def _tell(self, what: Any, text: str) -> None:
        tell = self.device.update_info if self.device.supports(what) else self.device.register_info
        tell(what, text)

    def _add(self, name: str, fmt: Any, bytes_per_pixel: int, intrinsics: Intrinsics) -> None:
        rs, config = self._rs, self._config
        found = rs.intrinsics()
        found.width, found.height = config.width_px, config.height_px
        found.fx, found.fy, found.ppx, found.ppy = (
            intrinsics.fx_px,
            intrinsics.fy_px,
            intrinsics.cx_px,
            intrinsics.cy_px,
        )
        found.model, found.coeffs = rs.distortion.none, [0.0] * 5
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid = getattr(rs.stream, name), 0, len(self._streams)
        stream.width, stream.height, stream.fps = config.width_px, config.height_px, round(config.rate_hz)
        stream.bpp, stream.fmt, stream.intrinsics = bytes_per_pixel, fmt, found
        sensor = self.device.add_sensor("Stereo Module" if name == "depth" else "RGB Camera")
        # In thousandths; without it the library makes up a rate of its own (1 Hz after 39 frames, in 2.59), and its
        # syncer, which expects the next frame by that rate, pairs nothing any more.
        sensor.set_metadata(rs.frame_metadata_value.actual_fps, round(1e3 * config.rate_hz))
        profile = sensor.add_video_stream(stream)
        if name == "depth":
            sensor.add_read_only_option(rs.option.depth_units, config.depth_unit_m)
        self._streams[name] = sensor, rs.video_stream_profile(profile)

    def _push(self, name: str, pixels: NDArray[Any], bytes_per_pixel: int, exposed_ns: int, number: int) -> None:
        sensor, profile = self._streams[name]
        frame = self._rs.software_video_frame()
        frame.profile, frame.pixels = profile, pixels
        frame.stride, frame.bpp = pixels.shape[1] * bytes_per_pixel, bytes_per_pixel
        frame.timestamp, frame.domain = exposed_ns * 1e-6, self._rs.timestamp_domain.hardware_clock
        frame.frame_number = number
        if name == "depth":
            frame.depth_units = self._config.depth_unit_m
        sensor.on_video_frame(frame)


class SoftwareCamera:
    """A camera whose device is a software device, fed by a thread as a real one's is by its bus."""

    def __init__(self, config: CameraConfig, painter: Painter | None = None, serial: str = "software") -> None:
        """painter: a test pattern by default."""
        self.name, self.rate_hz, self.config = config.name, config.rate_hz, config
        self.painter = painter or TestPattern(config)
        self.device = SoftwareDevice(config, self.painter.intrinsics, serial)
        seen_as = CameraConfig(**{**vars(config), "source": f"serial:{serial}"})
        self._camera = RealSenseCamera(seen_as, self.device.query)
        self._stopping, self._ready, self._begin = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._error: UserError | None = None
        self.description = self._camera.description

    @property
    def alarms(self) -> tuple[str, ...]:
        """See Camera.alarms."""
        return self._camera.alarms

    def start(self) -> None:
        """Starts driver and feeding thread; see Camera.start."""
        self.close()
        for event in (self._stopping, self._ready, self._begin):
            event.clear()
        self._error = None
        self._thread = threading.Thread(target=self._feed, name=f"software-{self.name}", daemon=True)
        self._thread.start()
        opened = self._ready.wait(_START_S)
        if self._error is not None:
            raise self._error
        if not opened:
            raise CameraError(f"camera {self.name}: its painter was not ready within {_START_S:g} s: try again")
        self._camera.start()
        self.description = self._camera.description
        self._begin.set()

    def read(self, timeout_s: float) -> Frame:
        """See Camera.read; raises what the painter complained of."""
        try:
            return self._camera.read(timeout_s)
        except NoFrame:
            if self._error is not None:
                raise self._error from None
            raise

    def close(self) -> None:
        """Ends the feeding thread, then the driver."""
        self._stopping.set()
        self._begin.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._camera.close()

    def _feed(self) -> None:
        period_ns = 1e9 / self.rate_hz
        try:
            self.painter.open()
            self._ready.set()
            self._begin.wait()
            begin_ns, number = time.monotonic_ns(), 0
            while not self._stopping.is_set():
                # stamps at equal distances, as a sensor's are, however late this thread is; too late, it skips some
                number = max(number + 1, math.floor((time.monotonic_ns() - begin_ns) / period_ns) - _LATEST)
                exposed_ns = begin_ns + round(number * period_ns)
                time.sleep(max((exposed_ns - time.monotonic_ns()) * 1e-9, 0.0))
                self.device.push(self.painter.paint(), number, exposed_ns)
        except UserError as error:
            self._error = error
        finally:
            self._ready.set()
            self.painter.close()
