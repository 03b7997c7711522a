"""The law against its equations in plain NumPy, and what its configuration refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import kernel_terms
from controllers.description import fr3, square_peg_tool
from controllers.impedance import WORKSPACE, ImpedanceConfig, active_terms, impedance_law

ARM = fr3()
MODEL = ArmModel(ARM, square_peg_tool())
CONFIG = ImpedanceConfig()
RECORD = CONFIG.to_record(ARM.lower_rad, ARM.upper_rad, ARM.home_rad)
seeds = st.integers(0, 2**32 - 1)


class Case:
    """A random state well inside the joint limits, and a random wish."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.q = ARM.lower_rad + (ARM.upper_rad - ARM.lower_rad) * rng.uniform(0.3, 0.7, 7)
        self.qd = rng.normal(size=7)
        self.error = rng.uniform(-1.0, 1.0, 6) * [0.02, 0.02, 0.02, 0.1, 0.1, 0.1]
        self.stiffness = rng.uniform(0.0, 1.0, 6) * [1000.0, 1000.0, 1000.0, 60.0, 60.0, 60.0]
        self.wrench = rng.uniform(-5.0, 5.0, 6)
        self.terms = ModelTerms()
        MODEL.terms(self.q, self.qd, self.terms)
        self.work = np.zeros(1, WORKSPACE)
        self.tau = np.zeros(7)

    def law(self, **changes: Any) -> np.ndarray:
        values = {**vars(self), **changes}
        terms, work = kernel_terms(self.terms), self.work[0]
        self.active_power_w = active_terms(values["q"], values["qd"], values["wrench"], terms, RECORD[()], work)
        impedance_law(
            values["q"],
            values["error"],
            values["stiffness"],
            0.9,
            values["wrench"],
            values.get("active_share", 1.0),
            terms,
            RECORD[()],
            work,
            self.tau,
        )
        return self.tau.copy()


def plain_law(case: Case) -> np.ndarray:
    """J^T (K e - D J qd + F) + N tau_posture + C qd, D = 2 zeta sqrt(Lambda K), in five lines of linear algebra."""
    J, M = case.terms.jacobian, case.terms.mass
    Lambda = np.linalg.inv(J @ np.linalg.inv(M) @ J.T + CONFIG.regularisation * np.eye(6))
    inertia = np.clip(np.diag(Lambda), CONFIG.inertia_min, CONFIG.inertia_max)
    D = 2.0 * 0.9 * np.sqrt(inertia * case.stiffness)
    N = np.eye(7) - J.T @ Lambda @ J @ np.linalg.inv(M)
    gain = CONFIG.nullspace_stiffness_nm_rad
    posture = np.clip(gain * (ARM.home_rad - case.q) - 2.0 * np.sqrt(gain) * case.qd, -5.0, 5.0)
    task: np.ndarray = J.T @ (case.stiffness * case.error - D * (J @ case.qd) + case.wrench)
    tau: np.ndarray = task + N @ posture + case.terms.coriolis_nm
    return tau


def repulsion_of(q: np.ndarray) -> np.ndarray:
    low, high = q - ARM.lower_rad, ARM.upper_rad - q
    share = np.clip((0.3 - np.minimum(low, high)) / 0.3, 0.0, 1.0)
    tau: np.ndarray = np.where(low < high, 1.0, -1.0) * share * CONFIG.limit_max_nm
    return tau


@given(seeds)
def test_it_is_the_equation(seed: int) -> None:
    case = Case(seed)
    np.testing.assert_allclose(case.law(), plain_law(case) + repulsion_of(case.q), rtol=1e-9, atol=1e-9)


@given(seeds)
def test_p7_virtual_work(seed: int) -> None:
    """The joint torque of a wrench does on a joint motion the work that the wrench does on the tool's motion."""
    case = Case(seed)
    without = case.law(wrench=np.zeros(6))
    step = np.random.default_rng(seed).normal(size=7) * 1e-7
    before, after = MODEL.forward(case.q), MODEL.forward(case.q + step)
    moved = np.concatenate([after.position_m - before.position_m, np.zeros(3)])
    force = np.array([*case.wrench[:3], 0.0, 0.0, 0.0])
    torque = case.law(wrench=force) - without
    assert torque @ step == pytest.approx(force @ moved, rel=1e-4, abs=1e-12)


@given(seeds)
def test_the_nullspace_task_does_not_move_the_tool(seed: int) -> None:
    """J M^-1 tau of the posture alone is zero to the regularisation."""
    case = Case(seed)
    zero = {"error": np.zeros(6), "wrench": np.zeros(6), "stiffness": np.zeros(6)}
    posture = case.law(**zero) - repulsion_of(case.q) - case.terms.coriolis_nm
    acceleration = case.terms.jacobian @ np.linalg.solve(case.terms.mass, posture)
    assert np.abs(acceleration).max() < 0.05
    assert np.abs(posture).max() < 50.0


@given(seeds, st.integers(0, 6), st.booleans())
def test_repulsion_points_away_and_torque_towards_a_near_limit_is_dropped(seed: int, joint: int, upper: bool) -> None:
    case = Case(seed)
    distance = np.random.default_rng(seed).uniform(0.0, 0.1)
    case.q[joint] = ARM.upper_rad[joint] - distance if upper else ARM.lower_rad[joint] + distance
    MODEL.terms(case.q, case.qd, case.terms)
    tau = case.law()[joint]
    least = CONFIG.limit_max_nm * (0.3 - distance) / 0.3
    assert (-tau if upper else tau) >= least - 1e-9


@given(seeds)
def test_damping_takes_energy_out(seed: int) -> None:
    case = Case(seed)
    zero = {"error": np.zeros(6), "wrench": np.zeros(6)}
    damped, free = case.law(**zero), case.law(**zero, stiffness=np.zeros(6))
    assert (damped - free) @ case.qd <= 1e-9


def test_at_a_singularity_everything_stays_finite() -> None:
    case = Case(0)
    case.q[:] = [0.0, 0.0, 0.0, -0.2, 0.0, 0.6, 0.0]
    case.q[:] = np.clip(case.q, ARM.lower_rad + 0.31, ARM.upper_rad - 0.31)
    MODEL.terms(case.q, case.qd, case.terms)
    case.terms.jacobian[2] = case.terms.jacobian[1]
    assert np.isfinite(case.law()).all()
    assert (case.work["damping"] <= 2.0 * 0.9 * np.sqrt(np.array(CONFIG.inertia_max) * case.stiffness) + 1e-9).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit_stop_rad": 0.2}, "expected 0 < limit_stop_rad < limit_zeroing_rad < limit_margin_rad"),
        ({"nullspace_max_nm": -1.0}, "nullspace_max_nm must be a finite number >= 0"),
        ({"regularisation": 0.0}, "regularisation must be > 0"),
        ({"inertia_min": (20.0,) * 6}, "expected 0 < inertia_min <= inertia_max"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImpedanceConfig(**changes)
