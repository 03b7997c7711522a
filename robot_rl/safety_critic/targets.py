"""Trajectories as one table, and what the risk of each sample should be: multi-step returns of an absorbing cost.

    Q(s_t, a_t) = gamma^(T - t)                                  violated at T, at most `return_s` later
                = 0                                              over, at most `return_s` later
                = gamma^n max(Q1', Q2')(s_{t+n}, a_{t+n})        otherwise, n samples later

a_{t+n} is what was really executed there, whether task or recovery: the composite policy is judged, not the task's
wishes. gamma over a time dt is exp(-dt / time_constant_s) whatever the interval, so that samples every 5 ms, decisions
of half a second and a tick of 1 ms all speak of the same seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_rl.safety_critic.trajectories import F32, Trajectory
from safety.risk_memory import FEATURES

F64 = NDArray[np.float64]


def discount_over(duration_s: float | F64, time_constant_s: float) -> F64:
    """Returns exp(-duration / time constant): the discount over a time, however it is cut into steps."""
    return np.exp(-np.asarray(duration_s, dtype=np.float64) / time_constant_s)


def lookahead_s(threshold: float, time_constant_s: float) -> float:
    """Returns t* = time_constant ln(1 / threshold): a certain violation this far ahead has this risk [s]."""
    return time_constant_s * math.log(1.0 / threshold)


class Table(NamedTuple):
    """All samples of some trajectories, one row each; those whose return is unknown are not `usable`."""

    features: F32  # (rows, FEATURES)
    first: NDArray[np.int64]  # row at which this row's trajectory begins
    known: F64  # the part of the return that the trajectory itself tells
    boot: F64  # factor of the target networks' risk at row `later`; 0 where nothing is left to estimate
    later: NDArray[np.int64]
    usable: NDArray[np.bool_]
    positive: NDArray[np.bool_]  # a violation follows within return_s


def tabulate(trajectories: Sequence[Trajectory], time_constant_s: float, return_s: float) -> Table:
    """Returns the table of these trajectories. Raises ValueError for none."""
    parts: list[tuple[NDArray[np.generic], ...]] = []
    begin = 0
    for trajectory in trajectories:
        count = len(trajectory.features)
        steps = max(1, round(return_s / trajectory.interval_s))
        rows = np.arange(count)
        remaining_s = trajectory.remaining_s
        near = remaining_s <= return_s
        later = np.minimum(rows + steps, max(count - 1, 0))
        boot = discount_over(np.asarray((later - rows) * trajectory.interval_s, np.float64), time_constant_s)
        if trajectory.end != "cut":
            boot = np.where(near, 0.0, boot)
        known = np.where(near & trajectory.violated, discount_over(remaining_s, time_constant_s), 0.0)
        usable = (later > rows) | (boot == 0.0)
        parts.append((np.full(count, begin), known, boot, begin + later, usable, near & trajectory.violated))
        begin += count
    if begin == 0:
        raise ValueError("expected at least one sample to learn from, got none")
    features = np.concatenate([trajectory.features for trajectory in trajectories])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Table(features.reshape(begin, FEATURES), *columns)


def realised(trajectories: Sequence[Trajectory], time_constant_s: float, settle_s: float) -> tuple[F32, F64]:
    """Returns features and realised discounted outcomes of all samples whose outcome is known, for calibration.

    The outcome of a violation T seconds ahead is exp(-T / time_constant), otherwise 0. The last settle_s of a
    trajectory that was cut off are left out: what would have followed is unknown.
    """
    features, outcomes = [np.zeros((0, FEATURES), np.float32)], [np.zeros(0)]
    for trajectory in trajectories:
        remaining_s = trajectory.remaining_s
        keep = np.ones(len(remaining_s), bool) if trajectory.end != "cut" else remaining_s > settle_s
        outcome = discount_over(remaining_s, time_constant_s) * trajectory.violated
        features.append(trajectory.features[keep])
        outcomes.append(outcome[keep])
    return np.concatenate(features), np.concatenate(outcomes)
