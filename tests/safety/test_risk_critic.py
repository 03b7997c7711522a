"""The critic's inference: networks, training box, what is not finite, filters, figures of its configuration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from data.errors import UserError
from safety.compilation import kernel
from safety.reference_limiter import ReferenceLimiterConfig
from safety.risk_critic import (
    RiskCriticConfig,
    low_pass,
    prime,
    recover,
    risk_of_features,
    smooth,
    stopping_time_s,
    travel,
)
from safety.risk_memory import FEATURES, RISK
from safety.risk_weights import WeightsRefusal, examine_weights, require_acceptable
from tests.safety.critic_tools import random_weights, reference_risk


@kernel
def ask(weights: Any, risk: Any) -> float:
    value = risk_of_features(weights[0], risk[0])
    recover(weights[0], risk[0])
    return value


def memory(features: Any) -> Any:
    risk = np.zeros(1, RISK)
    risk["features"], risk["axes"] = features, np.eye(3)
    return risk


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_networks_compute_what_their_equations_say(seed: int) -> None:
    weights = random_weights(seed=seed)
    risk = memory(np.random.default_rng(seed).normal(size=FEATURES))
    value = ask(weights.reshape(1), risk)
    expected, offset_m, stiffness = reference_risk(weights, risk["features"][0])
    assert value == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(risk["recovery_offset_base_m"][0], offset_m, atol=1e-6)
    np.testing.assert_allclose(risk["recovery_stiffness"][0], stiffness, rtol=1e-4)
    assert risk["has_recovery"] == 1


@given(st.integers(0, FEATURES - 1), st.sampled_from([math.nan, math.inf, -math.inf, 51.0, -51.0]))
@settings(max_examples=30)
def test_outside_the_training_box_and_for_nan_the_risk_is_certain(index: int, value: float) -> None:
    features = np.zeros(FEATURES)
    features[index] = value
    risk = memory(features)
    assert ask(random_weights().reshape(1), risk) == 1.0
    assert risk["outside"] == 1


@pytest.mark.parametrize("name", ["first", "second_bias", "risk_head", "risk_bias"])
def test_nan_inside_the_networks_is_certain_risk(name: str) -> None:
    weights = random_weights()
    weights[name].reshape(-1)[3 % weights[name].size] = np.nan
    assert ask(weights.reshape(1), memory(np.ones(FEATURES))) == 1.0


def test_a_recovery_that_is_not_finite_counts_as_none() -> None:
    weights = random_weights()
    weights["recovery_bias"][1] = np.nan
    risk = memory(np.zeros(FEATURES))
    assert ask(weights.reshape(1), risk) < 1.0
    assert risk["has_recovery"] == 0


def test_the_low_pass_is_scipys_and_starts_without_a_step() -> None:
    b, a = low_pass(50.0, 1e-3)
    b_scipy, a_scipy = signal.butter(2, 50.0, fs=1000.0)
    np.testing.assert_allclose(b, b_scipy, atol=1e-12)
    np.testing.assert_allclose(a, a_scipy[1:], atol=1e-12)
    state = np.zeros(2)
    prime(3.0, b, a, state)
    assert smooth(3.0, b, a, state) == pytest.approx(3.0)
    x = np.random.default_rng(0).normal(size=50)
    state[:] = 0.0
    np.testing.assert_allclose([smooth(value, b, a, state) for value in x], signal.lfilter(b_scipy, a_scipy, x))


def test_stopping_time_and_travel() -> None:
    limiter = ReferenceLimiterConfig()  # 0.25 m/s, 1 m/s^2, 1000 N/m x 20 mm
    assert stopping_time_s(limiter, 500.0) == pytest.approx(0.010 + 0.25 + 20.0 * 0.6 / 500.0)
    assert travel(0.25, 1.0, 1.0) == pytest.approx(0.25 - 0.25**2 / 2.0)
    assert travel(0.25, 1.0, 0.1) == pytest.approx(0.005)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "sometimes"}, {"period_ticks": 0}, {"lookahead_s": 0.0}, {"max_force_n": -1.0}, {"max_moment_nm": 0.0}],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RiskCriticConfig(**wrong)


CASES = {
    "layout": (WeightsRefusal.LAYOUT, 7),
    "version": (WeightsRefusal.OLDER, 2),
    "risk_bias": (WeightsRefusal.NOT_FINITE, math.inf),
    "centre": (WeightsRefusal.NOT_FINITE, math.nan),
    "max_force_n": (WeightsRefusal.LIMITS, 12.0),
    "lookahead_s": (WeightsRefusal.LIMITS, 0.1),
    "discount": (WeightsRefusal.RANGE, 1.0),
    "box_high": (WeightsRefusal.RANGE, -60.0),
}


@pytest.mark.parametrize("field", CASES)
def test_wrong_weights_are_refused(field: str) -> None:
    critic = RiskCriticConfig().to_record(ReferenceLimiterConfig(), 1e-3)
    weights = random_weights(version=3)
    assert examine_weights(weights, 3, critic) == WeightsRefusal.ACCEPTED
    weights[field], verdict = CASES[field][1], CASES[field][0]
    assert examine_weights(weights, 3, critic) == verdict
    with pytest.raises(UserError, match=r"weights of the safety critic were refused: \w+"):
        require_acceptable(verdict)


def test_other_weights_of_the_version_in_use_are_refused() -> None:
    critic = RiskCriticConfig().to_record(ReferenceLimiterConfig(), 1e-3)
    critic["weights"] = random_weights(version=3)
    same, other = random_weights(version=3), random_weights(version=3, seed=1)
    assert examine_weights(same, 3, critic) == WeightsRefusal.ACCEPTED
    assert examine_weights(other, 3, critic) == WeightsRefusal.SAME_VERSION
    other["version"] = 4
    assert examine_weights(other, 3, critic) == WeightsRefusal.ACCEPTED
    with pytest.raises(UserError, match="other ones of the same version are in use"):
        require_acceptable(WeightsRefusal.SAME_VERSION)
