"""The supervisor in lock-step: the same rules as in the motor process, in simulated time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.arm_model import ArmModel
from controllers.description import Scene, fr3, square_peg_tool
from controllers.flight.config import FlightConfig
from controllers.flight.file import flight_files, read_flight
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm
from controllers.types import Command, Source
from data.errors import UserError
from safety.reasons import Reason
from safety.reflex import Mode
from safety.supervision import GrantRefused, Heartbeat, ResetRefused, SupervisorConfig, SupervisorState
from tests.controllers.motor_fakes import FakeRobot
from tests.controllers.risk_tools import tell

ARM, SCENE = fr3(), Scene(tool=square_peg_tool())


def make(flight: FlightConfig | None = None, **supervisor: Any) -> LockstepLink:
    return LockstepLink(MujocoArm(ARM, SCENE), ArmModel(ARM, SCENE.tool), None, SupervisorConfig(**supervisor), flight)


class Ticking(FakeRobot):
    """A robot whose clock goes on by one tick with each reading."""

    def read(self, state: Any) -> None:
        super().read(state)
        state["stamp_ns"] += 1_000_000


def here(link: LockstepLink, duration_s: float = 0.1) -> Command:
    report = link.latest()
    stiffness = np.array([400.0] * 3 + [30.0] * 3)
    return Command(report.position_base_m, report.quaternion_base_xyzw, stiffness, duration_s=duration_s)


def test_after_an_emergency_stop_a_reset_needs_a_person() -> None:
    link = make()
    link.send(here(link))
    link.step(0.1)
    assert link.supervisor.state == SupervisorState.RUN
    link.estop()
    assert (link.step(0.1)["latched"] == Reason.ESTOP).all()
    with pytest.raises(ResetRefused, match="a person must reset: start again, or switch on .*simulated_person"):
        link.reset()
    assert (link.step(0.1)["latched"] == Reason.ESTOP).all(), "and stays stopped"
    link.supervisor.press(link.now_ns())
    link.step(0.6)
    link.supervisor.release(link.now_ns())
    link.reset()
    link.send(here(link))
    assert link.step(0.1)["sequence"][-1] == 2 and link.supervisor.by_person == 1


def test_a_policy_that_stopped_sending_is_let_go_on_within_the_budget() -> None:
    link = make(automatic_max=1)
    for refused in (False, True):
        link.send(here(link))
        assert link.step(5.5)["latched"][-1] == Reason.LATCHED
        if refused:
            with pytest.raises(ResetRefused, match=r"LATCHED\): a person must reset"):
                link.reset()
        else:
            link.reset()


def test_a_simulated_person_lets_training_go_on_and_is_counted() -> None:
    link = make(simulated_person=True)
    for count in (1, 2, 3):
        link.estop()
        link.step(0.1)
        link.reset()
        assert link.supervisor.simulated == count
        link.send(here(link))
        assert link.step(0.1)["latched"][-1] == 0


def test_a_new_budget_of_energy_comes_with_the_end_of_the_latch_and_not_before() -> None:
    link = make(simulated_person=True)
    link.estop()
    link.step(0.05)
    link.chain.record["ledger"]["tank_j"] = 0.125
    assert link.grant() == 0.0
    assert link.step(0.01)["tank_energy_j"][-1] < 0.2
    link.reset()
    assert link.latest().tank_energy_j > 0.9 * link.chain.config.ledger.tank_start_j


def test_an_arm_that_diverged_is_not_reset_by_anybody() -> None:
    link = make(simulated_person=True)
    assert isinstance(link.robot, MujocoArm)
    link.robot.data.qvel[0] = np.nan
    assert link.step(0.1)["latched"][-1] == Reason.STATE_INVALID
    assert link.supervisor.state == SupervisorState.FAULT
    with pytest.raises(ResetRefused, match=r"STATE_INVALID\): the arm is not still yet"):
        link.reset()
    link.robot.teleport(ARM.home_rad)
    link.reset()


def test_a_camera_without_frames_holds_the_arm_and_commands_are_turned_down() -> None:
    link = make()
    link.heartbeat(Heartbeat.CAMERA)
    link.send(here(link, 1.0))
    reports = link.step(0.6)
    assert reports["reason"][250] < Reason.HEARTBEAT and reports["reason"][-1] == Reason.HEARTBEAT
    link.send(here(link))
    assert link.step(0.1)["refused"][-1] == reports["refused"][-1] + 1 and link.chain.refusals["held"] == 1
    link.heartbeat(Heartbeat.CAMERA, in_use=False)
    link.step(0.6)
    link.send(here(link))
    assert link.step(0.1)["reason"].max() < Reason.HEARTBEAT


def test_switched_off_every_reset_ends_a_latch() -> None:
    link = make(enabled=False)
    for _ in range(5):
        link.estop()
        link.step(0.05)
        link.reset()
        assert link.step(0.05)["latched"][-1] == 0


def test_energy_is_refused_while_a_policys_command_is_followed_and_comes_with_a_reset() -> None:
    link = make(grants_per_minute=3)
    assert link.grant() == pytest.approx(0.0, abs=1e-3)
    link.send(here(link))
    link.step(0.1)
    with pytest.raises(GrantRefused, match="no energy was granted: a policy's command is followed: call reset"):
        link.grant()
    link.reset()
    link.grant()
    link.send(replace(here(link), source=Source.RESET))
    link.step(0.1)
    link.grant()
    link.reset()
    with pytest.raises(GrantRefused, match=r"too many within a minute: .* SupervisorConfig.grants_per_minute"):
        link.grant()
    link.step(60.0)
    link.grant()


@pytest.mark.parametrize("simulated_person", [False, True])
def test_resets_out_of_a_reflex_are_stopped_at_the_third(simulated_person: bool) -> None:
    link = make(simulated_person=simulated_person)
    for count in range(3):
        tell(link.chain, 0.9)
        link.send(here(link, 0.5))
        assert link.step(0.1)["mode"][-1] == Mode.REFLEX
        tell(link.chain, 0.0)
        if count == 2 and not simulated_person:
            with pytest.raises(ResetRefused, match=r"RISK_STOP\): a person must reset"):
                link.reset()
        else:
            link.reset()
            assert link.latest().latched == 0
    assert link.supervisor.simulated == simulated_person


@pytest.mark.parametrize("robot", [FakeRobot({}), MujocoArm(ARM, SCENE)], ids=lambda robot: type(robot).__name__)
def test_nobody_is_simulated_beside_a_real_arm(robot: Any) -> None:
    model, config = ArmModel(ARM, SCENE.tool), SupervisorConfig(simulated_person=True)
    if isinstance(robot, MujocoArm):
        LockstepLink(robot, model, None, config)
    else:
        with pytest.raises(UserError, match=r"expected a simulated arm with .*simulated_person, got FakeRobot"):
            LockstepLink(robot, model, None, config)


def test_beside_a_real_arm_an_emergency_stop_takes_a_person_even_without_supervisor() -> None:
    link = LockstepLink(Ticking({}), ArmModel(ARM, SCENE.tool), None, SupervisorConfig(enabled=False))
    link.estop()
    link.step(0.2)
    with pytest.raises(ResetRefused, match=r"ESTOP\): a person must reset"):
        link.reset()


def test_a_latch_and_its_budget_are_part_of_a_snapshot() -> None:
    link = make()
    link.estop()
    link.step(0.05)
    saved = link.snapshot()
    other = make()
    other.restore(saved)
    assert other.step(0.05)["latched"][-1] == Reason.ESTOP
    with pytest.raises(ResetRefused):
        other.reset()
    with pytest.raises(UserError, match="expected .* bytes of link.supervisor"):
        make(automatic_max=5).restore(saved)


def test_flights_are_written_from_inside_the_process(tmp_path: Path) -> None:
    link = make(FlightConfig(folder=str(tmp_path), before_s=0.5, after_s=0.2))
    link.send(here(link))
    link.step(0.1)
    link.send(replace(here(link), duration_s=0.2))
    link.estop()
    link.step(1.0)
    [path] = flight_files(tmp_path)
    flight = read_flight(path)
    assert flight.header.reason == Reason.ESTOP and flight.header.motor == "lock-step"
    assert flight.commands["sequence"].tolist() == [1, 2]
