"""No topic raises a limit: whatever comes in over DDS goes through the checks of the tick."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="install the extra [ros]")

from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, UInt8MultiArray

from controllers.description.fr3 import fr3
from controllers.shared_memory.layout import Request
from controllers.shared_memory.sides import ParentSide
from controllers.types import COMMAND, Command
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.wire import draw_sender, pack
from safety.reasons import Reason
from tests.ros_nodes.conftest import NodeProcess, StartNode, wait_until, watched

CHAIN = chain_of(make_task("peg_insertion", "default", {}), layers_from({}))
STIFFEST = np.array(CHAIN.limiter.stiffness_max)


@pytest.fixture
def controller(start_node: StartNode) -> NodeProcess:
    node = start_node("ros_nodes.controller_node", {"realtime": False})
    node.wait_for("runs:")
    return node


def judge_limits(reports: NDArray[Any], home_base_m: NDArray[np.float64]) -> None:
    """What the tick let through stays within the limits of the task; home may stand outside of its box."""
    assert len(reports) > 100
    assert (reports["executed_stiffness"] <= STIFFEST + 1e-9).all()
    assert (np.abs(reports["tau_executed_nm"]) <= 0.8 * fr3().max_torque_nm + 1e-9).all()
    steps_m = np.linalg.norm(np.diff(reports["executed_position_base_m"], axis=0), axis=1)
    follows = (reports["sequence"] >= 0) & (reports["reason"] < Reason.HOLD)  # a hold begins where the arm is
    free = (np.diff(reports["tick"]) == 1) & follows[1:]
    assert steps_m[free].max(initial=0.0) <= CHAIN.limiter.max_speed_m_s / CHAIN.rate_hz + 1e-9
    low_m = np.minimum(CHAIN.limiter.box_min_base_m, home_base_m) - 0.02
    high_m = np.maximum(CHAIN.limiter.box_max_base_m, home_base_m) + 0.02
    assert (reports["executed_position_base_m"] >= low_m).all() and (
        reports["executed_position_base_m"] <= high_m
    ).all()


@pytest.mark.slow
@pytest.mark.calm
def test_whatever_topics_ask_for_the_limits_stay(controller: NodeProcess, namespace: str, here: Node) -> None:
    command = here.create_publisher(UInt8MultiArray, "motor/command", qos.targets())
    stiffness = here.create_publisher(Float64MultiArray, "target_stiffness", qos.targets())
    wrench = here.create_publisher(WrenchStamped, "target_wrench", qos.targets())
    wait_until(lambda: all(p.get_subscription_count() for p in (command, stiffness, wrench)), "discovery")
    with watched(namespace) as side:
        press_everything(side, command, stiffness, wrench)


def press_everything(side: ParentSide, command: Any, stiffness: Any, wrench: Any) -> None:
    """Asks over three publishers for more than is allowed, and judges what the tick made of it."""
    newest = side.ring.newest()
    assert newest is not None
    place, turn = newest["position_base_m"][0].copy(), newest["quaternion_base_xyzw"][0].copy()
    wishes: list[dict[str, Any]] = [
        {"stiffness": STIFFEST},
        {"stiffness": 100.0 * STIFFEST},
        {"position_base_m": place + 0.2},
        {"position_base_m": place + 5.0},
        {"feedforward_wrench_base": np.array([1e4, 0.0, 0.0, 0.0, 0.0, 0.0])},
        {"damping_ratio": 1e6},
        {"duration_s": 1e9},
    ]
    sender, sequence = draw_sender(), 0
    for wish in wishes:
        side.ring.skip()
        for _ in range(10):
            sequence += 1
            values = {"position_base_m": place, "quaternion_base_xyzw": turn, "stiffness": STIFFEST, **wish}
            record = np.zeros((), COMMAND)
            Command(**values, sequence=sequence, stamp_ns=time.monotonic_ns()).write_to(record)
            command.publish(pack("command", record, sender))
            time.sleep(0.03)
        wait_until(lambda: side.ring.waiting > 100, "ticks")
        judge_limits(side.ring.drain(), place)
    time.sleep(1.5)  # another sender may have the arm
    side.ring.skip()
    push = WrenchStamped()
    push.header.frame_id, push.wrench.force.x = "base", 1e4
    for _ in range(10):
        stiffness.publish(Float64MultiArray(data=list(100.0 * STIFFEST)))
        wrench.publish(push)
        time.sleep(0.03)
    wait_until(lambda: side.ring.waiting > 100, "ticks")
    judge_limits(side.ring.drain(), place)


def test_what_can_be_asked_for_holds_no_limit() -> None:
    """Whoever adds a field or a request has to look here whether it loosens anything."""
    assert set(COMMAND.names or ()) == {
        "sequence", "stamp_ns", "source", "position_base_m", "quaternion_base_xyzw", "stiffness", "damping_ratio",
        "feedforward_wrench_base", "gripper_m", "duration_s",
    }  # fmt: skip
    assert {kind.name for kind in Request} == {
        "RESEED", "STOP", "TELEPORT", "PLACE_FIXTURE", "TARE", "SEED_SENSOR", "GRANT", "ESTOP", "PUSH",
    }  # fmt: skip
