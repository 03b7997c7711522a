"""A person's device behind a topic; and, while asked to, the person drives the arm with it.

Others may follow the device as well, through `source=ros` and `human=ros`: a policy then goes on commanding the arm,
and its program sees to takeover and hand-back.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from sensor_msgs.msg import Joy
from std_msgs.msg import String

from robot_rl.tasks.registry import make_task
from robot_rl.teleop.config import TeleopConfig
from robot_rl.teleop.devices.base import Button, DeviceLost, DeviceState
from ros_nodes import qos
from ros_nodes.config import TeleopNodeConfig
from ros_nodes.diagnostics import ERROR, OK, Saying
from ros_nodes.driving import Driver
from ros_nodes.joy import TOPIC, JoySender, published
from ros_nodes.lifecycle import ManagedNode
from ros_nodes.spinning import run_node
from ros_nodes.topic_link import TopicLink
from ros_nodes.worker import Worker

POLL_S = 0.02
KEYS = {Button.SUCCESS: "success", Button.DISCARD: "discard"}
"""Presses that a recorder may follow, and what its topic calls them."""


class TeleopNode(ManagedNode[TeleopNodeConfig]):
    """Topics `teleop/joy` and `recorder/key`; services `~/start` and `~/stop` of driving."""

    config_class = TeleopNodeConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop", **options)
        self._sender = JoySender()
        self._state = DeviceState(0)
        self._joy = self.create_publisher(Joy, TOPIC, qos.states())
        self._keys = self.create_publisher(String, "recorder/key", qos.streams())
        self._watch = self.diagnostics.watch("device", 1.0 / POLL_S, 0.5)
        self.hand = Worker(self, "hand", self._drive, "the arm follows the device while its dead-man is held")
        self.create_timer(POLL_S, self._poll)
        self.diagnostics.say(self._say)

    # Lifecycle

    def setup(self) -> None:
        """Checks the settings; the device is opened by `start`."""
        config = self.config
        self.task = make_task(config.task, config.variant, config.task_config)
        self.settings = TeleopConfig(
            device=config.path,
            dead_zone=config.dead_zone,
            expo=config.expo,
            frame=config.frame,
            view_yaw_rad=config.view_yaw_rad,
            level=config.level,
        )
        self.device = published(self.settings.make_device(config.device), self._publish)

    def start(self) -> None:
        """Opens the device, and begins to drive if it is to."""
        self.device.open()
        if self.config.drive:
            self.hand.start()

    def halt(self) -> None:
        """Stops driving, gives the device back."""
        self.hand.halt()
        self.device.close()

    # The device

    def _publish(self, state: DeviceState) -> None:
        self._state = state
        self._joy.publish(self._sender.message(state, self.get_clock().now().to_msg()))
        for button in state.pressed:
            if button in KEYS:
                self._keys.publish(String(data=KEYS[button]))
        self._watch.tick()

    def _poll(self) -> None:
        """Looks at the device while nobody else does."""
        if not self.active or self.hand.running:
            return
        try:
            self.device.poll(time.monotonic_ns())
        except DeviceLost as error:
            self.failure = " ".join(str(error).split())

    # Driving

    def _drive(self, stopping: threading.Event) -> None:
        try:
            with TopicLink(self.get_namespace(), cancelled=stopping) as link:
                Driver(self.task, link, self.device, self.settings.make_mapping(self.task.action)).drive()
        except DeviceLost as error:
            self.failure = " ".join(str(error).split())

    # What it says

    def _say(self) -> Saying:
        trouble = self.hand.trouble
        words = trouble or ("drives" if self.hand.running else "device only")
        return "hand", ERROR if trouble else OK, words, {"dead_man": self._state.held}


def main() -> int:
    """`python -m ros_nodes.teleop_node --ros-args -p device:=gamepad -p drive:=true -r __ns:=/arm`."""
    return run_node(TeleopNode)


if __name__ == "__main__":
    sys.exit(main())
