"""The critic on whole tables of features, with NumPy: for calibration and evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.risk_weights import inputs_of

_ROWS = 65_536


def logits_of(weights: NDArray[Any], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the greater of the twins' logits (n,) for features (n, FEATURES), whatever the training box says."""
    parts, seen = [np.zeros(0)], inputs_of(weights)
    for begin in range(0, len(features), _ROWS):
        x = (features[begin : begin + _ROWS, :seen] - weights["centre"][:seen]) * weights["inverse_scale"][:seen]
        twins = []
        for net in range(2):
            h = np.maximum(x @ weights["first"][net, :seen] + weights["first_bias"][net], 0.0)
            h = np.maximum(h @ weights["second"][net] + weights["second_bias"][net], 0.0)
            twins.append(h @ weights["risk_head"][net] + weights["risk_bias"][net])
        parts.append(np.max(twins, axis=0).astype(np.float64))
    return np.concatenate(parts)


def outside_box(weights: NDArray[Any], features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which rows (n,) hold a feature outside the training box, or NaN."""
    inside = (features >= weights["box_low"]) & (features <= weights["box_high"])
    return np.asarray(~inside.all(axis=1))


def risks_of(weights: NDArray[Any], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns what the tick would report (n,): the risk, 1 outside the training box."""
    logits = logits_of(weights, features)
    risks = 1.0 / (1.0 + np.exp(-logits))
    return np.where(outside_box(weights, features) | ~np.isfinite(logits), 1.0, risks)
