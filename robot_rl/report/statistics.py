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


def hierarchical_interval(
    groups: Sequence[Sequence[float]], rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """Returns the 95 % percentile interval of the mean over all groups' values, by a two-stage bootstrap.

    Each draw takes as many groups as there are, with replacement, then from each as many values as it holds (Davison
    and Hinkley 1997, section 3.8): values of one group, such as the episodes of one seed's critic, are not independent.
    With three groups it is still too narrow where these differ much, since three say little of how far a fourth may be
    off (it then covers in 80 % of studies, see its test); with one it is the plain bootstrap. NaN for fewer than two
    values, or an empty group.
    """
    samples = [np.asarray(group, dtype=np.float64) for group in groups]
    if sum(len(sample) for sample in samples) < 2 or min(len(sample) for sample in samples) == 0:
        return float("nan"), float("nan")
    sums, counts = np.zeros(draws), np.zeros(draws)
    drawn = rng.integers(0, len(samples), (draws, len(samples)))
    for index, sample in enumerate(samples):
        row, _ = np.nonzero(drawn == index)
        np.add.at(sums, row, sample[rng.integers(0, len(sample), (len(row), len(sample)))].sum(axis=1))
        np.add.at(counts, row, len(sample))
    low, high = np.quantile(sums / counts, [0.025, 0.975])
    return float(low), float(high)


def rate_interval(groups: Sequence[Sequence[float]], rng: np.random.Generator) -> tuple[float, float]:
    """Returns the 95 % interval of the rate of ones among the groups' zeros and ones, (0, 1) where there are none.

    It is that of `hierarchical_interval`; where all agree, of which a bootstrap would make an interval of no width,
    it is Wilson's, which takes the values for independent.
    """
    count, ones = sum(len(group) for group in groups), round(sum(sum(group) for group in groups))
    if ones in (0, count):
        return wilson_interval(ones, count)
    return hierarchical_interval(groups, rng)


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
