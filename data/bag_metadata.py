"""`metadata.yaml` of a bag: what `ros2 bag` and rosbags read before anything else.

It is written as JSON, which every YAML reader takes (YAML 1.2, section 1.3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from data.atomic import replace_file

METADATA = "metadata.yaml"
VERSION = 9
"""Of rosbag2's metadata, as Jazzy and Kilted write it."""


class Described(Protocol):
    """What the metadata tell of a topic."""

    @property
    def kind(self) -> str:
        """Type of its messages."""

    @property
    def qos(self) -> tuple[dict[str, Any], ...]:
        """Quality of service that its publishers offered."""


@dataclass
class FileSummary:
    """What one file of a bag holds."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    """Messages by topic."""
    first_ns: int = 0
    """Arrival of the earliest message [ns since the Unix epoch]; 0 where there is none."""
    last_ns: int = 0
    size_bytes: int = 0

    def count(self, topic: str, arrived_ns: int) -> int:
        """Counts a message; returns how many came before it on its topic."""
        before = self.counts.get(topic, 0)
        self.counts[topic] = before + 1
        self.first_ns = min(self.first_ns or arrived_ns, arrived_ns)
        self.last_ns = max(self.last_ns, arrived_ns)
        return before

    @property
    def total(self) -> int:
        """Returns the number of messages."""
        return sum(self.counts.values())


def write_metadata(folder: Path, files: Sequence[FileSummary], topics: Mapping[str, Described]) -> None:
    """Writes the metadata of the bag `folder`, whole or not at all. Raises OSError."""
    filled = [file for file in files if file.total]
    first_ns = min((file.first_ns for file in filled), default=0)
    last_ns = max((file.last_ns for file in filled), default=0)
    described = [
        {"topic_metadata": _topic(name, topic), "message_count": sum(file.counts.get(name, 0) for file in files)}
        for name, topic in topics.items()
    ]
    value = {
        "version": VERSION,
        "storage_identifier": "mcap",
        **_span(first_ns, last_ns),
        "message_count": sum(file.total for file in files),
        "topics_with_message_count": described,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file.name for file in files],
        "files": [
            {"path": file.name, **_span(file.first_ns, file.last_ns), "message_count": file.total} for file in files
        ],
        "custom_data": None,
        "ros_distro": "",
    }
    text = json.dumps({"rosbag2_bagfile_information": value}, indent=1)
    replace_file(folder / METADATA, text.encode())


def _topic(name: str, topic: Described) -> dict[str, Any]:
    return {
        "name": name,
        "type": topic.kind,
        "serialization_format": "cdr",
        "offered_qos_profiles": list(topic.qos),
        "type_description_hash": "",
    }


def _span(first_ns: int, last_ns: int) -> dict[str, Any]:
    return {
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "duration": {"nanoseconds": last_ns - first_ns},
    }
