"""The Franka Hand on its own connection: never in the way of the loop."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.description.fr3 import fr3
from controllers.description.tool import parallel_gripper_tool
from controllers.robots.franka_gripper import FrankaGripper
from controllers.robots.franka_simulator import FrankaSimulator, simulated_robot
from controllers.types import Command
from data.errors import UserError
from tests.controllers.franka_server import link_to, name
from tests.system.test_motor_process import eventually

__all__ = ["name"]
pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")


@pytest.fixture(scope="module")
def hand() -> Iterator[FrankaSimulator]:
    with simulated_robot(fr3(), parallel_gripper_tool(), gripper=True, punctual=False) as simulator:
        yield simulator


@pytest.mark.slow
@pytest.mark.alone
def test_it_moves_to_an_opening_and_grips_at_the_closed_end_without_ever_waiting(hand: FrankaSimulator) -> None:
    gripper = FrankaGripper(hand.ip, 0.1, 40.0)
    try:
        for wish_m in (0.08, 0.03, 0.05, 0.0, 0.06):
            begun = time.perf_counter()
            gripper.grip(wish_m)
            assert time.perf_counter() - begun < 0.05
            assert eventually(lambda wish_m=wish_m: abs(gripper.opening_m - wish_m) < 1e-3)  # type: ignore[misc]
        assert gripper.failures == 0
        pid = gripper.pid
    finally:
        gripper.close()
    gripper.close()
    assert not Path(f"/proc/{pid}").exists() and math.isnan(gripper.opening_m)


@pytest.mark.slow
@pytest.mark.alone
def test_a_gripper_that_is_gone_reads_nan_and_stops_nothing(hand: FrankaSimulator) -> None:
    gripper = FrankaGripper(hand.ip, 0.1, 40.0)
    assert eventually(lambda: not math.isnan(gripper.opening_m))
    os.kill(gripper.pid, signal.SIGKILL)
    assert eventually(lambda: math.isnan(gripper.opening_m))
    gripper.grip(0.02)
    gripper.close()


@pytest.mark.slow
@pytest.mark.alone
def test_the_arm_follows_the_executed_opening_while_it_moves(hand: FrankaSimulator, name: str) -> None:
    with link_to(hand.ip, name, tool=parallel_gripper_tool()) as link:
        start = link.latest()
        for opening_m in (0.02, 0.07):
            there = start.position_base_m, start.quaternion_base_xyzw
            link.send(Command(*there, np.array([600.0] * 3 + [40.0] * 3), gripper_m=opening_m, duration_s=2.0))
            assert eventually(lambda opening_m=opening_m: abs(link.step(0.1)["gripper_m"][-1] - opening_m) < 1e-3)  # type: ignore[misc]
        link.step(0.5)
        assert link.status().success_rate > 0.9
        assert not link.latest().latched


@pytest.mark.slow
@pytest.mark.alone
def test_the_server_gets_none_of_our_libraries(hand: FrankaSimulator) -> None:
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{hand.pid}/environ").read_bytes().split(b"\0")}
    assert b"FR3_MJCF" in names
    assert not names & {b"LD_LIBRARY_PATH", b"_ROS_WHEELS_BOOTSTRAP_COMPLETE", b"PYTHONPATH"}


_BLOCKED_HAND = """
import os
from types import SimpleNamespace


class FrankaException(Exception):
    pass


class CommandException(RuntimeError):
    pass


class Gripper:
    def __init__(self, ip):
        self.width = 0.08

    def read_once(self):
        if os.path.exists(os.environ["CABLE_PULLED"]):
            raise FrankaException("libfranka gripper: server closed connection")
        return SimpleNamespace(width=self.width)

    def move(self, width, speed):
        if width > 0.07:
            raise FrankaException("libfranka gripper: Command not possible")
        self.width = width
        return True

    def grasp(self, *wish):
        raise CommandException("libfranka gripper: Command failed!")
"""
"""In place of pylibfranka: a hand whose grasps fail, as do moves beyond 7 cm."""


def test_an_order_that_fails_is_counted_and_only_a_broken_connection_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pylibfranka.py").write_text(_BLOCKED_HAND)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(Path(__file__).parents[2]))))
    monkeypatch.setenv("CABLE_PULLED", str(tmp_path / "pulled"))
    gripper = FrankaGripper("10.0.0.1", 0.1, 40.0)
    try:
        gripper.grip(0.0)
        assert eventually(lambda: gripper.failures == 1)
        gripper.grip(0.075)
        assert eventually(lambda: gripper.failures == 2)
        gripper.grip(0.03)
        assert eventually(lambda: gripper.opening_m == 0.03) and gripper.failures == 2
        (tmp_path / "pulled").touch()
        assert eventually(lambda: math.isnan(gripper.opening_m))
    finally:
        gripper.close()
    said = capfd.readouterr().err.splitlines()
    assert "did not move to 0 mm" in said[0] and "did not move to 75 mm" in said[1]
    assert len(said) == 3 and "the connection broke" in said[2], said


def test_no_gripper_at_the_address_is_told_with_the_cure() -> None:
    with pytest.raises(UserError, match=r"no gripper at 127.0.0.1: .*robot_config.gripper=false"):
        FrankaGripper("127.0.0.1", 0.1, 40.0)
