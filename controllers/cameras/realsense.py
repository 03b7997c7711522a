"""A RealSense camera behind the camera protocol: a device, a recording of one, or librealsense's software device.

All three take the same way: sensors are opened at the configured mode, their frames pass librealsense's syncer (which
pairs colour and depth by their stamps), depth is drawn into the colour picture's pixels if wished, and arrays are
copied before the frames go back to the driver.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from controllers.cameras.base import (
    CameraError,
    CameraLost,
    DeviceInfo,
    EndOfRecording,
    Frame,
    Intrinsics,
    NoFrame,
    copied,
)
from controllers.cameras.config import CameraConfig
from controllers.cameras.devices import Query, choose_profiles, connected, find_device, info_of
from controllers.cameras.library import load_realsense
from controllers.cameras.stamps import ClockMap
from data.errors import UserError

_QUEUE = 16
"""Framesets that wait for a reader who is late, half a second at 30 Hz; older ones are dropped, and counted as lost."""
SILENT_S = 2.0
"""A device that is connected but gives nothing for this long is lost as well, as after a glitch on the bus [s]."""
_MILLISECONDS = 1e6  # in ns


class RealSenseCamera:
    """One colour camera, with depth if wanted."""

    def __init__(self, config: CameraConfig, query: Query | None = None) -> None:
        """query: where devices are looked for, the USB bus by default."""
        self.name, self.rate_hz, self.config = config.name, config.rate_hz, config
        self._query = query
        self._info = DeviceInfo(config.name, "", config.serial or "")
        self._sensors: list[Any] = []
        self._device: Any = None
        self._playback: Any = None
        self._heard_s = 0.0
        self._clock = ClockMap(config.period_s, config.delay_s)

    @property
    def description(self) -> DeviceInfo:
        """Who it is; complete once it is started."""
        return self._info

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with its stamps, in sentences."""
        return self._clock.alarms

    def start(self) -> None:
        """Finds the device, sets it up and lets it stream. Raises CameraError with the cure."""
        rs, config = load_realsense(), self.config
        self.close()
        self._device = self._find(rs)
        self._info = info_of(self._device, config.name)
        chosen = choose_profiles(self._device, config)
        self._syncer, self._align = rs.syncer(_QUEUE), rs.align(rs.stream.color)
        self._clock = ClockMap(config.period_s, config.delay_s)
        try:
            for sensor, profiles in chosen:
                if self._playback is None:
                    set_up(rs, sensor, config)
                sensor.open(profiles)
                self._sensors.append(sensor)
            for sensor in self._sensors:
                sensor.start(self._syncer)
        except RuntimeError as error:
            self.close()
            raise CameraError(
                f"camera {self.name} does not start ({error}): end other programs that use it, or plug it in again"
            ) from error
        self._heard_s = time.monotonic()

    def read(self, timeout_s: float) -> Frame:
        """Waits for the next frame, complete with depth where that is wanted; see Camera.read."""
        deadline_s = time.monotonic() + timeout_s
        while self._sensors:
            frame = self._next(deadline_s - time.monotonic())
            if frame is not None:
                self._heard_s = time.monotonic()
                return frame
            if time.monotonic() >= deadline_s:
                self._tell_silence(timeout_s)
        raise CameraLost(f"camera {self.name} is not started: call start() first")

    def close(self) -> None:
        """Stops streaming and lets go of the device."""
        for sensor in self._sensors:
            try:
                sensor.stop()
                sensor.close()
            except RuntimeError:  # a device that was unplugged can no longer be stopped: there is nothing to do
                continue
        self._sensors = []
        self._playback = None

    # Parts

    def _find(self, rs: Any) -> Any:
        path = self.config.file
        if path is None:
            self._query = self._query or connected()
            return find_device(self._query, self.config)
        if not path.is_file() or path.suffix != ".db3":
            raise CameraError(
                f"camera {self.name}: expected a recording of librealsense (.db3) at {path}, found "
                f"{'a file of another kind' if path.is_file() else 'none'}: record one with rs.recorder"
            )
        try:
            device = rs.context().load_device(str(path))
        except RuntimeError as error:
            raise CameraError(
                f"camera {self.name}: {path} is no recording that can be played ({error}): record it anew"
            ) from error
        self._playback = rs.playback(device)
        return device

    def _next(self, timeout_s: float) -> Frame | None:
        """Returns the next frame, None where none came in time or a part of it is missing."""
        try:
            came, frames = self._syncer.try_wait_for_frames(max(round(timeout_s * 1e3), 1))
            return self._frame(frames, time.monotonic_ns()) if came else None
        except RuntimeError as error:
            raise CameraLost(f"camera {self.name} ({self._info.serial}) failed ({error}): plug it in again") from error

    def _frame(self, frames: Any, received_ns: int) -> Frame | None:
        """Returns the copy of a frameset, None where a part of it is missing."""
        config = self.config
        color, depth = frames.get_color_frame(), None
        if not color or (config.depth and not frames.get_depth_frame()):
            return None
        number, hardware_ns = color.get_frame_number(), round(color.get_timestamp() * _MILLISECONDS)
        # a recording is not exposed now, and played a few per cent too slowly: its frames count from their arrival
        stamp_ns = received_ns if self._playback else self._clock.stamp(number, hardware_ns, received_ns)
        unit_m = math.nan
        if config.depth:
            distances = (self._align.process(frames) if config.align else frames).get_depth_frame()
            depth, unit_m = copied(distances.get_data(), np.uint16), float(distances.get_units())
        intrinsics = intrinsics_of(color.get_profile().as_video_stream_profile().get_intrinsics())
        return Frame(
            copied(color.get_data(), np.uint8), number, stamp_ns, received_ns, intrinsics, hardware_ns, depth, unit_m
        )

    def _tell_silence(self, waited_s: float) -> None:
        """Raises what it means that no frame came."""
        rs = load_realsense()
        if self._playback is not None:
            if self._playback.current_status() == rs.playback_status.stopped:
                raise EndOfRecording(f"camera {self.name}: the recording {self.config.file} has been played to its end")
        elif self._query is not None and self._info.serial not in [info_of(device).serial for device in self._query()]:
            raise CameraLost(f"camera {self.name} ({self._info.serial}) was unplugged: plug it in again")
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENT_S:
            raise CameraLost(
                f"camera {self.name} ({self._info.serial}) is connected but has given nothing for {silent_s:.1f} s: "
                "plug it in again, into another port if that does not help"
            )
        raise NoFrame(f"camera {self.name} gave no frame within {waited_s * 1e3:.0f} ms")


