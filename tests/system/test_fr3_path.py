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
from tests.ros_nodes.conftest import called, clean_memory, here, namespace, ros_domain, wait_until
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
    called(here, "controller/home")
    wait_for(lambda: "home," in up.said(), 90.0, up.said)

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


def trajectory(here: Node, poses: list[PoseStamped]) -> None:
    """Follows a demonstrated circle, and does so within the leash."""
    publisher = here.create_publisher(PoseStamped, "target_pose", qos.targets())
    wait_until(publisher.get_subscription_count, "discovery")
    begin = poses[-1].pose
    worst_m, began_s = 0.0, time.monotonic()
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
        worst_m = max(worst_m, float(np.linalg.norm(goal - [now.x, now.y, now.z])))
    assert worst_m < 0.04, f"{1000.0 * worst_m:.0f} mm beside the demonstrated path"
