"""The FR3's whole way over topics, against a server that speaks the robot's own protocol.

Bring-up held, armed by a person, homing, a demonstrated trajectory, hold, stop, and the operator's recovery.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("pylibfranka", reason="install the extra [franka]")

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.latch_memory import latch_path
from controllers.person import look
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_simulator import FrankaSimulator, simulated_robot
from ros_nodes import qos
from safety.reasons import Reason
from safety.supervision import SupervisorState
from tests.ros_nodes.conftest import asked, called, clean_memory, here, namespace, ros_domain, wait_until
from tests.system.bring_up import END_S, Up, wait_for

__all__ = ["clean_memory", "here", "namespace", "ros_domain"]
pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def robot() -> Iterator[FrankaSimulator]:
    with simulated_robot(fr3(), square_peg_tool(), punctual=False) as simulator:
        yield simulator
        name = FrankaConfig(simulator.ip).motor_name
        latch_path(name).unlink(missing_ok=True)
        latch_path(name).with_name(f"robot-rl.leave-{name}").unlink(missing_ok=True)


@pytest.fixture
def up(robot: FrankaSimulator, namespace: str, tmp_path: Path) -> Iterator[Up]:
    driver = "robot_config=wrench=observer stop_success_rate=0.0"
    up = Up(["robot", f"robot_ip={robot.ip}", driver, f"namespace={namespace}", "realtime=false"], tmp_path / "up.log")
    yield up
    up.end()


def test_from_bring_up_to_recovery(robot: FrankaSimulator, up: Up, here: Node) -> None:
    motor = FrankaConfig(robot.ip).motor_name
    poses: list[PoseStamped] = []
    here.create_subscription(PoseStamped, "current_pose", poses.append, qos.states())
    up.wait_until_up()
    wait_until(lambda: look(motor).hold_reason == Reason.PERSON_HOLD, "held from the start")

    called(here, "supervisor/arm")
    wait_until(lambda: look(motor).hold_reason == 0, "armed")
    go_home(here, up)

    trajectory(here, poses)

    called(here, "supervisor/hold")
    wait_until(lambda: look(motor).state == SupervisorState.HOLD, "held")
    called(here, "supervisor/arm")
    called(here, "supervisor/stop")
    wait_until(lambda: look(motor).state == SupervisorState.ESTOP, "stopped")
    called(here, "supervisor/release")
    called(here, "supervisor/reset")
    assert look(motor).state == SupervisorState.ESTOP, "a person's reset lets a program go on, and moves nothing"
    time.sleep(1.1)  # who followed the trajectory is gone once it was silent for a second
    called(here, "controller/start_over")
    wait_until(lambda: look(motor).state == SupervisorState.ARMED, "armed again")
    called(here, "controller/home")
    assert "motion limit violated" not in robot.log()
    up.process.terminate()
    assert up.process.wait(END_S) == 0, up.said()
    assert "Traceback" not in up.said()


def go_home(here: Node, up: Up) -> None:
    """Sends the arm home, again where a program that stalled had it held on its way."""
    sent_after = -1

    def arrived() -> bool:
        nonlocal sent_after
        broken_off = up.said().count("mode home ended")
        if sent_after != broken_off and asked(here, "controller/home").success:
            sent_after = broken_off
        return "home," in up.said()

    wait_for(arrived, 90.0, up.said)


def trajectory(here: Node, poses: list[PoseStamped]) -> None:
    """Follows a demonstrated circle: near its line, across most of it, and back."""
    publisher = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    wait_until(publisher.get_subscription_count, "discovery")
    begin = poses[-1].pose
    way_m: list[Any] = []
    began_s = time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < 6.0:
        angle = 2.0 * np.pi * elapsed_s / 6.0
        message = PoseStamped()
        message.header.frame_id = "base"
        message.pose.orientation = begin.orientation
        p, b = message.pose.position, begin.position
        goal = np.array([b.x, b.y, b.z]) + 0.03 * np.array([np.cos(angle) - 1.0, np.sin(angle), 0.0])
        p.x, p.y, p.z = goal.tolist()
        publisher.publish(message)
        time.sleep(0.02)
        now: Any = poses[-1].pose.position
        way_m.append(np.array([now.x - b.x + 0.03, now.y - b.y, now.z - b.z]))
    beside_m = np.hypot(np.linalg.norm([m[:2] for m in way_m], axis=1) - 0.03, [m[2] for m in way_m])
    assert beside_m.max() < 0.025, f"{1000.0 * beside_m.max():.0f} mm beside the demonstrated circle"
    far_m = np.linalg.norm(np.array(way_m) - way_m[0], axis=1)
    assert far_m.max() > 0.04, f"only {1000.0 * far_m.max():.0f} mm of its 60 mm across"
    assert far_m[-1] < 0.04, f"it ended {1000.0 * far_m[-1]:.0f} mm from its beginning"
