"""A camera node whose device can be unplugged, for `robot-rl bench faults`.

    python -m ros_nodes.bench_camera --ros-args -r __ns:=/NAMESPACE

The node, its driver and librealsense's software device are those of every camera node; only the plug is in the hand of
whoever writes `unplug` or `plug in` to standard input. Each line is answered by the time [ns].
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from controllers.cameras.base import Camera
from controllers.cameras.software import SoftwareCamera
from ros_nodes.camera_node import CameraNode
from ros_nodes.spinning import run_node


class PluggedCamera(CameraNode):
    """A camera node with a hand at its plug."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def _make(self) -> Camera:
        self._plugged = SoftwareCamera(self.camera_config)
        if not self._listener.is_alive():
            self._listener.start()
        return self._plugged

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "unplug":
                self._plugged.device.unplug()
            else:
                self._plugged.device.plug_in()
            print(time.monotonic_ns(), flush=True)
        os._exit(0)  # whoever gave orders is gone


if __name__ == "__main__":
    sys.exit(run_node(PluggedCamera))
