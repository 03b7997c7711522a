"""Weights of a safety critic that no training made: of the real size, for timing and for faults."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.risk_critic import RiskCriticConfig
from safety.risk_weights import CRITIC_WEIGHTS, layout_number


def made_up_weights(config: RiskCriticConfig, risk: float = 0.01, version: int = 1) -> NDArray[Any]:
    """Returns a () CRITIC_WEIGHTS record: random hidden layers, which cost what trained ones do, and always this risk.

    risk in (0, 1). Its recovery policy stays where it is; its training box is unbounded, or nearly so.
    """
    rng, weights = np.random.default_rng(0), np.zeros((), CRITIC_WEIGHTS)
    for name in ("first", "second", "first_bias", "second_bias"):
        weights[name] = 0.2 * rng.normal(size=weights[name].shape)
    weights["layout"], weights["version"], weights["has_recovery"] = layout_number(), version, 1
    for name in ("max_force_n", "max_moment_nm", "lookahead_s"):
        weights[name] = getattr(config, name)
    weights["surface"] = config.surface or 0.0
    weights["discount"], weights["inverse_scale"] = 0.1, 1.0
    weights["box_low"], weights["box_high"] = -1e6, 1e6
    weights["risk_bias"] = np.log(risk / (1.0 - risk))
    return weights
