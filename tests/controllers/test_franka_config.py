"""What an FR3 may be told: bounds of the thresholds, keys of the command line, the load beside Desk's end effector."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import parallel_gripper_tool, square_peg_tool
from controllers.plain import from_plain, to_plain
from controllers.robots.franka_config import (
    MAX_STOP_FORCE_N,
    MAX_STOP_MOMENT_NM,
    MAX_STOP_TORQUE_NM,
    FrankaConfig,
    setting_names,
)
from controllers.robots.franka_connection import load_beside, require_answer
from controllers.robots.franka_motor import build_franka_arm
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.envs.real_robot import franka_config
from robot_rl.tasks.registry import make_task
from safety.ledger import LedgerConfig

IP = "172.16.0.2"


def test_the_defaults_are_the_learning_thresholds() -> None:
    config = FrankaConfig(IP)
    assert set(config.contact_torque_nm) == {8.0} and set(config.stop_torque_nm) == {25.0}
    assert config.contact_wrench == (10.0,) * 3 + (8.0,) * 3 and config.stop_wrench == (40.0,) * 3 + (25.0,) * 3


@pytest.mark.parametrize(
    ("asked", "delay_ticks", "repeat_ticks"),
    [({}, 1, 20), ({"delay_ticks": 2, "repeat_ticks": 3}, 2, 20), ({"mode": "observe"}, 1, 20)],
)
def test_the_books_of_an_fr3_reserve_for_late_and_repeated_torques(
    asked: dict[str, Any], delay_ticks: int, repeat_ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built as the motor process builds it, with everything but the connection."""
    monkeypatch.setattr("controllers.robots.franka_arm.FrankaArm", lambda *_: SimpleNamespace(rate_hz=1000.0))
    chain = ChainConfig(ledger=LedgerConfig(tank_start_j=2.0, **asked))
    given_parts = {"arm": fr3(), "tool": square_peg_tool(), "robot": FrankaConfig(IP), "chain": chain}
    parts = build_franka_arm({key: to_plain(value) for key, value in given_parts.items()})
    assert isinstance(parts.chain, Chain)
    ledger = parts.chain.config.ledger
    assert (ledger.delay_ticks, ledger.repeat_ticks) == (delay_ticks, repeat_ticks), "more than asked for, never less"
    assert ledger == replace(chain.ledger, delay_ticks=delay_ticks, repeat_ticks=repeat_ticks), "and nothing else"


@given(st.floats(1.0, 200.0), st.floats(1.0, 200.0), st.integers(0, 12))
def test_no_threshold_can_switch_the_robots_reflex_off(contact: float, stop: float, which: int) -> None:
    limits = [MAX_STOP_TORQUE_NM] * 7 + [MAX_STOP_FORCE_N] * 3 + [MAX_STOP_MOMENT_NM] * 3
    low, high = [8.0] * 7 + [10.0] * 3 + [8.0] * 3, [25.0] * 7 + [40.0] * 3 + [25.0] * 3
    low[which], high[which] = contact, stop
    parts: dict[str, Any] = {
        "contact_torque_nm": tuple(low[:7]),
        "stop_torque_nm": tuple(high[:7]),
        "contact_wrench": tuple(low[7:]),
        "stop_wrench": tuple(high[7:]),
    }
    if contact < stop <= limits[which]:
        assert FrankaConfig(IP, **parts).stop_torque_nm == tuple(high[:7])
    else:
        with pytest.raises(ValueError, match="reflex"):
            FrankaConfig(IP, **parts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ip": ""},
        {"ip": "a b"},
        {"ip": IP, "realtime": "always"},
        {"ip": IP, "wrench": "none"},
        {"ip": IP, "contact_torque_nm": (8.0,) * 6},
        {"ip": IP, "stop_wrench": (float("nan"),) * 6},
        {"ip": IP, "contact_wrench": (0.5,) * 6},
        {"ip": IP, "gripper_force_n": 71.0},
        {"ip": IP, "gripper_speed_m_s": 0.0},
        {"ip": IP, "stop_success_rate": 1.0},
        {"ip": IP, "warn_success_rate": 0.89},
        {"ip": IP, "connect_timeout_s": 0.0},
    ],
)
def test_values_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        FrankaConfig(**wrong)  # type: ignore[arg-type]


