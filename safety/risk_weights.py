"""Weights of the safety critic as one record without pointers, and what makes the motor refuse a set of them."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from safety.risk_memory import BLIND_FEATURES, FEATURE_NAMES, FEATURES, WIDTH

NETWORKS = 3
"""Two risk networks and the recovery policy."""
RECOVERY_OUTPUTS = 4
"""Offset of the reference (3, tool axes) and one scale of the stiffness."""

CRITIC_WEIGHTS = np.dtype(
    [
        ("layout", "i8"),  # layout_number() of whoever made the weights
        ("version", "i8"),  # strictly increasing over a training; 0: no weights
        ("has_recovery", "i8"),
        ("max_force_n", "f8"),  # limits of a violation, by which the wrench was scaled
        ("max_moment_nm", "f8"),
        ("lookahead_s", "f8"),  # by which the action was scaled
        ("surface", "f8", 6),  # about which depth and tilt were measured; all 0: the networks see neither
        ("discount", "f8"),  # of one second, in (0, 1)
        ("centre", "f4", FEATURES),
        ("inverse_scale", "f4", FEATURES),
        ("box_low", "f4", FEATURES),  # training box: beyond it the risk is certain
        ("box_high", "f4", FEATURES),
        ("first", "f4", (NETWORKS, FEATURES, WIDTH)),
        ("first_bias", "f4", (NETWORKS, WIDTH)),
        ("second", "f4", (NETWORKS, WIDTH, WIDTH)),
        ("second_bias", "f4", (NETWORKS, WIDTH)),
        ("risk_head", "f4", (2, WIDTH)),
        ("risk_bias", "f4", 2),
        ("recovery_head", "f4", (WIDTH, RECOVERY_OUTPUTS)),
        ("recovery_bias", "f4", RECOVERY_OUTPUTS),
    ],
    align=True,
)


class WeightsRefusal(IntEnum):
    """Why a set of weights did not replace the one in use."""

    ACCEPTED = 0
    """It did."""
    DAMAGED = 1
    """The bytes do not match their checksum, or are not all there."""
    LAYOUT = 2
    """Made for other features or networks than this version computes."""
    NOT_FINITE = 3
    """A number is NaN or infinite."""
    OLDER = 4
    """Its version is below the one in use, or not above 0."""
    LIMITS = 5
    """Trained for other violation limits, another look-ahead or another surface than the motor is configured for."""
    RANGE = 6
    """The discount is not in (0, 1), or the training box is empty."""
    SAME_VERSION = 7
    """Another set with the version of the one in use."""


REFUSAL_TEXTS = {
    WeightsRefusal.DAMAGED: "their bytes do not match their checksum; hand them over again",
    WeightsRefusal.LAYOUT: "they were made for other features or networks; train them with this version",
    WeightsRefusal.NOT_FINITE: "a number in them is NaN or infinite; train them again",
    WeightsRefusal.OLDER: "their version is not above 0, or below the one in use; number them upwards",
    WeightsRefusal.LIMITS: "they were trained for other violation limits, look-ahead or surface; take this task's",
    WeightsRefusal.RANGE: "their discount is not in (0, 1), or their training box is empty; train them again",
    WeightsRefusal.SAME_VERSION: "other ones of the same version are in use; number them upwards",
}


def layout_number() -> int:
    """Returns a number that names the features, their order and the shapes of the networks."""
    text = " ".join(FEATURE_NAMES) + str(CRITIC_WEIGHTS.descr)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")


def inputs_of(weights: Any) -> int:
    """Returns how many features, from the first on, the networks of a CRITIC_WEIGHTS record were trained on."""
    return FEATURES if np.any(weights["surface"]) else BLIND_FEATURES


def digest(weights: Any) -> str:
    """Returns the SHA-256 (64 hex digits) of a CRITIC_WEIGHTS record, field by field: gaps do not count."""
    found = hashlib.sha256()
    for name in CRITIC_WEIGHTS.names or ():
        found.update(np.asarray(weights[name]).tobytes())
    return found.hexdigest()


def examine_weights(weights: NDArray[Any], version: int, critic: Any = None) -> WeightsRefusal:
    """Returns whether a () CRITIC_WEIGHTS record may replace the weights of `version`.

    critic: the CRITIC_CONFIG record with the weights in use, and the limits that the new ones must have been trained
    for; None where that is not at hand.
    """
    if weights["layout"] != layout_number():
        return WeightsRefusal.LAYOUT
    if not all(np.isfinite(weights[name]).all() for name in CRITIC_WEIGHTS.names or ()):
        return WeightsRefusal.NOT_FINITE
    if weights["version"] <= 0 or weights["version"] < version:
        return WeightsRefusal.OLDER
    limits = () if critic is None else ("max_force_n", "max_moment_nm", "lookahead_s", "surface")
    if any(not np.isclose(weights[name], critic[name]).all() for name in limits):
        return WeightsRefusal.LIMITS
    if not 0.0 < weights["discount"] < 1.0 or (weights["box_low"] >= weights["box_high"]).any():
        return WeightsRefusal.RANGE
    in_use = None if critic is None else critic["weights"]
    if in_use is not None and weights["version"] == in_use["version"] and digest(weights) != digest(in_use):
        return WeightsRefusal.SAME_VERSION
    return WeightsRefusal.ACCEPTED


def require_acceptable(verdict: WeightsRefusal) -> None:
    """Raises UserError with the cure unless the verdict is ACCEPTED."""
    if verdict != WeightsRefusal.ACCEPTED:
        raise UserError(f"weights of the safety critic were refused: {REFUSAL_TEXTS[verdict]}")
