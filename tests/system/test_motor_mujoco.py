"""The simulated arm in real time, in a motor process of its own."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.description.fr3 import fr3
from controllers.description.geometry import Box, Pose
from controllers.description.scene import Fixture, Scene
from controllers.description.tool import parallel_gripper_tool, square_peg_tool
from controllers.motor_config import mujoco_motor
from controllers.realtime import ORDINARY
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command


def test_it_follows_commands_teleports_and_moves_fixtures() -> None:
    block = Fixture(name="block", geoms=(Box(size_m=(0.05, 0.05, 0.05)),), movable=True)
    scene = Scene(tool=square_peg_tool(), fixtures=(block,))
    motor = mujoco_motor(f"test-{uuid.uuid4().hex[:12]}", arm=fr3(), scene=scene, realtime=ORDINARY)
    with SharedMemoryLink(SharedMemoryLinkConfig(motor)) as link:
        start = link.latest()
        goal = start.position_base_m + np.array([0.0, 0.0, 0.02])
        for _ in range(100):  # on a busy machine ticks are left out, and the simulated arm falls behind the clock
            link.send(Command(goal, start.quaternion_base_xyzw, np.array([800.0] * 3 + [40.0] * 3)))
            reports = link.step(0.1)
            if np.linalg.norm(reports["position_base_m"][-1] - goal) < 0.002:
                break
        assert np.linalg.norm(reports["position_base_m"][-1] - goal) < 0.003
        home = fr3().home_rad
        link.teleport(home + 0.05)
        reports = link.step(0.05)
        assert np.abs(reports["q_rad"][-1] - home - 0.05).max() < 0.01
        away_m = np.abs(reports["executed_position_base_m"] - reports["position_base_m"])[-1].max()
        assert away_m < 1e-3, "a reference left behind would pull the arm back"
        link.place("block", Pose(np.array([0.5, 0.2, 0.1])))
        link.tare()
        with pytest.raises(ValueError, match="no movable fixture 'door'"):
            link.place("door", Pose())


def test_its_gripper_opens_and_closes_until_an_object_stops_it() -> None:
    arm, tool = fr3(), parallel_gripper_tool((0.0, 0.08))
    home = ArmModel(arm, tool).forward(arm.home_rad)
    block = Fixture(name="block", geoms=(Box(size_m=(0.03, 0.03, 0.03)),), T_base_fixture=home)
    motor = mujoco_motor(
        f"test-{uuid.uuid4().hex[:12]}", arm=arm, scene=Scene(tool=tool, fixtures=(block,)), realtime=ORDINARY
    )
    with SharedMemoryLink(SharedMemoryLinkConfig(motor)) as link:

        def grip(opening_m: float) -> Any:
            enough = link.latest().tick + 1500  # simulated milliseconds: on a busy machine they take longer
            while link.latest().tick < enough:
                command = Command(home.position_m, home.quaternion_xyzw, np.array([800.0] * 3 + [40.0] * 3))
                link.send(replace(command, gripper_m=opening_m))
                link.step(0.1)
            return link.latest()

        assert link.latest().gripper_m == pytest.approx(0.08, abs=1e-5)
        closed = grip(-1.0)
        assert (closed.proposed_gripper_m, closed.executed_gripper_m) == (-1.0, 0.0)
        assert closed.gripper_m == pytest.approx(0.03, abs=3e-4), "the block stands between the pads"
        assert grip(0.06).gripper_m == pytest.approx(0.06, abs=1e-4)
        left = grip(float("nan"))
        assert np.isnan(left.executed_gripper_m) and left.gripper_m == pytest.approx(0.06, abs=1e-4)


BUILD = """
from controllers.description.fr3 import fr3
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.motor_config import mujoco_motor
from controllers.robots import mujoco_native

mujoco_motor("any", arm=fr3(), scene=Scene(tool=square_peg_tool())).build()
print(len(mujoco_native.sense.signatures))
"""


def test_the_sensors_kernel_is_compiled_before_the_loop_is_armed() -> None:
    built = subprocess.run([sys.executable, "-c", BUILD], check=True, capture_output=True, text=True)
    assert int(built.stdout) == 1
