"""What the FR3 driver makes of single packets, with a fake robot behind the library's own names."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.robots import franka_arm
from controllers.robots.base import CanGrip, CanRecover, Connected, PacesLoop, RobotFault
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_errors import FLAGS
from controllers.types import STATE

IDENTITY = np.eye(4).ravel().tolist()


class Errors:
    """No flag but those that are named."""

    def __init__(self, *raised: str) -> None:
        for name in FLAGS:
            setattr(self, name, name in raised)


class Library:
    """The parts of pylibfranka that the driver uses."""

    class FrankaException(Exception):
        pass

    class Torques:
        def __init__(self, tau_J: list[float]) -> None:
            self.tau_J, self.motion_finished = tau_J, False


class Robot:
    """A robot that sends the packets it is given, and keeps what it was told."""

    def __init__(self, mode: str = "Idle", *flags: str) -> None:
        self.mode, self.flags, self.told, self.torques = mode, flags, [], []  # type: ignore[var-annotated]
        self.packets: list[tuple[dict[str, Any], float]] = []

    def read_once(self) -> Any:
        quiet = {"F_T_NE": IDENTITY, "m_ee": 0.0, "F_x_Cee": [0.0] * 3, "I_ee": [0.0] * 9}
        errors = {"current_errors": Errors(*self.flags), "last_motion_errors": Errors(*self.flags)}
        return SimpleNamespace(robot_mode=SimpleNamespace(name=self.mode), **quiet, **errors)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("set_"):
            raise AttributeError(name)
        return lambda *values: self.told.append(name)

    def automatic_error_recovery(self) -> None:
        self.told.append("automatic_error_recovery")
        self.mode, self.flags = "Idle", ()

    def start_torque_control(self) -> Robot:
        return self

    def readOnce(self) -> tuple[Any, Any]:
        if not self.packets:
            return self.packet({}), SimpleNamespace(to_sec=lambda: 0.0)
        changes, elapsed_s = self.packets.pop(0)
        if changes.get("raises"):
            raise Library.FrankaException(changes["raises"])
        return self.packet(changes), SimpleNamespace(to_sec=lambda: elapsed_s)

    def writeOnce(self, torques: Library.Torques) -> None:
        self.torques.append((list(torques.tau_J), torques.motion_finished))

    @staticmethod
    def packet(changes: dict[str, Any]) -> Any:
        quiet = {"q": fr3().home_rad.tolist(), "dq": [0.0] * 7, "tau_J_d": [0.0] * 7, "K_F_ext_hat_K": [0.0] * 6}
        return SimpleNamespace(**{**quiet, "control_command_success_rate": 1.0, **changes})


@pytest.fixture
def arm_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(robot: Robot, **settings: Any) -> franka_arm.FrankaArm:
        monkeypatch.setattr(franka_arm, "connect", lambda config: (Library, robot))
        return franka_arm.FrankaArm(fr3(), square_peg_tool(), FrankaConfig("172.16.0.2", **settings))

    return made


def read(arm: franka_arm.FrankaArm, robot: Robot, *packets: tuple[dict[str, Any], float]) -> Any:
    state = np.zeros(1, STATE)
    robot.packets = list(packets)
    for _ in packets:
        arm.read(state)
    return state[0]


def test_it_is_what_the_loop_looks_for(arm_of: Any) -> None:
    arm = arm_of(Robot())
    assert isinstance(arm, PacesLoop) and isinstance(arm, Connected) and isinstance(arm, CanRecover)
    assert not isinstance(arm, CanGrip) and not hasattr(arm, "simulated"), "a peg grips nothing"


def test_it_begins_at_zero_torque_and_ends_the_motion(arm_of: Any) -> None:
    robot = Robot()
    arm = arm_of(robot)
    assert robot.told == ["set_collision_behavior", "set_EE", "set_K", "set_load"]
    arm.start()
    assert robot.torques == [([0.0] * 7, False)]
    arm.write(np.full(7, 0.4))
    arm.stop()
    assert robot.torques[1:] == [([0.4] * 7, False), ([0.0] * 7, True)]


def test_the_wrench_is_what_the_surroundings_exert_and_a_tare_is_the_mean_of_late(arm_of: Any) -> None:
    robot = Robot()
    arm = arm_of(robot)
    arm.start()
    exerted = [1.0, 2.0, 3.0, 0.1, 0.2, 0.3]  # by the robot on its surroundings
    state = read(arm, robot, *[({"K_F_ext_hat_K": exerted, "tau_J_d": [0.5] * 7}, 0.001)] * 1000)
    np.testing.assert_allclose(state["wrench_tool"], np.negative(exerted))
    np.testing.assert_allclose(state["tau_applied_nm"], 0.5)
    arm.tare()
    state = read(arm, robot, ({"K_F_ext_hat_K": [2.0, 2.0, 3.0, 0.1, 0.2, 0.3]}, 0.001))
    np.testing.assert_allclose(state["wrench_tool"], [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0], atol=1e-3)


@pytest.mark.parametrize("wrench", ["robot", "observer"])
def test_a_packet_that_is_not_finite_is_counted_and_handed_on(arm_of: Any, wrench: str) -> None:
    robot = Robot()
    arm = arm_of(robot, wrench=wrench)
    arm.start()
    broken = read(arm, robot, ({}, 0.001), ({"q": [math.nan] * 7}, 0.001))
    assert arm.broken_packets == 1 and np.isnan(broken["wrench_tool"]).all() and np.isnan(broken["q_rad"]).all()
    assert np.isfinite(read(arm, robot, ({}, 0.001))["wrench_tool"]).all(), "and nothing of it stays"


def test_lost_and_repeated_packets_are_counted_by_the_robots_clock(arm_of: Any) -> None:
    robot = Robot()
    arm = arm_of(robot)
    arm.start()
    read(arm, robot, *[({}, elapsed_s) for elapsed_s in (0.0, 0.001, 0.003, 0.001, 0.0, 0.002)])
    assert (arm.lost_packets, arm.repeated_packets) == (3, 1)


def test_a_poor_connection_warns_and_a_worse_one_stops(arm_of: Any) -> None:
    robot = Robot()
    arm = arm_of(robot)
    arm.start()

    def after(rate: float, packets: int = 1) -> tuple[bool, bool]:
        read(arm, robot, *[({"control_command_success_rate": rate}, 0.001)] * packets)
        return bool(arm.complaint), arm.must_stop

    assert after(0.0, 299) == (False, False) and math.isnan(arm.success_rate), "so soon it says nothing"
    assert after(0.96) == (False, False)
    assert after(0.94) == (True, False)
    assert after(0.96) == (False, False)
    assert after(0.94) == (True, False)
    assert after(0.89) == (True, True)
    assert arm.success_rate == pytest.approx(np.mean([0.96, 0.94, 0.96, 0.94, 0.89]))


def test_what_the_robot_stops_for_is_told_and_ends_control(arm_of: Any) -> None:
    robot = Robot()
    arm = arm_of(robot)
    arm.start()
    with pytest.raises(RobotFault, match=r"the robot at 172.16.0.2 stopped: an external force .*cartesian_reflex"):
        read(arm, robot, ({"raises": 'motion aborted by reflex! ["cartesian_reflex"]'}, 0.001))
    assert "cartesian_reflex" in arm.fault
    arm.stop()
    assert robot.torques == [([0.0] * 7, False)], "nothing is sent to a motion that has ended"


def test_a_robot_in_a_reflex_takes_no_setting_before_it_was_recovered(arm_of: Any) -> None:
    robot = Robot("Reflex", "joint_reflex")
    arm = arm_of(robot)
    assert "joint_reflex" in arm.fault and robot.told == []
    with pytest.raises(RobotFault, match="joint_reflex"):
        arm.start()
    arm.recover()
    assert robot.told == ["automatic_error_recovery", "set_collision_behavior", "set_EE", "set_K", "set_load"]
    assert not arm.fault
    arm.start()
