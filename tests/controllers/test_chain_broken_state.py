"""Readings that make no sense, in the middle of motion or at a seed: nothing moves, and the energy books stay right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controllers.chain import ChainConfig
from controllers.types import Source
from robot_rl.bench.adversary import Adversary, adversary_chain
from safety.ledger import LedgerConfig
from safety.reasons import Reason
from safety.reflex import Mode
from tests.controllers.chain_rig import ARM, WIDE, Rig
from tests.controllers.risk_tools import tell


def pressed(config: ChainConfig = WIDE) -> Rig:
    rig = Rig(config)
    rig.aim((0.015, 0.0, 0.0))
    rig.send()
    rig.tick(60)
    return rig


@pytest.mark.parametrize(("name", "value"), [("wrench_tool", 500.0), ("qd_rad_s", 5.0)], ids=["force", "joint speed"])
def test_a_trip_latches_also_near_a_joint_limit(name: str, value: float) -> None:
    rig = pressed()
    rig.stand(3, ARM.upper_rad[3] - 0.01)
    rig.state[name][0, 0] = value
    assert rig.tick(10)["latched"] >= Reason.FORCE_TRIP


def test_a_worse_trip_takes_the_place_of_a_milder_one() -> None:
    """A force beyond its limit is forgiven by itself, a joint that is too fast takes a person: both have happened."""
    rig = pressed()
    rig.state["wrench_tool"][0, 0] = 500.0
    assert rig.tick(3)["latched"] == Reason.FORCE_TRIP
    rig.state["qd_rad_s"][0, 0] = 5.0
    assert rig.tick(3)["latched"] == Reason.JOINT_SPEED_TRIP
    rig.state["qd_rad_s"][0, 0] = 0.0
    assert rig.tick(3)["latched"] == Reason.JOINT_SPEED_TRIP, "a milder one does not take the place of a worse one"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_joints_that_jump_are_not_believed(sign: float) -> None:
    """An encoder that slips against the torque would fill the tank from nothing, one that slips with it drain it."""
    rig = pressed()
    ledger = rig.memory["ledger"]
    ledger["tank_j"] = 0.5
    joint = int(np.abs(rig.report["tau_executed_nm"][0]).argmax())
    rig.state["tau_applied_nm"] = rig.report["tau_executed_nm"]
    rig.state["q_rad"][0, joint] += sign * 0.05 * np.sign(rig.report["tau_executed_nm"][0, joint])
    delivered_j, most_j = float(ledger["delivered_j"]), float(ledger["sent_j"][0])
    report = rig.tick()
    assert report["latched"] == Reason.STATE_INVALID
    assert ledger["delivered_j"] == delivered_j and ledger["tank_j"] == pytest.approx(0.5 - most_j, abs=1e-12)
    assert np.abs(report["executed_position_base_m"] - report["position_base_m"]).max() < 1e-9, "nothing pulls it back"
    rig.send()
    assert rig.tick(50)["latched"] == Reason.STATE_INVALID, "a command ends no latch"
    rig.chain.reseed(rig.state, rig.terms)
    rig.aim((0.01, 0.0, 0.0))
    rig.send()
    report = rig.tick(50)
    assert (
        report["latched"] == 0 and np.abs(report["executed_position_base_m"] - report["position_base_m"]).max() > 1e-4
    )


@pytest.mark.parametrize(("repeated", "late_ticks"), [(0, 0), (0, 4), (20, 0), (20, 4)])
def test_joints_that_are_as_fast_as_the_drive_lets_them_are_believed(repeated: int, late_ticks: int) -> None:
    """Also after a tick that was too long, and where the drive is known to lose packets."""
    rig = Rig(replace(WIDE, ledger=LedgerConfig(repeat_ticks=repeated)))
    reach_rad = ARM.max_velocity_rad_s * 1e-3 * (1 + repeated + late_ticks)
    for share, latched in ((1.0, 0), (-1.1, Reason.STATE_INVALID)):
        rig.state["stamp_ns"] += 1_000_000 * late_ticks
        rig.state["q_rad"][0] += share * reach_rad
        assert rig.tick()["latched"] == latched


@pytest.mark.parametrize("mode", ["off", "observe"])
def test_a_ledger_that_enforces_nothing_latches_nothing(mode: str) -> None:
    rig = pressed(replace(WIDE, ledger=LedgerConfig(mode=mode)))
    rig.state["q_rad"][0, 0] += 0.05
    assert rig.tick()["latched"] == 0


def test_an_arm_that_is_carried_while_it_is_latched_did_not_jump() -> None:
    rig = pressed()
    rig.state["wrench_tool"][0, 0] = 500.0
    assert rig.tick(3)["latched"] == Reason.FORCE_TRIP
    rig.state["wrench_tool"][0, 0] = 0.0
    delivered_j = float(rig.memory["ledger"]["delivered_j"])
    rig.chain.carried()
    rig.state["q_rad"][0, 0] += 0.3
    report = rig.tick()
    assert report["latched"] == Reason.FORCE_TRIP and rig.memory["ledger"]["delivered_j"] == delivered_j
    assert np.abs(report["executed_position_base_m"] - report["position_base_m"]).max() < 1e-9, "nothing pulls it back"


def test_a_blind_tick_that_lasted_longer_costs_as_many_times_the_most_of_its_torque() -> None:
    rig = pressed()
    ledger = rig.memory["ledger"]
    tank_j, most_j = float(ledger["tank_j"]), float(ledger["sent_j"][0])
    rig.state["q_rad"][0, 0] = np.nan
    rig.state["stamp_ns"] += 4_000_000
    rig.tick()
    assert most_j > 0.0 and ledger["tank_j"] == pytest.approx(tank_j - 5.0 * most_j, abs=1e-12)


@pytest.mark.parametrize("name", ["q_rad", "qd_rad_s", "wrench_tool"])
def test_a_seed_from_a_reading_that_is_no_number_pulls_at_nothing(name: str) -> None:
    rig = Rig()
    good = rig.state.copy()
    rig.state[name][0, 0] = np.nan
    rig.measure()
    rig.chain.reseed(rig.state, rig.terms)
    assert rig.memory["latched"] == Reason.STATE_INVALID
    rig.state[:] = good
    report = rig.tick(50)
    assert report["latched"] == Reason.STATE_INVALID
    assert np.abs(report["executed_position_base_m"] - report["position_base_m"]).max() < 1e-9
    assert np.isfinite(report["tank_energy_j"]) and np.isfinite(report["energy_lost_j"])
    rig.chain.reseed(rig.state, rig.terms)
    assert rig.tick()["latched"] == 0


@pytest.mark.parametrize("name", ["q_rad", "wrench_tool"])
def test_no_energy_comes_from_a_gap_in_the_readings(name: str) -> None:
    """Whatever the joints did meanwhile: the spring that is found then is not granted to the tank."""
    rig = pressed()
    rig.memory["ledger"]["tank_j"] = 0.0
    spring_j = float(rig.memory["ledger"]["spring_j"])
    kept = rig.state[name].copy()
    for _ in range(20):
        rig.state[name][0, 0] = np.nan
        rig.tick()
    rig.state[name] = kept
    rig.state["q_rad"][0, 0] += 0.3
    report = rig.tick(5)
    assert report["energy_granted_j"] == pytest.approx(4.0)
    assert report["tank_energy_j"] <= spring_j + 1e-6


class Blinking(Adversary):
    """An adversary whose arm now and then reads a wrench that is no number."""

    def disturb(self, rng: np.random.Generator, state: np.ndarray) -> None:
        if rng.random() < 0.05:
            state["wrench_tool"][0, 0] = np.nan


@pytest.mark.parametrize("delay_ticks", [0, 2])
def test_the_budget_holds_through_readings_that_are_no_numbers(delay_ticks: int) -> None:
    adversary = Blinking()
    for run in range(20):
        result = adversary.run(np.random.default_rng(run), adversary_chain(0.5, delay_ticks), 100)
        assert result.over_budget_j <= 1e-9
        assert result.identity_error_j < 1e-9


@pytest.mark.parametrize(("delay_ticks", "repeat_ticks"), [(0, 0), (1, 20), (2, 0), (2, 20)])
def test_the_budget_holds_while_the_joints_cannot_be_read(delay_ticks: int, repeat_ticks: int) -> None:
    adversary = Adversary()
    for run in range(20):
        config = adversary_chain(0.5, delay_ticks, repeat_ticks)
        result = adversary.run(np.random.default_rng(run), config, 100, blind=True)
        assert result.over_budget_j <= 1e-9
        assert np.isfinite(result.delivered_j)


def test_the_tick_after_which_the_joints_are_read_again_is_written_off_too() -> None:
    rig = Rig()
    rig.aim((0.05, 0.0, 0.0))
    for _ in range(10):  # until it pulls with all that the leash lets it
        rig.send(stiffness=[1000.0] * 3 + [60.0] * 3)
        rig.tick(30)
    kept = rig.state["q_rad"].copy()
    rig.state["q_rad"][0, 0] = np.nan
    rig.tick()
    ledger = rig.memory["ledger"]
    most_j, tank_j = float(ledger["sent_j"][0]), float(ledger["tank_j"])
    rig.state["q_rad"] = kept
    rig.tick()
    assert most_j > 0.0
    assert ledger["tank_j"] == pytest.approx(tank_j - most_j, abs=1e-12)


def test_a_seed_books_what_the_last_torque_did_and_writes_off_an_arm_that_was_carried() -> None:
    rig = pressed()
    tau, before = rig.report["tau_executed_nm"][0].copy(), float(rig.memory["ledger"]["delivered_j"])
    rig.state["tau_applied_nm"] = tau
    rig.state["q_rad"][0, 1] += 1e-3
    rig.measure()
    rig.chain.reseed(rig.state, rig.terms)
    assert rig.memory["ledger"]["delivered_j"] == pytest.approx(before + 1e-3 * tau[1])
    rig.send()
    rig.tick(20)
    delivered_j, tank_j = (float(rig.memory["ledger"][name]) for name in ("delivered_j", "tank_j"))
    most_j = float(rig.memory["ledger"]["sent_j"][0])
    rig.state["q_rad"][0, 1] += 0.3
    rig.measure()
    rig.chain.reseed(rig.state, rig.terms)
    assert rig.memory["ledger"]["delivered_j"] == delivered_j, "nobody's torque carried it so far"
    assert most_j > 0.0
    assert rig.memory["ledger"]["tank_j"] == pytest.approx(tank_j - most_j, abs=1e-12)


def test_a_wish_that_is_no_number_lets_go_of_every_joint() -> None:
    rig = pressed()
    rig.measure()
    original = rig.measure

    def broken() -> None:
        original()
        rig.terms.coriolis_nm[0] = np.nan

    rig.measure = broken  # type: ignore[method-assign]  # the model breaks, not the chain
    report = rig.tick(200)
    assert report["latched"] == Reason.STATE_INVALID
    assert not report["tau_executed_nm"].any()


def test_a_second_reflex_without_a_command_in_between_recovers_too() -> None:
    rig = pressed()
    tell(rig.chain, 0.9)
    rig.tick(100)
    tell(rig.chain, 0.0)
    rig.tick(350)
    tell(rig.chain, 0.9, recovery=(20.0, 0.0, 0.0, 0.0))
    report = rig.tick(100)
    assert report["mode"] == Mode.REFLEX and report["source"] == Source.RECOVERY
    assert np.linalg.norm(rig.memory["goal_position"] - rig.terms.position_base_m) > 0.015


def test_a_command_that_is_dropped_at_once_moves_no_gripper() -> None:
    rig = Rig(gripper_range_m=(0.0, 0.08))
    rig.send(gripper_m=0.08)
    rig.tick(5)
    tell(rig.chain, 0.9)
    rig.send(gripper_m=0.0)
    report = rig.tick()
    assert report["mode"] == Mode.REFLEX and report["executed_gripper_m"] == 0.08
