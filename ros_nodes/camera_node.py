"""One camera behind topics: picture, intrinsics, times, and its sign of life for the arm.

The driver's thread publishes each picture as it arrives. While the camera is in use here the arm holds without it: its
beat is the exposure of the newest picture, and a frozen or lost camera gives none.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import UInt8MultiArray

from controllers.cameras.base import Camera, Frame
from controllers.cameras.config import CameraConfig
from controllers.cameras.make import make_camera
from controllers.cameras.motor_feed import MotorFeed
from controllers.cameras.reader import CameraReader
from controllers.cameras.watch import FrameState
from controllers.description.fr3 import fr3
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.config import CameraNodeConfig
from ros_nodes.diagnostics import ERROR, OK, WARN, Saying
from ros_nodes.image_messages import ImageFiller, camera_info
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.spinning import run_node
from ros_nodes.wire import BEAT, FRAME, draw_sender, pack
from safety.supervision import Heartbeat

_LEVELS = {FrameState.FRESH: OK, FrameState.LATE: WARN}


class CameraNode(ManagedNode[CameraNodeConfig]):
    """Topics `<name>/image_raw`, `<name>/camera_info`, `<name>/depth`, `<name>/frame` (times) and `motor/beat`."""

    config_class = CameraNodeConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("camera", **options)
        self._reader: CameraReader | None = None
        self._feed: MotorFeed | None = None
        self._sender = draw_sender()
        self.diagnostics.say(self._say)
        self.create_timer(0.1, self._look)

    # Lifecycle

    def setup(self) -> None:
        """Checks the camera's settings, makes the topics."""
        config, name = self.config, self.config.name
        self.camera_config = CameraConfig(
            name=name,
            source=config.source,
            width_px=config.width_px,
            height_px=config.height_px,
            rate_hz=config.rate_hz,
            depth=config.depth,
            exposure_ms=config.exposure_ms or None,
            delay_s=config.delay_s,
        )
        frame_id = f"{name}_color_optical_frame"
        self._color, self._depth = ImageFiller("rgb8", frame_id), ImageFiller("16UC1", frame_id)
        make = self.create_publisher
        self._images = make(Image, f"{name}/image_raw", qos.pictures(config.rate_hz))
        self._infos = make(CameraInfo, f"{name}/camera_info", qos.states(config.rate_hz))
        self._depths = make(Image, f"{name}/depth", qos.pictures(config.rate_hz)) if config.depth else None
        self._frames = make(UInt8MultiArray, f"{name}/frame", qos.states())
        self._beats = make(UInt8MultiArray, "motor/beat", qos.states())
        self._published = self.diagnostics.watch("pictures", config.rate_hz, 0.3)

    def start(self) -> None:
        """Opens the camera and waits for its first picture."""
        reader = CameraReader(self._make(), self._publish)
        reader.start()
        self._reader = reader

    def halt(self) -> None:
        """Closes the camera; the arm is not held for it any longer, unless no pictures came: then it stays held."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        seeing = reader.error is None and reader.state <= FrameState.LATE
        reader.close()
        if seeing:
            self._beat(0)

    def _make(self) -> Camera:
        if self.camera_config.kind != "mujoco":
            return make_camera(self.camera_config)
        task = make_task(self.config.task, self.config.variant)
        motor = self.config.motor or self.get_namespace().strip("/").replace("/", "-") or "arm"
        self._feed = MotorFeed(motor)
        return make_camera(self.camera_config, arm=fr3(), scene=task.scene(), feed=self._feed)

    # In the reader's thread

    def _publish(self, frame: Frame, alive: bool) -> None:
        ros_now_ns, now_ns = self.get_clock().now().nanoseconds, time.monotonic_ns()
        header_ns = ros_now_ns - (now_ns - frame.stamp_ns)
        stamp = Time(nanoseconds=header_ns).to_msg()
        times = np.zeros((), FRAME)
        times["number"], times["stamp_ns"], times["received_ns"] = frame.number, frame.stamp_ns, frame.received_ns
        times["published_ns"], times["header_ns"] = now_ns, header_ns
        self._frames.publish(pack("frame", times, self._sender))
        self._images.publish(self._color.fill(frame.color, stamp))
        if self._depths is not None and frame.depth is not None:
            self._depths.publish(self._depth.fill(frame.depth, stamp))
        height_px, width_px = frame.color.shape[:2]
        info = camera_info(frame.intrinsics, width_px, height_px, f"{self.config.name}_color_optical_frame")
        info.header.stamp = stamp
        self._infos.publish(info)
        self._published.tick()
        if alive:
            self._beat(frame.stamp_ns)

    def _beat(self, stamp_ns: int) -> None:
        if not self.config.hold_without:
            return
        beat = np.zeros((), BEAT)
        beat["source"], beat["stamp_ns"], beat["name"] = Heartbeat.CAMERA, stamp_ns, self.config.name.encode()[:32]
        self._beats.publish(pack("beat", beat, self._sender))

    # Health

    def _look(self) -> None:
        """A camera that is gone for good ends the program: whoever started it may start it again."""
        if self._reader is not None and self._reader.error is not None:
            self.failure = " ".join(str(self._reader.error).split())

    def _say(self) -> Saying:
        reader = self._reader
        if reader is None:
            return "camera", OK, "not active", {}
        state, figures = reader.state, reader.watch.figures
        values = {
            "frames": figures.frames,
            "lost": figures.lost,
            "rate_hz": figures.rate_hz,
            "jitter_ms": 1e3 * figures.jitter_s,
            "latency_ms": 1e3 * figures.latency_s,
            "alarms": "; ".join(reader.alarms),
        }
        level = max(_LEVELS.get(state, ERROR), WARN if reader.alarms else OK)
        return "camera", level, state.name.lower(), values


def main() -> int:
    """`python -m ros_nodes.camera_node --ros-args -p name:=wrist -p source:=serial:123 -r __ns:=/arm`."""
    return run_node(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
