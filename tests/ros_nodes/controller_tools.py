"""What tests of the controller node share: what they send, hear and call."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from controllers.paced_link import LinkTimeouts
from controllers.types import Command
from ros_nodes import qos
from ros_nodes.topic_link import TopicLink

CONTROLLER = "ros_nodes.controller_node"
SOFT = {"realtime": False}
PATIENT = LinkTimeouts(stall_s=2.0)
"""Tests share their machine: a controller that stalls for half a second is no dead one."""
STIFFNESS = np.array([400.0] * 3 + [30.0] * 3)


def held_pose(link: TopicLink) -> Command:
    here = link.latest()
    return Command(here.position_base_m, here.quaternion_base_xyzw, STIFFNESS)


class Heard:
    """The messages of one topic."""

    def __init__(self, node: Node, kind: Any, topic: str, profile: Any = None) -> None:
        self.messages: list[Any] = []
        node.create_subscription(kind, topic, self.messages.append, profile or qos.states())

    @property
    def last(self) -> Any:
        return self.messages[-1]


def pose_message(position: Any, quaternion: Any, frame: str = "base") -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    p, o = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = map(float, position)
    o.x, o.y, o.z, o.w = map(float, quaternion)
    return message
