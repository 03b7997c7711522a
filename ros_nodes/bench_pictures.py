"""Measures pictures of a camera node as a subscriber sees them.

`python -m ros_nodes.bench_pictures <namespace> <camera> <seconds>` prints one JSON line. Latency is from the moment at
which the node publishes to the moment at which the picture is at hand here; the driver's own is `bench camera`'s.
"""

from __future__ import annotations

import json
import sys
import time
from collections import OrderedDict

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import UInt8MultiArray

from ros_nodes import qos
from ros_nodes.image_messages import picture_of
from ros_nodes.network import stay_on_this_machine
from ros_nodes.spinning import Spinner
from ros_nodes.wire import unpack

_FIRST_S = 60.0


class Counter:
    """Matches pictures with their times, and counts."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.latencies_ms: list[float] = []
        self._times: OrderedDict[int, np.ndarray] = OrderedDict()
        self._arrived: OrderedDict[int, int] = OrderedDict()

    def take_times(self, message: UInt8MultiArray) -> None:
        """When a picture was published; either of the two messages may come first."""
        times = unpack("frame", message).records[-1]
        self._times[int(times["header_ns"])] = times.copy()
        self._match(int(times["header_ns"]))

    def take_image(self, message: Image) -> None:
        """A picture: read as whoever uses it would."""
        picture_of(message)
        header_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        self._arrived[header_ns] = time.monotonic_ns()
        self._match(header_ns)

    def _match(self, header_ns: int) -> None:
        if header_ns in self._times and header_ns in self._arrived:
            times, arrived_ns = self._times.pop(header_ns), self._arrived.pop(header_ns)
            self.numbers.append(int(times["number"]))
            self.latencies_ms.append((arrived_ns - int(times["published_ns"])) * 1e-6)


def main() -> int:
    """See the module."""
    namespace, camera, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    stay_on_this_machine()
    rclpy.init()
    node, counter = Node("bench_pictures", namespace=namespace), Counter()
    node.create_subscription(UInt8MultiArray, f"{camera}/frame", counter.take_times, qos.states())
    node.create_subscription(Image, f"{camera}/image_raw", counter.take_image, qos.pictures())
    spinner = Spinner(node)
    deadline_s = time.monotonic() + _FIRST_S
    spinner.run(lambda: len(counter.numbers) > 10 or time.monotonic() > deadline_s)
    first, until_s = len(counter.numbers), time.monotonic() + seconds
    spinner.run(lambda: time.monotonic() > until_s)
    spinner.stop()
    rclpy.try_shutdown()
    numbers, latencies_ms = counter.numbers[first:], np.array(counter.latencies_ms[first:])
    if len(numbers) < 2:
        print(json.dumps({"error": f"no pictures on {namespace}/{camera}/image_raw"}))
        return 1
    lost = numbers[-1] - numbers[0] + 1 - len(numbers)
    p50_ms, p99_ms = np.quantile(latencies_ms, [0.5, 0.99])
    rate_hz = (len(numbers) - 1) / seconds
    print(json.dumps({"p50_ms": p50_ms, "p99_ms": p99_ms, "lost": lost, "pictures": len(numbers), "rate_hz": rate_hz}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
