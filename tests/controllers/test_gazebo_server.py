"""The server behind the arm on Gazebo: it repeats itself to the bit, is reached by nobody else, and ends in order."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.description import Box, Fixture, Pose, Scene, fr3, parallel_gripper_tool, square_peg_tool
from controllers.link import LockstepLink
from controllers.robots.base import RobotFault
from controllers.robots.gazebo.protocol import HEAD, Operation, decode_head, encode
from controllers.robots.gazebo_arm import GazeboArm
from controllers.types import REPORT, STATE, Command
from data.errors import UserError
from tests.controllers.gazebo_tools import require_gazebo

pytestmark = pytest.mark.slow
ARM = fr3()
BLOCK = Fixture(name="block", geoms=(Box(size_m=(0.1, 0.1, 0.04)),), movable=True)
SCENE = Scene(tool=square_peg_tool(), fixtures=(BLOCK,))
STIFF = np.array([800.0] * 3 + [40.0] * 3)


@pytest.fixture
def arm() -> Iterator[GazeboArm]:
    require_gazebo()
    arm = GazeboArm(ARM, SCENE, seed=1)
    yield arm
    arm.stop()


def socket_of(arm: GazeboArm) -> str:
    """Where its plugin listens."""
    return socket_path(psutil.Process(arm.server.pid))


def socket_path(server: psutil.Process) -> str:
    names = [str(item.laddr) for item in server.net_connections("unix")]
    return next(name for name in names if name.endswith("/socket"))


def episode(arm: GazeboArm) -> NDArray[np.void]:
    """States of a short episode that presses on the block, from the same start each time: joint springs, no chain."""
    arm.reseed(7)
    arm.place("block", Pose(np.array([0.5, 0.0, 0.02])))
    model, down = ArmModel(ARM, SCENE.tool), np.array([1.0, 0.0, 0.0, 0.0])
    start, goal = (
        model.inverse_kinematics(Pose(np.array([0.5, y, z]), down), ARM.home_rad)
        for y, z in ((0.0, 0.045), (0.01, 0.03))
    )
    arm.teleport(start)
    arm.tare()
    states = np.zeros(600, STATE)
    for tick in range(len(states)):
        state = states[tick : tick + 1]
        arm.read(state)
        arm.write(300.0 * (goal - state["q_rad"][0]) - 30.0 * state["qd_rad_s"][0])
    return states


def test_an_episode_repeats_itself_to_the_bit_in_one_server_and_in_another(arm: GazeboArm) -> None:
    episodes = [episode(arm), episode(arm)]
    other = GazeboArm(ARM, SCENE, seed=1)
    try:
        episodes.append(episode(other))
    finally:
        other.stop()
    assert np.abs(episodes[0]["wrench_tool"][:, 2]).max() > 5.0, "it presses on the block"
    for later in episodes[1:]:
        for name in ("q_rad", "qd_rad_s", "tau_applied_nm", "wrench_tool"):
            np.testing.assert_array_equal(episodes[0][name], later[name], err_msg=name)


def test_a_snapshot_is_gone_on_from_to_the_bit(arm: GazeboArm) -> None:
    link = LockstepLink(arm, ArmModel(ARM, SCENE.tool))
    start = link.latest()
    link.send(Command(start.position_base_m - 0.03, start.quaternion_base_xyzw, STIFF, duration_s=0.05))
    link.step(0.06)

    def go_on() -> NDArray[np.void]:
        arm.reseed(3)
        return link.step(0.2)

    kept = {**arm.snapshot(), **link.snapshot()}
    first = go_on()
    arm.place("block", Pose(np.array([0.6, 0.2, 0.3])))
    arm.restore(kept)
    link.restore(kept)
    second = go_on()
    assert np.abs(first["qd_rad_s"]).max() > 1e-3, "it moves"
    for name in REPORT.names or ():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_it_listens_on_loopback_only_and_takes_one_client(arm: GazeboArm) -> None:
    process = psutil.Process(arm.server.pid)
    addresses = {item.laddr.ip for item in process.net_connections("inet")}
    assert addresses == {"127.0.0.1"}
    with socket.socket(socket.AF_UNIX) as second:
        second.connect(socket_of(arm))
        second.sendall(encode(Operation.GET))
        second.settimeout(0.5)
        with pytest.raises(TimeoutError):
            second.recv(1)
    arm.write(np.zeros(7))


def test_it_says_what_it_refuses_and_goes_on(arm: GazeboArm) -> None:
    with pytest.raises(ValueError, match="Gazebo refused STEP: expected finite numbers"):
        arm.write(np.array([0.0] * 6 + [np.nan]))
    with pytest.raises(ValueError, match="Gazebo refused STEP: expected 7 numbers, got 48 bytes"):
        arm.server.request(Operation.STEP, 1, np.zeros(6))
    with pytest.raises(ValueError, match="Gazebo refused POSE: the world has no fixture door"):
        arm.server.request(Operation.POSE, 0, [0, 0, 0, 0, 0, 0, 1], "door")
    with pytest.raises(ValueError, match="Gazebo refused HELLO: this plugin speaks version 1"):
        arm.server.request(Operation.HELLO, 2)
    arm.write(np.full(7, 1000.0))
    np.testing.assert_array_equal(arm.server.request(Operation.GET)["tau_nm"][0], ARM.max_torque_nm)


def test_a_killed_server_is_an_error_at_once(arm: GazeboArm) -> None:
    link = LockstepLink(arm, ArmModel(ARM, SCENE.tool))
    link.step(0.01)
    os.kill(arm.server.pid, signal.SIGKILL)
    began_s = time.monotonic()
    with pytest.raises(RobotFault, match=r"process \d+\) is gone \(killed by SIGKILL\); start again"):
        link.step(1.0)
    link.close()
    assert time.monotonic() - began_s < 3.0


def test_a_server_that_lies_still_is_an_error_too(arm: GazeboArm) -> None:
    os.kill(arm.server.pid, signal.SIGSTOP)
    while psutil.Process(arm.server.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    try:
        with pytest.raises(RobotFault, match="does not answer within 5 s"):
            arm.write(np.zeros(7))
    finally:
        os.kill(arm.server.pid, signal.SIGCONT)


def test_sigint_ends_it_and_so_does_closing(arm: GazeboArm) -> None:
    process = psutil.Process(arm.server.pid)
    arm.write(np.zeros(7))
    began_s = time.monotonic()
    arm.stop()
    assert not process.is_running() and time.monotonic() - began_s < 5.0, "by SIGINT: it was not killed"
    other = GazeboArm(ARM, SCENE)
    os.kill(other.server.pid, signal.SIGINT)
    assert other.server.wait(10.0) == 0
    other.stop()
    arm.stop()


@pytest.mark.parametrize("hangs", [False, True])
def test_it_ends_with_a_parent_that_is_killed_and_if_it_hangs_when_the_next_one_starts(
    hangs: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    require_gazebo()
    own = tempfile.mkdtemp(prefix="gz")  # the next server of another test would clear up too; a socket's path is short
    request.addfinalizer(lambda: shutil.rmtree(own))
    monkeypatch.setattr(tempfile, "tempdir", own)
    monkeypatch.setenv("TMPDIR", own)
    program = """
