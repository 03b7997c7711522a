"""Intervals that say how far a measured figure can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Z_95 = 1.959964
WITH_EXPLORATION = 50
"""Last training episodes whose success tells how well a policy does while it explores."""


def wilson_interval(successes: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Returns the interval of a success rate (Wilson 1927); (0, 1) for no episodes.

    It is (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = successes / n.
    """
    if not 0 <= successes <= count:
        raise ValueError(f"expected 0 <= successes <= count, got {successes} of {count}")
    if count == 0:
        return 0.0, 1.0
    share, spread = successes / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def bootstrap_interval(values: Sequence[float], rng: np.random.Generator, draws: int = 2000) -> tuple[float, float]:
    """Returns the 95 % percentile bootstrap interval of the mean; NaN for fewer than two values."""
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return float("nan"), float("nan")
    means = sample[rng.integers(0, len(sample), (draws, len(sample)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def steps_to_target(curve: Sequence[tuple[int, float]], target: float) -> int | None:
    """Returns the steps at the first of two consecutive evaluations at the target, None if there are no such two.

    Args:
        curve: (environment steps, success rate) of the evaluations during training, in their order; neither that of
            the imitated base nor the final one.
        target: success rate in (0, 1].
    """
    for (step, rate), (_, following) in pairwise(curve):
        if min(rate, following) >= target:
            return step
    return None


def rolling_mean(values: Sequence[float], window: int) -> list[float]:
    """Returns for each place the mean of the last `window` values up to it (fewer at the beginning)."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means: list[float] = ((sums[ends] - sums[starts]) / (ends - starts)).tolist()
    return means


def mean_shares(episodes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the share of executed actions by who proposed them: episodes' `source_share`, weighted by `length`."""
    counted = [(float(item["length"]), item["source_share"]) for item in episodes if item.get("source_share")]
    total = sum(length for length, _ in counted)
    names = sorted({name for _, shares in counted for name in shares})
    return {name: sum(length * shares.get(name, 0.0) for length, shares in counted) / max(1.0, total) for name in names}