def intrinsics_of(found: Any) -> Intrinsics:
    """Returns librealsense's intrinsics as ours."""
    model = str(found.model).rpartition(".")[2]
    return Intrinsics(found.fx, found.fy, found.ppx, found.ppy, model, tuple(float(value) for value in found.coeffs))


def set_up(rs: Any, sensor: Any, config: CameraConfig) -> None:
    """Sets exposure and depth units of a sensor that has them. Raises UserError for an exposure out of its range."""
    option = rs.option
    if sensor.supports(option.depth_units) and not sensor.is_option_read_only(option.depth_units):
        sensor.set_option(option.depth_units, config.depth_unit_m)
    if not sensor.supports(option.exposure):
        return
    if config.exposure_ms is None:
        if sensor.supports(option.enable_auto_exposure):
            sensor.set_option(option.enable_auto_exposure, 1.0)
        return
    # librealsense's unit of exposure: 1 us on a stereo module (which gives colour too on a D405), 100 us on an RGB one
    unit_ms = 0.001 if sensor.supports(option.depth_units) else 0.1
    value, allowed = config.exposure_ms / unit_ms, sensor.get_option_range(option.exposure)
    if not allowed.min <= value <= allowed.max:
        raise UserError(
            f"camera {config.name}: exposure_ms must be {allowed.min * unit_ms:g}..{allowed.max * unit_ms:g} ms for "
            f"this camera, got {config.exposure_ms:g}"
        )
    if sensor.supports(option.enable_auto_exposure):
        sensor.set_option(option.enable_auto_exposure, 0.0)
    sensor.set_option(option.exposure, value)