import time
from controllers.description import Scene, fr3, square_peg_tool
from controllers.robots.gazebo_arm import GazeboArm
arm = GazeboArm(fr3(), Scene(tool=square_peg_tool()))
print(arm.server.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        left = Path(socket_path(server)).parent
        if hangs:
            server.suspend()
        parent.kill()
    if not hangs:
        server.wait(15.0)
    assert left.is_dir(), "nobody was there to remove it"
    GazeboArm(ARM, SCENE).stop()
    server.wait(5.0)
    assert not left.exists(), "the next server did"


def test_a_client_that_leaves_takes_its_torque_along(arm: GazeboArm) -> None:
    path = socket_of(arm)
    arm.write(np.full(7, 3.0))
    arm.server.disconnect()
    with socket.socket(socket.AF_UNIX) as next_client:
        next_client.settimeout(10.0)
        next_client.connect(path)
        names = "\n".join(joint.name for joint in ARM.joints)
        for request in (encode(Operation.HELLO, 1, name=names), encode(Operation.GET)):
            next_client.sendall(request)
            head = decode_head(next_client.recv(HEAD.size, socket.MSG_WAITALL))
            body = next_client.recv(head.size, socket.MSG_WAITALL)
    np.testing.assert_array_equal(np.frombuffer(body)[15:22], 0.0)


def test_a_tool_with_a_gripper_is_refused_before_anything_starts() -> None:
    require_gazebo()
    with pytest.raises(UserError, match="Gazebo here moves no gripper, and parallel_gripper has one: use robot=mujoco"):
        GazeboArm(ARM, Scene(tool=parallel_gripper_tool()))
