"""Weights of a safety critic that no training made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.risk_critic import RECOVERY_REACH_M, RECOVERY_STIFFNESS, RiskCriticConfig
from safety.risk_weights import CRITIC_WEIGHTS, inputs_of, layout_number


def random_weights(version: int = 1, seed: int = 0, config: RiskCriticConfig | None = None) -> NDArray[Any]:
    """Returns a () CRITIC_WEIGHTS record with random networks and a wide training box; blind unless told a surface."""
    limits, rng = config or RiskCriticConfig(), np.random.default_rng(seed)
    weights = np.zeros((), CRITIC_WEIGHTS)
    names = ("first", "second", "risk_head", "recovery_head", "first_bias", "second_bias", "risk_bias", "recovery_bias")
    for name in names:
        weights[name] = rng.normal(size=weights[name].shape) * 0.2
    weights["layout"], weights["version"], weights["has_recovery"] = layout_number(), version, 1
    for name in ("max_force_n", "max_moment_nm", "lookahead_s"):
        weights[name] = getattr(limits, name)
    weights["discount"] = 0.1
    weights["centre"], weights["inverse_scale"] = rng.normal(size=weights["centre"].shape), 0.7
    weights["box_low"], weights["box_high"] = -50.0, 50.0
    weights["surface"] = limits.surface or 0.0
    seen = inputs_of(weights)
    weights["first"][:, seen:] = 0.0
    weights["centre"][seen:] = weights["inverse_scale"][seen:] = 0.0
    return weights


def constant_weights(risk: float, version: int = 1, config: RiskCriticConfig | None = None) -> NDArray[Any]:
    """Returns weights that answer `risk` for every state."""
    weights = random_weights(version, config=config)
    weights["risk_head"] = 0.0
    weights["risk_bias"] = np.log(risk / (1.0 - risk))
    return weights


def reference_risk(weights: NDArray[Any], features: NDArray[Any]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """The networks in float64: risk, recovery offset (3,) in tool axes [m], recovery stiffness (6,)."""
    x = (features.astype(float) - weights["centre"]) * weights["inverse_scale"]
    hidden = []
    for net in range(3):
        first = np.maximum(x @ weights["first"][net].astype(float) + weights["first_bias"][net], 0.0)
        hidden.append(np.maximum(first @ weights["second"][net].astype(float) + weights["second_bias"][net], 0.0))
    z = np.array([hidden[net] @ weights["risk_head"][net] + weights["risk_bias"][net] for net in range(2)])
    out = hidden[2] @ weights["recovery_head"].astype(float) + weights["recovery_bias"]
    share = 1.0 / (1.0 + np.exp(-out[3]))
    stiffness = np.repeat([low * (high / low) ** share for low, high in RECOVERY_STIFFNESS], 3)
    return float((1.0 / (1.0 + np.exp(-z))).max()), RECOVERY_REACH_M * np.tanh(out[:3]), stiffness