def test_every_setting_says_what_it_is() -> None:
    source = (FrankaConfig.__module__, FrankaConfig.__doc__)
    assert source[1] and setting_names() == tuple(entry.name for entry in dataclasses.fields(FrankaConfig))
    assert from_plain(to_plain(FrankaConfig(IP, stop_wrench=(50.0,) * 6))) == FrankaConfig(IP, stop_wrench=(50.0,) * 6)


def test_a_robot_keeps_its_name_since_its_latch_is_kept_by_it() -> None:
    assert FrankaConfig(IP).motor_name == FrankaConfig(IP, gripper=False).motor_name == "fr3-172-16-0-2"
    assert FrankaConfig("Robot.Lab").motor_name == "fr3-robot-lab"


def test_settings_of_the_command_line_are_checked() -> None:
    assert franka_config({"ip": IP, "stop_wrench": [50, 50, 50, 20, 20, 20]}).stop_wrench[0] == 50.0
    with pytest.raises(UserError, match=r"unknown setting robot_config.ipp; did you mean ip"):
        franka_config({"ipp": IP})
    with pytest.raises(UserError, match=r"robot_config.ip=172.16.0.2"):
        franka_config({})
    with pytest.raises(UserError, match=r"robot_config.realtime must be one of ignore, enforce"):
        franka_config({"ip": IP, "realtime": "no"})


def test_an_environment_on_a_real_arm_refuses_what_only_a_simulator_can() -> None:
    task = make_task("maze", "default", {})
    for only_simulated in ({"teleport": True}, {"images": True}):
        with pytest.raises(UserError, match="real arm"):
            make_env(task, robot="fr3", robot_config={"ip": IP}, **only_simulated)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="robot_config goes with robot=fr3"):
        make_env(task, robot_config={"ip": IP})
    with pytest.raises(UserError, match="expected robot=mujoco, gazebo, fr3 or ros"):
        make_env(task, robot="ur5")


def test_nobody_at_the_address_is_told_within_the_timeout_in_one_line() -> None:
    with pytest.raises(UserError, match=r"no robot at 127.0.0.1: .* refuses port 1337; .*activate FCI"):
        require_answer(FrankaConfig("127.0.0.1"))
    with pytest.raises(UserError, match=r"no such address robot.invalid"):
        require_answer(FrankaConfig("robot.invalid"))


def test_a_tool_that_desk_does_not_know_is_the_whole_load() -> None:
    tool = square_peg_tool()
    mass_kg, com_m, inertia = load_beside(tool, 0.0, np.zeros(3), np.zeros((3, 3)))
    assert mass_kg == tool.mass_kg
    np.testing.assert_allclose(com_m, tool.com_flange_m, atol=1e-12)
    np.testing.assert_allclose(inertia, tool.inertia_flange_kg_m2, atol=1e-12)


@given(st.floats(0.05, 0.6), st.floats(-0.02, 0.02), st.floats(0.01, 0.06))
def test_desks_end_effector_and_the_load_make_up_the_tool(m_ee_kg: float, x_m: float, z_m: float) -> None:
    tool, c_ee_m, I_ee = parallel_gripper_tool(), np.array([x_m, 0.0, z_m]), 1e-5 * np.eye(3)
    mass_kg, com_m, _ = load_beside(tool, m_ee_kg, c_ee_m, I_ee)
    assert mass_kg + m_ee_kg == pytest.approx(tool.mass_kg)
    np.testing.assert_allclose(mass_kg * com_m + m_ee_kg * c_ee_m, tool.mass_kg * tool.com_flange_m, atol=1e-12)


def test_desks_end_effector_that_is_the_tool_leaves_no_load() -> None:
    tool = parallel_gripper_tool()
    assert load_beside(tool, tool.mass_kg, tool.com_flange_m, tool.inertia_flange_kg_m2)[0] == 0.0
    with pytest.raises(UserError, match="choose the right end effector in Desk"):
        load_beside(square_peg_tool(), 0.73, np.zeros(3), np.zeros((3, 3)))
