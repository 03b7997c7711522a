"""The ledger in the whole tick: adversary, pump, grants, transparency."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.chain import ChainConfig
from robot_rl.bench.adversary import Adversary, adversary_chain, without_ledger
from robot_rl.bench.pump import run_pump
from safety.ledger import LedgerConfig
from safety.reasons import Reason
from tests.controllers.chain_rig import WIDE, Rig

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("delay_ticks", [0, 1, 2])
@pytest.mark.parametrize("repeat_ticks", [0, 20])
def test_q1_q2_q9_no_adversary_gets_more_than_the_budget(delay_ticks: int, repeat_ticks: int) -> None:
    """Joints at full speed along the torque, late drives, lost packets: delivered energy <= initial + granted."""
    adversary = Adversary()
    for run in range(40):
        rng = np.random.default_rng([delay_ticks, repeat_ticks, run])
        result = adversary.run(rng, adversary_chain(rng.uniform(0.06, 1.0), delay_ticks, repeat_ticks), 80)
        assert result.identity_error_j < 1e-9
        assert result.over_budget_j <= 1e-9


def test_the_adversary_is_a_real_one() -> None:
    """Without limits the same joints take many times the budget."""
    adversary = Adversary()
    results = [
        adversary.run(np.random.default_rng(run), without_ledger(adversary_chain(0.5)), 200) for run in range(10)
    ]
    assert np.median([result.over_budget_j for result in results]) > 1.0
    assert max(result.identity_error_j for result in results) < 1e-9


def test_the_pump_is_dry() -> None:
    unfiltered_j, _ = run_pump("observe")
    filtered_j, budget_j = run_pump("enforce")
    assert unfiltered_j > 5.0
    assert 0.9 < filtered_j <= budget_j == 1.0, "it spends what it has"


def stream(config: ChainConfig, seed: int) -> np.ndarray:
    """Torques of random commands to an arm that wanders about."""
    rig, rng, taus = Rig(config), np.random.default_rng(seed), []
    for _ in range(30):
        rig.aim(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.2, 0.2, 3))
        wrench = rng.uniform(-0.3, 0.3, 6)
        rig.send(stiffness=rng.uniform(0.1, 1.0, 6) * ([1000.0] * 3 + [60.0] * 3), feedforward_wrench_base=wrench)
        for _ in range(10):
            rig.state["q_rad"] += rng.normal(size=7) * 1e-4
            rig.state["qd_rad_s"] = rng.normal(size=7) * 0.05
            rig.state["tau_applied_nm"] = rig.report["tau_executed_nm"]
            taus.append(rig.tick()["tau_executed_nm"].copy())
    return np.array(taus)


@given(seeds)
@settings(max_examples=10)
def test_q5_with_a_full_tank_the_torque_is_the_unfiltered_one(seed: int) -> None:
    full = replace(WIDE, ledger=LedgerConfig(tank_start_j=10.0, tank_max_j=10.0))
    off = replace(WIDE, ledger=LedgerConfig(mode="off"))
    np.testing.assert_allclose(stream(full, seed), stream(off, seed), rtol=0.0, atol=1e-12)


def poor_rig(tank_j: float) -> Rig:
    rig = Rig(replace(WIDE, ledger=LedgerConfig(tank_start_j=max(tank_j, 0.06), tank_min_j=0.05)))
    rig.memory["ledger"]["tank_j"] = tank_j
    return rig


def test_q6_softening_and_relaxing_pass_with_an_empty_tank_and_fill_it() -> None:
    rig = Rig()
    rig.aim((0.015, 0.0, 0.0))
    rig.send(stiffness=[1000.0] * 3 + [30.0] * 3)
    rig.tick(600)
    rig.memory["ledger"]["tank_j"] = 0.0
    loaded_j = float(rig.memory["ledger"]["spring_j"])
    assert loaded_j > 0.1
    rig.send(stiffness=[100.0] * 3 + [30.0] * 3)
    report = rig.tick(300)
    assert report["executed_stiffness"][0] == 100.0
    assert report["tank_energy_j"] == pytest.approx(0.9 * loaded_j, rel=0.05)
    rig.memory["ledger"]["tank_j"] = 0.0
    rig.aim()
    rig.send()
    rig.tick(300)
    assert np.abs(rig.memory["work"]["error"]).max() < 1e-3


def test_f11_an_empty_tank_freezes_costly_moves_without_a_jump() -> None:
    rig = Rig()
    rig.aim((0.015, 0.0, 0.0))
    rig.send()
    rig.tick(100)
    rig.memory["ledger"]["tank_j"] = 0.0
    before = rig.tick()
    force = before["tau_executed_nm"].copy()
    rig.aim((0.1, 0.0, 0.0))
    rig.send(stiffness=[1000.0] * 3 + [60.0] * 3)
    report = rig.tick(100)
    assert report["reason"] in (Reason.TANK_EMPTY, Reason.ENERGY_GATE)
    assert report["stiffness_share"] == report["reference_share"] == 0.0
    moved = report["executed_position_base_m"] - before["executed_position_base_m"]
    assert np.abs(moved).max() < 1e-4
    assert np.abs(report["tau_executed_nm"]).max() <= np.abs(force).max() + 0.5
    assert rig.memory["damping_ratio"] >= 1.2 - 1e-9


@given(seeds)
@settings(max_examples=10)
def test_q4_a_fuller_tank_grants_at_least_as_much(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(0.0, 0.06, 2))
    shares = []
    for tank_j in (low, high):
        rig = poor_rig(tank_j)
        rig.aim((0.02, 0.0, 0.0))
        rig.send(stiffness=[1000.0] * 3 + [60.0] * 3)
        report = rig.tick(60)
        shares.append((report["executed_position_base_m"][0], report["executed_stiffness"][0]))
    assert shares[1][0] >= shares[0][0] - 1e-9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
@pytest.mark.parametrize("name", ["position_base_m", "stiffness", "feedforward_wrench_base"])
def test_q7_a_wish_that_is_no_number_changes_no_book(name: str, bad: float) -> None:
    def books(rig: Rig) -> dict[str, Any]:
        return {key: np.copy(rig.memory["ledger"][key]) for key in ("tank_j", "spring_j", "granted_j", "lost_j")}

    rig = Rig()
    rig.send()
    rig.tick(100)
    before = books(rig)
    values = rig.command[name][0].copy()
    values[0] = bad
    rig.send(**{name: values})
    rig.tick()
    for key, value in books(rig).items():
        assert value == pytest.approx(before[key], abs=1e-12), key


def test_q8_seeding_again_and_again_makes_no_energy_only_a_grant_does() -> None:
    rig = Rig()
    rig.memory["ledger"]["tank_j"] = 0.3
    for _ in range(5):
        rig.chain.reseed(rig.state, rig.terms)
        rig.tick(3)
    assert rig.memory["ledger"]["tank_j"] == pytest.approx(0.3)
    assert rig.chain.grant() == pytest.approx(3.7)
    assert rig.tick()["tank_energy_j"] == 4.0


def test_a_torque_that_cannot_be_read_back_counts_as_the_commanded_one() -> None:
    rig = Rig()
    rig.aim((0.02, 0.0, 0.0))
    rig.send()
    sent = rig.tick(50)["tau_executed_nm"].copy()
    rig.state["tau_applied_nm"] = np.nan
    rig.state["q_rad"] += 1e-4
    assert rig.tick()["work_j"] == pytest.approx(float(sent.sum() * 1e-4))


def test_switched_off_there_are_no_books() -> None:
    rig = Rig(replace(WIDE, ledger=LedgerConfig(mode="off")))
    rig.send()
    report = rig.tick(10)
    assert np.isnan(report["tank_energy_j"]) and np.isnan(report["gate_share"])
