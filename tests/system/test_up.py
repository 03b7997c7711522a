"""`robot-rl up sim` as a person uses it: it comes up, the arm follows, Ctrl-C, a killed child, and kill -9 of `up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from tests.ros_nodes.conftest import ros_domain
from tests.system.bring_up import END_S, READY_S, Up, wait_for
from tests.system.command_line import PROGRAM

__all__ = ["ros_domain"]
pytestmark = [pytest.mark.slow, pytest.mark.calm]


@pytest.fixture
def namespace(ros_domain: int, request: pytest.FixtureRequest) -> str:
    """One of this test's own: the motor process of a killed controller holds for 30 s more."""
    return f"up{os.getpid()}d{ros_domain}n{abs(hash(request.node.name)) % 10**6}"


@pytest.fixture
def start(namespace: str, tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def begin(*words: str, name: str = "sim") -> Up:
        up = Up([name, f"namespace={namespace}", "realtime=false", *words], tmp_path / f"up{len(started)}.log")
        started.append(up)
        return up

    yield begin
    for up in started:
        up.end()


def test_it_comes_up_the_arm_follows_and_ctrl_c_ends_it_in_order(start: Callable[..., Up], namespace: str) -> None:
    up = start()
    up.wait_until_up()
    action = subprocess.run(
        [sys.executable, "-m", "ros_nodes.first_action", namespace], capture_output=True, text=True, check=False
    )
    assert action.returncode == 0, action.stderr
    assert action.stdout.startswith("the arm follows: torque written")
    second = subprocess.run(
        [str(PROGRAM), "up", "sim", f"namespace={namespace}"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 2 and "is up already" in second.stderr and second.stderr.count("\n") == 1
    assert up.process.poll() is None
    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does
    assert up.process.wait(END_S) == 0, up.said()
    wait_for(lambda: not up.left(), 5.0, up.left)
    assert f"python -m ros_nodes.first_action {namespace}" in up.said(), "the next commands are told"
    assert "all has ended (SIGINT)" in up.said() and "Traceback" not in up.said()
    assert not Path(f"/dev/shm/robot-rl-{namespace}").exists(), "the motor process left in order"


@pytest.mark.parametrize("how", ["SIGTERM", "for_s"])
def test_it_also_ends_in_order_by_sigterm_and_by_time(start: Callable[..., Up], how: str) -> None:
    up = start(*(["for_s=1"] if how == "for_s" else []))
    up.wait_until_up()
    if how == "SIGTERM":
        up.process.terminate()
    assert up.process.wait(END_S) == 0, up.said()
    wait_for(lambda: not up.left(), 5.0, up.left)
    assert "all has ended (" + ("SIGTERM" if how == "SIGTERM" else "for_s=1") in up.said()


def test_a_killed_controller_ends_all_with_its_name(start: Callable[..., Up]) -> None:
    up = start()
    up.wait_until_up()
    up.member("ros_nodes.controller_node").kill()
    assert up.process.wait(END_S) == 1, up.said()
    assert up.said().count("controller was killed by SIGKILL") == 1 and "Traceback" not in up.said()
    assert "lost its controller: it holds the arm and leaves by itself" in up.said()
    assert [line for line in up.left() if "motor_process" in line], "it holds"
    wait_for(lambda: not up.left(), 60.0, up.left)


def test_a_dead_motor_process_ends_all_with_the_words_of_its_node(start: Callable[..., Up]) -> None:
    up = start()
    up.wait_until_up()
    up.member("controllers.motor_process").kill()
    assert up.process.wait(END_S) == 1, up.said()
    assert "controller ended with status 1: controller: motor process" in up.said()
    assert "is dead (killed by SIGKILL)" in up.said()


def test_kill_9_leaves_nothing_behind(start: Callable[..., Up], namespace: str) -> None:
    up = start()
    up.wait_until_up()
    assert len(up.left()) >= 3, "guardian, controller, motor process"
    up.process.kill()
    up.process.wait()
    wait_for(lambda: not up.left(), 60.0, up.left)
    assert not Path(f"/dev/shm/robot-rl-{namespace}").exists()


def test_a_refusal_of_a_node_is_told_and_ends_all(start: Callable[..., Up]) -> None:
    up = start("task=nosuch")
    assert up.process.wait(READY_S) == 1
    assert "robot-rl: controller ended with status 2: controller:" in up.said() and "nosuch" in up.said()
    assert "Traceback" not in up.said()
