"""What the tests of the FR3 driver share: a simulated robot behind the real protocol, and motor processes for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import ToolDescription, square_peg_tool
from controllers.flight.config import FlightConfig
from controllers.latch_memory import latch_path
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_motor import STALL_TIMEOUT_S, franka_motor
from controllers.robots.franka_simulator import FrankaSimulator, simulated_robot
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from safety.supervision import HeartbeatConfig, SupervisorConfig

SHARED_MACHINE = SupervisorConfig(late_ticks=1000, heartbeats=HeartbeatConfig(loop_s=(0.5, 1.0)))
"""A machine that others use too may be late, server and loop alike: to judge that is the bench's business."""


def link_to(
    ip: str, name: str, *, tool: ToolDescription | None = None, motor: dict[str, Any] | None = None, **robot: Any
) -> SharedMemoryLink:
    """A link to a new motor process of the robot at an address, with all safety layers; `robot`: FrankaConfig's."""
    config = FrankaConfig(ip, **{"wrench": "observer", "stop_success_rate": 0.0, **robot})
    parts = {
        "supervisor": SHARED_MACHINE,
        "chain": ChainConfig(),
        "flight": FlightConfig(enabled=False),
        **(motor or {}),
    }
    motor_config = franka_motor(name, arm=fr3(), tool=tool or square_peg_tool(), robot=config, **parts)
    return SharedMemoryLink(SharedMemoryLinkConfig(motor_config, stall_timeout_s=STALL_TIMEOUT_S))


@pytest.fixture(scope="module")
def robot() -> Iterator[FrankaSimulator]:
    """A simulated FR3 with the square peg for the tests of one file, one client after the other, patient with us."""
    pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")
    with simulated_robot(fr3(), square_peg_tool(), punctual=False) as simulator:
        yield simulator


@pytest.fixture
def name() -> Iterator[str]:
    """A motor's name of its own, whose latch is forgotten afterwards."""
    name = f"test-fr3-{uuid.uuid4().hex[:12]}"
    yield name
    latch_path(name).unlink(missing_ok=True)
    latch_path(name).with_name(f"robot-rl.leave-{name}").unlink(missing_ok=True)
