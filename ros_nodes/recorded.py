"""What a bag of the recorder node holds of an arm: the tick reports, whole or of one episode; how much is missing.

python -m ros_nodes.recorded runs/recorded/bags/2026-11-26T10-00-00        # counts what is missing, as JSON
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from std_msgs.msg import UInt8MultiArray

from controllers.types import REPORT
from data.bag_reading import read_bag
from ros_nodes.wire import unpack

REPORTS = "/motor/reports"


def recorded_reports(bag: str | Path, first_tick: int = 0, last_tick: int = 2**62) -> NDArray[Any]:
    """Returns the REPORT records (n,) of a bag from one tick to another, both included.

    `info["ticks"]` of a recorded episode names the ticks of its first and last observation, `info["bag"]` its bag.
    """
    parts = []
    for message in read_bag(bag):
        if message.topic.name.endswith(REPORTS):
            records = unpack("report", deserialize_message(message.data, UInt8MultiArray)).records
            parts.append(records[(records["tick"] >= first_tick) & (records["tick"] <= last_tick)])
    return np.concatenate(parts) if parts else np.zeros(0, REPORT)


def audit(bag: str | Path) -> dict[str, Any]:
    """Returns how many ticks and numbered pictures (see recorder_source) a bag holds, and how many it lacks between."""
    ticks: list[NDArray[np.int64]] = []
    frames: list[int] = []
    stamp_ns = 0
    for message in read_bag(bag):
        if message.topic.name.endswith(REPORTS):
            records = unpack("report", deserialize_message(message.data, UInt8MultiArray)).records
            ticks.append(records["tick"].copy())
            stamp_ns = int(records["stamp_ns"][-1])
        elif message.topic.kind == "sensor_msgs/msg/Image":
            (length,) = struct.unpack_from("<I", message.data, 12)
            frames.append(int(message.data[16 : 16 + length - 1]))
    return {
        **_missing("reports", np.concatenate(ticks) if ticks else np.zeros(0, np.int64)),
        **_missing("images", np.array(frames, np.int64)),
        "last_stamp_ns": stamp_ns,
    }


def _missing(name: str, numbers: NDArray[np.int64]) -> dict[str, int]:
    if not numbers.size:
        return {name: 0, f"lost_{name}": 0}
    unique = np.unique(numbers)
    return {name: int(unique.size), f"lost_{name}": int(unique[-1] - unique[0] + 1 - unique.size)}


if __name__ == "__main__":
    print(json.dumps(audit(sys.argv[1])))
