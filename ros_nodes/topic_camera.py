"""A camera node's topics as a camera: what an environment or a recorder on this machine sees with."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import OrderedDict
from typing import Any

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import UInt8MultiArray

from controllers.cameras.base import CameraLost, DeviceInfo, Frame, Intrinsics, NoFrame
from ros_nodes import qos
from ros_nodes.image_messages import picture_of
from ros_nodes.listener import Listener
from ros_nodes.wire import MalformedMessage, unpack

_KEPT = 60


class TopicCamera:
    """Implements controllers.cameras.base.Camera over the topics of one camera node."""

    alarms: tuple[str, ...] = ()

    def __init__(self, name: str, namespace: str, rate_hz: float = 30.0) -> None:
        """namespace: of the camera node. rate_hz: at which it publishes."""
        self.name, self.rate_hz, self._namespace = name, rate_hz, namespace
        self._frames: queue.Queue[Frame] = queue.Queue(maxsize=8)
        self._times: OrderedDict[int, Any] = OrderedDict()
        self._intrinsics: Intrinsics | None = None
        self._listener: Listener | None = None
        self._count = 0

    @property
    def description(self) -> DeviceInfo:
        """Named after its topics."""
        return DeviceInfo(self.name, "camera node", f"{self._namespace}/{self.name}")

    def start(self) -> None:
        """Subscribes; whether anybody publishes shows in `read`."""
        self._listener = Listener(f"robot_rl_camera_{self.name}".replace("-", "_"), self._namespace)
        self._clock = self._listener.node.get_clock()
        subscribe = self._listener.node.create_subscription
        subscribe(UInt8MultiArray, f"{self.name}/frame", self._take_times, qos.states())
        subscribe(CameraInfo, f"{self.name}/camera_info", self._take_info, qos.states())
        subscribe(Image, f"{self.name}/image_raw", self._take_image, qos.pictures())
        self._listener.listen()

    def read(self, timeout_s: float) -> Frame:
        """Waits for the next picture. Raises NoFrame after timeout_s, CameraLost once it is closed."""
        if self._listener is None or not self._listener.open:
            raise CameraLost(f"camera {self.name} is not started")
        try:
            return self._frames.get(timeout=timeout_s)
        except queue.Empty:
            raise NoFrame(
                f"camera {self.name}: no picture on {self._namespace}/{self.name}/image_raw for {timeout_s:.1f} s; "
                "see whether its camera node runs"
            ) from None

    def close(self) -> None:
        """Unsubscribes; may be called twice."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    # In the executor's thread

    def _take_times(self, message: UInt8MultiArray) -> None:
        with contextlib.suppress(MalformedMessage):
            parcel = unpack("frame", message)
            if parcel.same_clock:
                times = parcel.records[-1]
                self._times[int(times["header_ns"])] = times
                while len(self._times) > _KEPT:
                    self._times.popitem(last=False)

    def _take_info(self, message: CameraInfo) -> None:
        k = message.k
        self._intrinsics = Intrinsics(k[0], k[4], k[2], k[5], message.distortion_model, tuple(message.d))

    def _take_image(self, message: Image) -> None:
        try:
            picture = picture_of(message)
        except MalformedMessage:
            return
        now_ns = time.monotonic_ns()
        header_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        times = self._times.pop(header_ns, None)
        self._count += 1
        if times is None:  # of another publisher than our node: only the wall clock tells its age
            age_ns = self._clock.now().nanoseconds - header_ns
            number, stamp_ns = self._count, now_ns - max(age_ns, 0)
        else:
            number, stamp_ns = int(times["number"]), min(int(times["stamp_ns"]), now_ns)
            self._count = number  # a picture whose times are lost goes on from here
        height_px, width_px = picture.shape[:2]
        unknown = Intrinsics(width_px, width_px, 0.5 * width_px, 0.5 * height_px, "unknown")
        frame = Frame(picture, number, stamp_ns, now_ns, self._intrinsics or unknown)
        if self._frames.full():
            with contextlib.suppress(queue.Empty):
                self._frames.get_nowait()
        self._frames.put_nowait(frame)
