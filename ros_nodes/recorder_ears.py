"""Hears topics as raw bytes, whatever their type: each is subscribed to as soon as somebody publishes it.

Quality of service follows the publishers, as `ros2 bag record` does it: reliable, and with the latched value, where all
of them offer that. The callbacks run in a thread of their own and only hand on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from data.errors import UserError
from ros_nodes.lifecycle import STEADY
from ros_nodes.message_definitions import message_class
from ros_nodes.spinning import Spinner
from ros_nodes.wire import MalformedMessage

_LOOK_S = 0.1
_CDR_BYTES = 4
"""Every serialised message begins with so many bytes that say how it is written."""
_DEPTH, _IMAGE_DEPTH = 2000, 60
"""Messages that may wait before the callback is called: seconds of the fastest topic, two seconds of pictures."""


class Heard(NamedTuple):
    """A message as it arrived."""

    topic: str
    """Its whole name."""
    data: bytes
    """In its serialised form (CDR)."""
    arrived_ns: int
    """Of the wall clock [ns since the Unix epoch]."""
    monotonic_ns: int
    """The same moment on the monotonic clock."""


@dataclass
class Ear:
    """One topic that is listened to."""

    kind: str
    profile: QoSProfile
    subscription: Any
    heard: int = 0
    lost: int = 0
    """Messages that DDS says it lost on the way."""
    torn: int = 0
    """Messages that arrived without content."""


def parsed(raw: bytes, kind: Any) -> Any:
    """Returns a serialised message of a class. Raises MalformedMessage for other bytes."""
    try:
        return deserialize_message(raw, kind)
    except RuntimeError as error:  # what rclpy raises for an error of the middleware
        raise MalformedMessage(f"expected a {kind.__name__}, got {len(raw)} other bytes ({error})") from error


class Ears:
    """Listens until `close`."""

    def __init__(self, namespace: str, topics: Sequence[str], hand_on: Callable[[Heard], None]) -> None:
        """topics: within the namespace unless they begin with `/`. hand_on: called in a thread of its own."""
        self._context = Context()
        self._context.init()
        self._node = Node("recorder_ears", namespace=namespace, context=self._context, start_parameter_services=False)
        self._names = [str(self._node.resolve_topic_name(topic)) for topic in topics]
        self._hand_on = hand_on
        self.ears: dict[str, Ear] = {}
        self.problems: dict[str, str] = {}
        """Topics that cannot be recorded, and why."""
        self._node.create_timer(_LOOK_S, self._look, clock=STEADY)
        self._spinner = Spinner(self._node, context=self._context)

    def listen(self) -> None:
        """Begins."""
        self._spinner.start()

    def close(self) -> None:
        """Listens no longer."""
        self._spinner.stop()
        self._node.destroy_node()
        self._context.try_shutdown()

    @property
    def lost(self) -> int:
        """Returns how many messages DDS lost on the way, or delivered without content."""
        return sum(ear.lost + ear.torn for ear in list(self.ears.values()))

    def _look(self) -> None:
        for name in self._names:
            infos = self._node.get_publishers_info_by_topic(name)
            if infos and name not in self.problems:
                try:
                    self._subscribe(name, infos)
                except UserError as error:
                    self.problems[name] = str(error)
                    self._node.get_logger().warning(f"{name} is not recorded: {error}")

    def _subscribe(self, name: str, infos: Sequence[Any]) -> None:
        kinds = sorted({info.topic_type for info in infos})
        if len(kinds) > 1:
            raise UserError(f"it has publishers of different types, {' and '.join(kinds)}: stop one of them")
        profile = _profile([info.qos_profile for info in infos], kinds[0])
        ear = self.ears.get(name)
        if ear is not None:
            if (ear.profile.reliability, ear.profile.durability) == (profile.reliability, profile.durability):
                return
            self._node.destroy_subscription(ear.subscription)
        new = Ear(kinds[0], profile, None)
        new.heard, new.lost, new.torn = (ear.heard, ear.lost, ear.torn) if ear else (0, 0, 0)
        self.ears[name] = new

        def receive(raw: bytes) -> None:
            if len(raw) <= _CDR_BYTES:  # seen of shared memory whose writer was late
                new.torn += 1
                return
            new.heard += 1
            self._hand_on(Heard(name, raw, time.time_ns(), time.monotonic_ns()))

        def lose(event: Any) -> None:
            new.lost += event.total_count_change

        new.subscription = self._node.create_subscription(
            message_class(kinds[0]),
            name,
            receive,
            profile,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=lose, use_default_callbacks=False),
        )


def _profile(offered: Sequence[QoSProfile], kind: str) -> QoSProfile:
    reliable = all(one.reliability == ReliabilityPolicy.RELIABLE for one in offered)
    latched = all(one.durability == DurabilityPolicy.TRANSIENT_LOCAL for one in offered)
    return QoSProfile(
        depth=_IMAGE_DEPTH if kind.endswith("Image") else _DEPTH,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def told_profile(profile: QoSProfile) -> dict[str, Any]:
    """Returns a profile in the words of rosbag2's metadata; without limits in time."""
    none = {"sec": 0, "nsec": 0}
    return {
        "history": "keep_last",
        "depth": 10,
        "reliability": "reliable" if profile.reliability == ReliabilityPolicy.RELIABLE else "best_effort",
        "durability": "transient_local" if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else "volatile",
        "deadline": none,
        "lifespan": none,
        "liveliness": "automatic",
        "liveliness_lease_duration": none,
        "avoid_ros_namespace_conventions": False,
    }
