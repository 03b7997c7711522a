"""The camera driver through librealsense's software device: from exposure to the caller's own picture."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from controllers.cameras.base import Frame
from controllers.cameras.config import CameraConfig
from controllers.cameras.reader import CameraReader
from controllers.cameras.software import SoftwareCamera
from robot_rl.config_cameras import BenchCameraConfig


def run(config: BenchCameraConfig) -> dict[str, Any]:
    """Returns latency [ms], rate and losses of one camera, and what it costs.

    A frame's latency is the time from the exposure of the software device, whose clock is this machine's, to the call
    with the copied picture in the reader's thread; painting the test pattern is part of it.
    """
    settings = CameraConfig(
        name="bench",
        width_px=config.width_px,
        height_px=config.height_px,
        rate_hz=config.rate_hz,
        depth=config.depth,
    )
    latencies_ms: list[float] = []
    work_s = [0.0, 0.0]  # of the reader's thread: at the first frame and at the newest one

    def note(frame: Frame, alive: bool) -> None:
        latencies_ms.append((time.monotonic_ns() - (frame.hardware_ns or 0)) * 1e-6)
        work_s[1] = time.thread_time()
        work_s[0] = work_s[0] or work_s[1]

    reader = CameraReader(SoftwareCamera(settings), note)
    with reader:
        before = os.times()
        begun, first = time.monotonic(), len(latencies_ms)
        time.sleep(config.seconds)
        elapsed_s, frames = time.monotonic() - begun, len(latencies_ms) - first
        after = os.times()
        figures = reader.watch.figures
    quantiles = np.quantile(np.array(latencies_ms), [0.5, 0.99, 1.0])
    return {
        "camera_driver_p50_ms": float(quantiles[0]),
        "camera_driver_p99_ms": float(quantiles[1]),
        "camera_driver_max_ms": float(quantiles[2]),
        "camera_driver_rate_hz": frames / elapsed_s,
        "camera_frames_lost": figures.lost,
        "camera_frames": frames,
        "camera_reader_ms_per_frame": (work_s[1] - work_s[0]) / max(len(latencies_ms) - 1, 1) * 1e3,
        "camera_cpu_share": (after.user + after.system - before.user - before.system) / elapsed_s,
    }
