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
from std_srvs.srv import Trigger

from data.errors import UserError
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
from ros_nodes.topic_link import LinkCancelled, TopicLink

POLL_S = 0.02
KEYS = {Button.SUCCESS: "success", Button.DISCARD: "discard"}
"""Presses that a recorder may follow, and what its topic calls them."""


class TeleopNode(ManagedNode[TeleopNodeConfig]):
    """Topics `teleop/joy` and `recorder/key`; services `~/start` and `~/stop` of driving."""

    config_class = TeleopNodeConfig

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop", **options)
        self._sender = JoySender()
        self._link: TopicLink | None = None
        self._worker: threading.Thread | None = None
        self._driving = False
        self._state = DeviceState(0)
        self.trouble = ""
        self._joy = self.create_publisher(Joy, TOPIC, qos.states())
        self._keys = self.create_publisher(String, "recorder/key", qos.streams())
        self._watch = self.diagnostics.watch("device", 1.0 / POLL_S, 0.5)
        self.create_service(Trigger, "~/start", self._serve_start)
        self.create_service(Trigger, "~/stop", self._serve_stop)
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
            self.play()

    def halt(self) -> None:
        """Stops driving, gives the device back."""
        self.cease()
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
        if not self.active or self._driving:
            return
        try:
            self.device.poll(time.monotonic_ns())
        except DeviceLost as error:
            self.failure = " ".join(str(error).split())

    # Driving

    def play(self) -> tuple[bool, str]:
        """Begins to drive. Returns whether it does, and words."""
        if self._driving:
            return False, "it drives already"
        if self._worker is not None:
            self._worker.join()
        self._driving, self.trouble = True, ""
        self._worker = threading.Thread(target=self._work, name="hand", daemon=True)
        self._worker.start()
        return True, "the arm follows the device while its dead-man is held"

    def cease(self) -> None:
        """Ends driving, and waits for that; the arm holds where it is."""
        link = self._link
        if link is not None:
            link.cancelled.set()
        if self._worker is not None:
            self._worker.join(20.0)
            self._worker = None

    def _work(self) -> None:
        link: TopicLink | None = None
        try:
            link = self._link = TopicLink(self.get_namespace())
            mapping = self.settings.make_mapping(self.task.action)
            Driver(self.task, link, self.device, mapping).drive()
        except LinkCancelled:
            pass
        except DeviceLost as error:
            self.failure = " ".join(str(error).split())
        except UserError as error:
            self.trouble = " ".join(str(error).split())
            self.get_logger().error(self.trouble)
        finally:
            self._link = None
            if link is not None:
                link.close()
            self._driving = False

    # What it says

    def _say(self) -> Saying:
        words = self.trouble or ("drives" if self._driving else "device only")
        return "hand", ERROR if self.trouble else OK, words, {"dead_man": self._state.held}

    def _serve_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.play() if self.active else (False, "the node is not active")
        return response

    def _serve_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.cease()
        response.success, response.message = True, "stopped, the arm holds"
        return response


def main() -> int:
    """`python -m ros_nodes.teleop_node --ros-args -p device:=gamepad -p drive:=true -r __ns:=/arm`."""
    return run_node(TeleopNode)


if __name__ == "__main__":
    sys.exit(main())
