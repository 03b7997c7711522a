"""A task on Gazebo: in lock-step, in real time, and behind the topics of a controller node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from controllers.realtime import RealtimeConfig
from controllers.robots.gazebo.prefix import installed
from controllers.robots.gazebo_arm import GazeboArm
from controllers.robots.rendering import RenderError
from controllers.shared_memory_link import MotorProcessDied, SharedMemoryLink
from data.errors import UserError
from robot_rl.bringup import table
from robot_rl.bringup.environment import require_simulator
from robot_rl.bringup.resolve import fill
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.registry import make_task
from tests.controllers.gazebo_tools import require_gazebo
from tests.system.command_line import PROGRAM

ORDINARY = RealtimeConfig(priority=0, core=-2, lock_memory=False)


def servers_below(pid: int) -> list[psutil.Process]:
    """The gzserver processes of a process and of those that it started."""
    family = psutil.Process(pid).children(recursive=True)
    return [member for member in family if "gzserver" in " ".join(member.cmdline())]


def act(env: RobotEnv, steps: int) -> list[float]:
    """Some decisions towards the goal; returns the tool's height after each."""
    heights = []
    action = np.zeros(env.task.action.size, np.float32)
    action[2] = 0.5  # along the direction of insertion
    for _ in range(steps):
        _, _, _, _, info = env.step(action)
        assert not info["held"]
        heights.append(float(env.sensed.T_base_tool.position_m[2]))
    return heights


@pytest.mark.slow
def test_an_insertion_starts_and_goes_on_in_lock_step_whichever_way_it_is_reset() -> None:
    require_gazebo()
    for teleport in (True, False):
        env = make_env(make_task("peg_insertion"), robot="gazebo", seed=3, teleport=teleport)
        try:
            assert isinstance(env.world, GazeboArm)
            for seed in (1, 2):
                env.reset(seed=seed)
                off_m, off_rad = env.sensed.T_base_tool.distance(env.draw.T_base_start)
                assert off_m < 0.004 and off_rad < 0.03
                heights = act(env, 6)
                assert heights[-1] < heights[0] - 0.003, "it goes down"
            kept = env.snapshot()
            env.restore(kept)
            env.reset(seed=4)
        finally:
            env.close()


@pytest.mark.slow
def test_a_reset_by_teleport_and_what_follows_are_bit_equal() -> None:
    require_gazebo()
    seen = []
    env = make_env(make_task("peg_insertion"), robot="gazebo", seed=3, teleport=True)
    try:
        for _ in range(2):
            observation, _ = env.reset(seed=5)
            rows = [observation]
            for action in np.random.default_rng(0).uniform(-0.6, 0.6, (8, env.task.action.size)):
                rows.append(env.step(action.astype(np.float32))[0])
            seen.append(rows)
    finally:
        env.close()
    for first, second in zip(*seen, strict=True):
        for key in first:
            np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.alone
def test_in_real_time_it_has_a_motor_process_and_a_killed_server_ends_the_episode() -> None:
    require_gazebo()
    env = make_env(make_task("peg_insertion"), robot="gazebo", realtime=ORDINARY, teleport=True)
    try:
        assert isinstance(env.link, SharedMemoryLink)
        env.reset(seed=1)
        heights = act(env, 10)
        assert heights[-1] < heights[0] - 0.002
        (server,) = servers_below(os.getpid())
        began_s = time.monotonic()
        server.kill()
        with pytest.raises(MotorProcessDied, match="look at the arm, then start again"):
            act(env, 50)
        assert time.monotonic() - began_s < 5.0
    finally:
        env.close()


@pytest.mark.slow
@pytest.mark.alone
def test_closing_in_real_time_leaves_no_server() -> None:
    require_gazebo()
    env = make_env(make_task("peg_insertion"), robot="gazebo", realtime=ORDINARY, teleport=True)
    (server,) = servers_below(os.getpid())
    env.close()
    server.wait(10.0)


@pytest.mark.slow
@pytest.mark.alone
def test_up_sim_on_gazebo_comes_up_and_the_arm_follows_its_first_action(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="install the extra [ros]")
    require_gazebo()
    namespace = f"gazebo{os.getpid()}"
    log = tmp_path / "up.log"
    words = [str(PROGRAM), "up", "sim", "robot=gazebo", f"namespace={namespace}", "realtime=false"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(120 + os.getpid() % 80)}
    with log.open("w") as output:
        up = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=environment,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 240.0
        while "all is up after" not in log.read_text():
            assert up.poll() is None and time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        (server,) = servers_below(up.pid)
        action = subprocess.run(
            [sys.executable, "-m", "ros_nodes.first_action", namespace], capture_output=True, text=True, check=False,
            env=environment,
        )  # fmt: skip
        assert action.returncode == 0, action.stderr
        assert action.stdout.startswith("the arm follows: torque written")
        up.send_signal(signal.SIGINT)
        assert up.wait(60.0) == 0, log.read_text()
        server.wait(10.0)
        assert "Traceback" not in log.read_text()
    finally:
        if up.poll() is None:
            up.terminate()
            try:
                up.wait(40.0)
            except subprocess.TimeoutExpired:
                up.kill()
                up.wait()


def test_pictures_in_lock_step_are_refused_with_the_way_out() -> None:
    with pytest.raises(RenderError, match="draws no pictures in lock-step: leave images off, or give realtime=true"):
        make_env(make_task("peg_insertion"), robot="gazebo", images=True)


@pytest.mark.parametrize("realtime", [False, True])
def test_what_is_missing_is_said_before_anything_starts(
    realtime: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="`robot-rl gazebo install` fetches it"):
        make_env(make_task("peg_insertion"), robot="gazebo", realtime=realtime)
    with pytest.raises(UserError, match="robot=gz.*use robot=gazebo"):
        make_env(make_task("peg_insertion"), robot="gz", realtime=realtime)
    with pytest.raises(UserError, match="`robot-rl gazebo install`"):
        installed()


@pytest.mark.parametrize("name", [bringup.name for bringup in table.BRINGUPS])
def test_each_bringup_takes_both_gazebos_and_asks_for_them_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bringup = table.find(name)
    with pytest.raises(UserError, match="`robot-rl gazebo install`"):
        require_simulator(fill(bringup, {"robot": "gazebo"}))
    with pytest.raises(UserError, match="robot=gz.*use robot=gazebo"):
        require_simulator(fill(bringup, {"robot": "gz"}))
    require_simulator(fill(bringup, {"robot": "mujoco"}))
