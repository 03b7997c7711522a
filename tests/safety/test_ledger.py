"""The books of the ledger by themselves: identities and inequalities that no sequence of numbers may break."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.ledger import (
    LEDGER,
    LedgerConfig,
    active_valve,
    budget,
    deposit,
    gate_torque,
    grant,
    open_ledger,
    pay,
    settle,
    spring_energy,
)

SPEED_RAD_S = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
seeds = st.integers(0, 2**32 - 1)


def record(config: LedgerConfig | None = None) -> Any:
    return (config or LedgerConfig()).to_record(SPEED_RAD_S, 1e-3)[()]


def books(tank_j: float = 1.0) -> Any:
    ledger = np.zeros(1, LEDGER)
    ledger["tank_j"] = ledger["granted_j"] = tank_j
    open_ledger(ledger[0], 0.0, np.zeros(7))
    return ledger[0]


def energy(ledger: Any) -> float:
    return float(ledger["tank_j"] + ledger["spring_j"])


@given(seeds)
def test_q1_whatever_is_booked_the_identity_holds(seed: int) -> None:
    """E = E_0 + granted - lost - sum of W, to 1e-9 J, for arbitrary positions, torques and springs."""
    rng, ledger, config = np.random.default_rng(seed), books(), record()
    work_j, q = 0.0, np.zeros(7)
    for _ in range(300):
        q_next, tau = q + rng.normal(size=7) * 0.01, rng.normal(size=7) * 20.0
        work_j += float(tau @ (q_next - q))
        q = q_next
        settle(ledger, config, rng.uniform(0.0, 2.0), tau, q)
        pay(ledger, config, rng.uniform(0.0, 2.0))
        if rng.random() < 0.02:
            grant(ledger, config)
        assert ledger["tank_j"] <= config["tank_max_j"]
    expected = ledger["granted_j"] - ledger["lost_j"] - work_j
    assert energy(ledger) == pytest.approx(expected, abs=1e-9)
    assert ledger["delivered_j"] == pytest.approx(work_j, abs=1e-9)
    assert ledger["lost_j"] >= 0.0


def test_no_torque_stays_no_torque_where_rounding_left_less_than_nothing() -> None:
    ledger, tau = books(-1e-18), np.zeros(7)
    assert not gate_torque(ledger, record(), tau)
    assert (tau == 0.0).all() and ledger["gate_share"] == 1.0
    tau[:] = 3.0
    assert gate_torque(ledger, record(), tau)
    assert (tau == 0.0).all()


@pytest.mark.parametrize(("tank_j", "left_j"), [(1.0, 0.95), (0.06, 0.01), (0.05, 0.0), (0.02, 0.0)])
def test_the_least_energy_of_the_tank_is_not_for_moves(tank_j: float, left_j: float) -> None:
    assert budget(books(tank_j), record()) == pytest.approx(left_j)


@given(seeds, st.integers(0, 2), st.integers(0, 20))
def test_the_gate_keeps_the_work_within_what_there_is(seed: int, delay: int, repeat: int) -> None:
    """Joints at full speed along a torque that comes late and, where packets are lost, goes on: T + V never < 0."""
    rng, ledger = np.random.default_rng(seed), books(0.3)
    config = record(LedgerConfig(delay_ticks=delay, repeat_ticks=repeat))
    q, under_way, applied, lost = np.zeros(7), [np.zeros(7)] * delay, np.zeros(7), 0
    for _ in range(150):
        tau = rng.normal(size=7) * rng.choice([1.0, 40.0])
        gate_torque(ledger, config, tau)
        under_way.append(tau)
        arrived = under_way.pop(0)
        if lost > 0:
            lost -= 1
        else:
            applied, lost = arrived, int(rng.integers(0, repeat + 1)) if rng.random() < 0.3 else 0
        q = q + np.sign(applied) * SPEED_RAD_S * 1e-3
        settle(ledger, config, 0.0, applied, q)
        assert energy(ledger) >= -1e-12


def test_the_gate_lets_small_torques_through_to_the_last_bit() -> None:
    ledger, config, tau = books(1.0), record(), np.array([3.0, -2.0, 1.0, 0.5, 0.1, -0.1, 0.01])
    wished = tau.copy()
    assert not gate_torque(ledger, config, tau)
    np.testing.assert_array_equal(tau, wished)
    assert ledger["gate_share"] == 1.0


def test_an_empty_tank_stops_every_torque_and_is_opened_by_a_grant_alone() -> None:
    ledger, config, tau = books(0.0), record(), np.ones(7)
    assert gate_torque(ledger, config, tau) and not tau.any()
    open_ledger(ledger, 0.0, np.zeros(7))
    assert ledger["tank_j"] == 0.0
    assert grant(ledger, config) == config["tank_start_j"] == ledger["tank_j"]


@given(seeds)
def test_q4_more_in_the_tank_never_grants_less(seed: int) -> None:
    rng, config = np.random.default_rng(seed), record()
    low, high = np.sort(rng.uniform(0.0, 1.0, 2))
    poor, rich = books(low), books(high)
    power_w = rng.uniform(-10.0, 200.0)
    assert budget(poor, config) <= budget(rich, config)
    assert active_valve(poor, config, power_w, 1e-3) <= active_valve(rich, config, power_w, 1e-3)
    tau = rng.normal(size=7) * 40.0
    small, large = tau.copy(), tau.copy()
    gate_torque(poor, config, small)
    gate_torque(rich, config, large)
    assert (np.abs(small) <= np.abs(large) + 1e-12).all()


@given(seeds)
def test_q8_opening_twice_makes_no_energy(seed: int) -> None:
    rng, ledger = np.random.default_rng(seed), books(rng_tank(seed))
    before = energy(ledger) - ledger["granted_j"]
    for _ in range(5):
        open_ledger(ledger, rng.uniform(0.0, 1.0), rng.normal(size=7))
        assert ledger["tank_j"] == rng_tank(seed)
        assert energy(ledger) - ledger["granted_j"] <= before + 1e-12


def rng_tank(seed: int) -> float:
    return float(np.random.default_rng([seed, 1]).uniform(0.0, 1.0))


@given(seeds)
def test_the_store_belongs_to_the_clipped_force(seed: int) -> None:
    """dV = K clip(e) de: the store of a spring whose force is clipped at the leash."""
    rng = np.random.default_rng(seed)
    stiffness, leash = rng.uniform(0.0, 1000.0, 6), rng.uniform(0.005, 0.1, 6)
    error, step = rng.uniform(-0.2, 0.2, 6), rng.normal(size=6) * 1e-7
    gained = spring_energy(error + step, stiffness, leash) - spring_energy(error, stiffness, leash)
    assert gained == pytest.approx(float((stiffness * np.clip(error, -leash, leash)) @ step), abs=1e-10)


def test_overflow_is_lost_and_the_valve_holds_the_power() -> None:
    ledger, config = books(7.9), record()
    deposit(ledger, config, 1.0)
    assert ledger["tank_j"] == 8.0 and ledger["lost_j"] == pytest.approx(0.9)
    assert active_valve(ledger, config, 20.0, 1e-3) == pytest.approx(0.25)
    assert active_valve(ledger, config, -20.0, 1e-3) == 1.0
    assert active_valve(books(0.051), config, 4.0, 1e-3) == pytest.approx(0.25), "1 mJ is left for this tick"


def test_observing_limits_nothing() -> None:
    ledger, config, tau = books(0.0), record(LedgerConfig(mode="observe")), np.full(7, 50.0)
    assert not gate_torque(ledger, config, tau) and (tau == 50.0).all()
    assert budget(ledger, config) == math.inf
    pay(ledger, config, 3.0)
    assert ledger["tank_j"] == -3.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "on"}, "mode must be off, observe or enforce, got 'on'"),
        ({"tank_start_j": 9.0}, "expected 0 <= tank_min_j < tank_start_j <= tank_max_j <= 10, got 0.05, 9.0, 8.0"),
        ({"tank_max_j": 11.0}, "<= 10, got 0.05, 4.0, 11.0"),
        ({"max_active_power_w": math.inf}, "max_active_power_w must be a finite number > 0, got inf"),
        ({"delay_ticks": 3}, r"delay_ticks must be 0..2, got 3"),
        ({"repeat_ticks": 21}, r"repeat_ticks must be 0..20, got 21"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("..", r"\.\.")):
        LedgerConfig(**changes)
