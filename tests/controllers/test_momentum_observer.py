"""The momentum observer against an arm whose external wrench is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.arm_model import ArmModel, ModelTerms
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.robots.momentum_observer import MomentumObserver
from controllers.robots.observer_kernels import wrench_of_torques

ARM, TOOL = fr3(), square_peg_tool()
MODEL = ArmModel(ARM, TOOL)
DT_S = 1e-3


def observed(wrench_tool: np.ndarray, ticks: int, tau_nm: np.ndarray) -> np.ndarray:
    """What the observer says after some ticks of an arm that a constant wrench in tool axes pushes."""
    observer, terms = MomentumObserver(ARM, TOOL, 1.0 / DT_S), ModelTerms()
    q, qd, said = ARM.home_rad.copy(), np.zeros(7), np.zeros(6)
    for _ in range(ticks):
        MODEL.terms(q, qd, terms)
        wrench_base = np.concatenate([terms.rotation_base @ wrench_tool[:3], terms.rotation_base @ wrench_tool[3:]])
        said = observer.update(q, qd, tau_nm, DT_S).copy()
        torque = tau_nm + terms.jacobian.T @ wrench_base - terms.coriolis_nm
        qd = qd + DT_S * np.linalg.solve(terms.mass, torque)
        q = q + DT_S * qd
    return said


@given(st.lists(st.floats(-8.0, 8.0), min_size=6, max_size=6), st.floats(-0.2, 0.2))
def test_it_finds_what_the_surroundings_exert_on_the_tool(values: list[float], tau_nm: float) -> None:
    wrench_tool = np.array(values) * [1.0, 1.0, 1.0, 0.05, 0.05, 0.05]
    said = observed(wrench_tool, 100, np.full(7, tau_nm))  # six time constants of 1 / 60 s; the arm yields meanwhile
    np.testing.assert_allclose(said[:3], wrench_tool[:3], atol=1.0)
    np.testing.assert_allclose(said[3:], wrench_tool[3:], atol=0.2)


def test_it_follows_as_a_first_order_filter() -> None:
    wrench_tool = np.array([0.0, 0.0, -10.0, 0.0, 0.0, 0.0])
    assert observed(wrench_tool, 1 + round(1000.0 / 60.0), np.zeros(7))[2] == pytest.approx(-6.3, abs=0.4)


def test_it_begins_anew_without_a_wrench() -> None:
    observer = MomentumObserver(ARM, TOOL, 1000.0)
    observer.update(ARM.home_rad, np.zeros(7), np.full(7, 5.0), DT_S)
    assert np.abs(observer.update(ARM.home_rad, np.zeros(7), np.full(7, 5.0), DT_S)).max() > 0.1
    observer.restart()
    assert not observer.update(ARM.home_rad, np.full(7, 0.3), np.full(7, 5.0), DT_S).any()


def test_its_gain_must_be_slower_than_its_tick() -> None:
    with pytest.raises(ValueError, match="between 0 and the tick's rate of 1000 Hz"):
        MomentumObserver(ARM, TOOL, 1000.0, gain_hz=1000.0)


def test_the_damped_pseudo_inverse_is_the_one_of_linear_algebra() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        jacobian, torque, wrench = rng.normal(size=(6, 7)), rng.normal(size=7), np.zeros(6)
        wrench_of_torques(jacobian, torque, 0.1, np.zeros((6, 6)), wrench)
        expected = np.linalg.solve(jacobian @ jacobian.T + 0.01 * np.eye(6), jacobian @ torque)
        np.testing.assert_allclose(wrench, expected, rtol=1e-9, atol=1e-12)
