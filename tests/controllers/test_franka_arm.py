"""The FR3 driver against a server that speaks the robot's own protocol, through the real motor process."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import parallel_gripper_tool, square_peg_tool
from controllers.latch_memory import latch_path
from controllers.motor_child import MotorProcessDied
from controllers.person import PersonSeat
from controllers.plain import to_plain
from controllers.robots.franka_arm import FrankaArm
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_motor import build_franka_arm
from controllers.robots.franka_simulator import FrankaSimulator, simulated_robot, simulator_mjcf
from controllers.shared_memory_link import SharedMemoryLink
from controllers.types import STATE, Command
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.envs.reset import ResetFailedError
from robot_rl.tasks.registry import make_task
from safety.ledger import LedgerConfig
from safety.reasons import Reason
from safety.supervision import Answer, ResetRefused
from tests.controllers.franka_server import link_to, name, robot

__all__ = ["name", "robot"]
STIFFNESS = np.array([1000.0] * 3 + [50.0] * 3)


def drive(link: SharedMemoryLink, goals_m: np.ndarray, seconds: float = 1.5) -> np.ndarray:
    """Sends targets one after the other, the tool upright; returns the reports of all."""
    start, parts = link.latest(), []
    for goal_m in goals_m:
        link.send(Command(goal_m, start.quaternion_base_xyzw, STIFFNESS, damping_ratio=0.7, duration_s=seconds))
        parts.append(link.step(seconds))
    return np.concatenate(parts)


def test_the_server_gets_our_arm_under_the_names_that_it_wants() -> None:
    text = simulator_mjcf(fr3(), parallel_gripper_tool())
    model = mujoco.MjModel.from_xml_string(text)
    assert [model.joint(f"fr3_joint{i}").qposadr[0] for i in range(1, 8)] == list(range(7))
    bodies = [body.get("name") for body in ET.fromstring(text).iter("body")]
    assert bodies == [*(f"fr3_link{i}" for i in range(9)), "tool"], "no table, no fingers"
    np.testing.assert_allclose(model.dof_armature, fr3().armature_kg_m2)
    assert model.nv == 7 and model.body_subtreemass[model.body("tool").id] == pytest.approx(0.76)


@pytest.mark.slow
@pytest.mark.alone
def test_bring_up_sets_frames_and_load_and_begins_at_zero_torque(robot: FrankaSimulator) -> None:
    tool = square_peg_tool()
    scheduling = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    arm = FrankaArm(fr3(), tool, FrankaConfig(robot.ip))
    try:
        require_settings(arm)
        require_start(arm)
        now = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
        assert now == scheduling, "a driver takes no right of way that nobody gave it"
    finally:
        arm.stop()
        arm.stop()
    assert "Motion finished" in robot.log()


@pytest.mark.slow
@pytest.mark.alone
def test_the_books_reserve_for_torques_that_act_late_or_are_repeated(robot: FrankaSimulator) -> None:
    chain = ChainConfig(ledger=LedgerConfig(delay_ticks=2, tank_start_j=2.0))
    given = {"arm": fr3(), "tool": square_peg_tool(), "robot": FrankaConfig(robot.ip)}
    for asked, delay_ticks, tank_j in (({}, 1, 4.0), ({"chain": chain}, 2, 2.0)):
        parts = build_franka_arm({key: to_plain(value) for key, value in {**given, **asked}.items()})
        parts.robot.stop()
        assert isinstance(parts.chain, Chain)
        ledger = parts.chain.config_record["ledger"][0]
        assert (ledger["delay_ticks"], ledger["repeat_ticks"]) == (delay_ticks, 20), "more than asked for, never less"
        assert parts.chain.config.ledger.tank_start_j == tank_j


def require_settings(arm: FrankaArm) -> None:
    tool = arm.tool
    for _ in range(20):  # some that were on their way when the settings came
        set_state = arm._robot.read_once()
    T_flange_tool = np.array(set_state.F_T_EE).reshape(4, 4).T
    np.testing.assert_allclose(T_flange_tool, tool.T_flange_tool.matrix, atol=1e-6)
    np.testing.assert_allclose(np.array(set_state.EE_T_K).reshape(4, 4), np.eye(4), atol=1e-6)
    assert set_state.m_load == pytest.approx(tool.mass_kg, rel=1e-5)
    np.testing.assert_allclose(set_state.F_x_Cload, tool.com_flange_m, atol=1e-6)


def require_start(arm: FrankaArm) -> None:
    arm.start()
    state = np.zeros(1, STATE)
    for _ in range(20):
        arm.read(state)
        assert not state["tau_applied_nm"].any()
        arm.write(np.zeros(7))
    push_nm = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0])
    for _ in range(20):
        arm.read(state)
        arm.write(push_nm)
    np.testing.assert_allclose(state["tau_applied_nm"][0], push_nm, err_msg="what the drive applied, without gravity")
    assert abs(state["q_rad"][0, 3] + 1.57) < 0.05 and math.isnan(state["gripper_m"][0])


@pytest.mark.slow
@pytest.mark.alone
def test_random_targets_with_all_layers_on_then_an_ordered_stop(robot: FrankaSimulator, name: str) -> None:
    begun = len(robot.log())
    with link_to(robot.ip, name) as link:
        start = link.latest()
        model = ArmModel(fr3(), square_peg_tool())
        assert np.linalg.norm(model.forward(start.q_rad).position_m - start.position_base_m) < 1e-6
        held = link.step(0.5)
        assert np.ptp(held["position_base_m"], axis=0).max() < 1e-3, "it holds where it stands"
        rng = np.random.default_rng(3)
        reports = drive(link, rng.uniform([0.4, -0.2, 0.3], [0.6, 0.2, 0.5], (4, 3)))
        assert np.ptp(reports["position_base_m"], axis=0).max() > 0.1
        steps_nm = np.abs(np.diff(reports["tau_executed_nm"], axis=0)).max()
        assert steps_nm <= 0.5 + 1e-9, "the torque rate of the chain is what the robot sees"
        status = link.status()
        assert status.success_rate > 0.9 and not reports["latched"].any()
        pid = status.pid
    log = robot.log()[begun:]
    assert "Motion finished" in log and "motion limit violated" not in log and "aborting the motion" not in log
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_the_floor_is_felt_as_a_force_on_the_tool(robot: FrankaSimulator, name: str) -> None:
    """The server reports no external wrench, so that the momentum observer has to find the floor that it puts in."""
    deeper = replace(ChainConfig().limiter, box_min_base_m=(0.25, -0.35, -0.1))
    with link_to(robot.ip, name, motor={"chain": ChainConfig(limiter=deeper)}) as link:
        position_m = np.array(link.latest().position_base_m)
        above, below = position_m * [1.0, 1.0, 0.0] + [0.0, 0.0, 0.05], position_m * [1.0, 1.0, 0.0]
        drive(link, np.array([above]), 5.0)
        free = link.step(0.2)["wrench_tool"][:, :3].mean(axis=0)
        drive(link, below + np.outer(np.linspace(0.03, -0.012, 15), [0.0, 0.0, 1.0]), 0.2)
        pressed = link.step(0.2)
        force_tool = pressed["wrench_tool"][:, :3].mean(axis=0) - free
        executed_m = pressed["executed_position_base_m"][-1, 2] - pressed["position_base_m"][-1, 2]
        assert pressed["position_base_m"][-1, 2] < 0.01, "it stands on the floor"
        # the tool points down: what the floor exerts points up in the base frame, against the tool's z axis
        assert force_tool[2] < -2.0
        assert force_tool[2] == pytest.approx(STIFFNESS[2] * executed_m, abs=4.0), (
            "the spring's force, but for friction"
        )
        drive(link, np.array([above]), 2.0)
        link.tare()
        assert np.linalg.norm(link.step(0.1)["wrench_tool"][:, :3].mean(axis=0)) < 1.5


@pytest.mark.slow
@pytest.mark.alone
def test_an_emergency_stop_holds_the_arm_until_a_person_resets(robot: FrankaSimulator, name: str) -> None:
    with link_to(robot.ip, name) as link:
        drive(link, np.array([[0.5, 0.1, 0.45]]), 0.7)
        link.estop()
        after = link.step(0.5)
        assert after["latched"][-1] == Reason.ESTOP
        assert np.linalg.norm(after["twist_base"][-1, :3]) < 0.02, "a soft hold, in torque control"
        with pytest.raises(ResetRefused, match=f"robot-rl safety reset {name}"):
            link.reset()
        with PersonSeat(name) as seat:
            assert seat.ask_reset(0.7) == Answer.GRANTED
        link.reset()
        assert not drive(link, np.array([[0.5, -0.05, 0.45]]), 0.7)["latched"].any()


@pytest.mark.slow
@pytest.mark.alone
def test_a_loop_that_stands_still_is_stopped_by_the_robot_and_takes_a_person(name: str) -> None:
    with simulated_robot(fr3(), square_peg_tool()) as punctual:
        link = link_to(punctual.ip, name)
        pid = link.status().pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(MotorProcessDied, match=rf"communication_constraints_violation\): .*safety reset {name}"):
            link.step(3.0)
        link.close()
        assert latch_path(name).exists(), "what the robot stopped for takes a person, whoever starts it again"
        with pytest.raises(ResetRefused, match="ROBOT_FAULT"):
            link_to(punctual.ip, name)


@pytest.mark.slow
@pytest.mark.alone
def test_a_robot_that_is_switched_off_is_told_in_plain_words(name: str) -> None:
    with simulated_robot(fr3(), square_peg_tool(), punctual=False) as own:
        link = link_to(own.ip, name)
        link.step(0.3)
        own.kill()
        with pytest.raises(MotorProcessDied, match="the robot at .* stopped: .*power and cable"):
            link.step(5.0)
        link.close()
        with pytest.raises(UserError, match=f"no robot at {own.ip}: .* refuses port 1337"):
            link_to(own.ip, name)


def test_a_wrong_address_is_told_in_one_line(name: str) -> None:
    pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")
    with pytest.raises(UserError, match=r"did not start: no robot at 127.0.0.1: .*; check robot_config.ip"):
        link_to("127.0.0.1", name)


@pytest.mark.slow
@pytest.mark.alone
def test_a_task_runs_on_the_robot_with_automatic_reset(robot: FrankaSimulator) -> None:
    for _ in range(3):
        if ran_an_episode(robot):
            return
    pytest.fail("late ticks held it each time")


def ran_an_episode(robot: FrankaSimulator) -> bool:
    """Resets and acts; false where late ticks of a machine that others use held the arm until it was latched."""
    settings = {"ip": robot.ip, "wrench": "observer", "stop_success_rate": 0.0}
    task = make_task("peg_insertion", "default", {})
    env = make_env(task, robot="fr3", robot_config=settings)
    try:
        assert env.world is None and env.cameras == ()
        _, info = env.reset(seed=1)
        assert info["reset_kind"] == "automatic" and info["reset_attempts"] >= 1
        for _ in range(5):
            _, _, _, _, info = env.step(np.zeros(task.action.size, np.float32))
        assert np.isfinite(info["q_rad"]).all()
    except (ResetFailedError, ResetRefused):
        assert isinstance(env.link, SharedMemoryLink)
        assert env.link.status().overruns >= 5, "it failed, and no tick was late"
        return False
    finally:
        env.close()
        latch_path(FrankaConfig(robot.ip).motor_name).unlink(missing_ok=True)
    return True


@pytest.mark.slow
@pytest.mark.alone
def test_the_motor_process_of_a_robot_loads_neither_torch_nor_ros() -> None:
    pytest.importorskip("pylibfranka", reason="pip install '.[franka]'")
    program = (
        "import json, sys; import controllers.motor_process, controllers.robots.franka_motor, "
        "controllers.robots.franka_arm, pylibfranka; print(json.dumps(sorted({'torch', 'rclpy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
