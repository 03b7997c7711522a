"""How far a critic can be believed: its probabilities, the violations that it sees coming, the alarms for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from robot_rl.safety_critic.inference import logits_of, risks_of
from robot_rl.safety_critic.targets import lookahead_s, realised
from robot_rl.safety_critic.trajectories import Trajectory

F64 = NDArray[np.float64]
MAX_ECE, MIN_RECALL, MAX_FALSE_REFLEXES = 0.05, 0.95, 0.02
_THRESHOLDS = np.round(np.linspace(0.05, 0.9, 86), 2)
_BINS = 20


@dataclass(frozen=True)
class Calibration:
    """What was measured on held-out episodes."""

    threshold: float
    """Risk above which the reflex acts."""
    lookahead_s: float
    """A violation this far ahead, were it certain, would have the risk `threshold` [s]."""
    ece: float
    """Expected calibration error of the risk."""
    recall: float
    """Share of the violations before which the risk exceeded the threshold within the look-ahead."""
    recall_in_time: float
    """The same, at least the stopping time before the violation."""
    false_reflexes: float
    """Share of the decisions with a risk above the threshold, or outside the training box, and no violation after."""
    outside: float
    """Share of the samples outside the training box."""
    violations: int
    episodes: int
    decisions: int
    stopping_time_s: float

    def shortcomings(self) -> list[str]:
        """Returns what keeps this critic from being used; nothing where it passes the gate."""
        found = []
        if not self.ece <= MAX_ECE:
            found.append(f"calibration error {self.ece:.3f} (at most {MAX_ECE})")
        if not self.recall >= MIN_RECALL:
            found.append(f"recall {self.recall:.3f} (at least {MIN_RECALL})")
        if not self.false_reflexes <= MAX_FALSE_REFLEXES:
            found.append(f"false reflexes {self.false_reflexes:.3f} of decisions (at most {MAX_FALSE_REFLEXES})")
        if not self.lookahead_s >= self.stopping_time_s:
            found.append(
                f"look-ahead {self.lookahead_s:.3f} s (at least the stopping time {self.stopping_time_s:.3f} s)"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as JSON values."""
        return asdict(self)


def time_constant_of(weights: NDArray[Any]) -> float:
    """Returns the time constant of a set of weights [s]: its discount over a time is exp(-time / this)."""
    return float(-1.0 / np.log(float(weights["discount"])))


def expected_calibration_error(risks: F64, outcomes: F64, bins: int = _BINS) -> float:
    """Returns sum over bins of share |mean risk - mean outcome|; outcomes in [0, 1], bins of equal width in risk."""
    rows = reliability(risks, outcomes, bins)
    return float(sum(row[3] * abs(row[1] - row[2]) for row in rows))


def reliability(risks: F64, outcomes: F64, bins: int = _BINS) -> list[tuple[float, float, float, float]]:
    """Returns (bin's middle, mean risk, mean outcome, share of samples) of every bin that holds samples."""
    index = np.clip((risks * bins).astype(int), 0, bins - 1)
    rows = []
    for bin_index in np.unique(index):
        chosen = index == bin_index
        means = float(risks[chosen].mean()), float(outcomes[chosen].mean())
        rows.append(((bin_index + 0.5) / bins, *means, float(chosen.mean())))
    return rows


def rescale(weights: NDArray[Any], trajectories: Sequence[Trajectory], time_constant_s: float) -> None:
    """Fits logit' = a logit + b to held-out outcomes (Platt scaling) and folds it into the heads, in place.

    Newton's method on the cross-entropy, each step halved until that falls: full steps diverge where the logits hardly
    differ. a is kept positive, so that the greater network stays the greater one.
    """
    features, outcomes = realised(trajectories, time_constant_s, 5.0 * time_constant_s)
    z = np.clip(logits_of(weights, features), -30.0, 30.0)
    inputs = np.stack([z, np.ones_like(z)], axis=1)

    def entropy(candidate: F64) -> float:
        logits = inputs @ candidate
        return float(np.sum(np.logaddexp(0.0, logits) - outcomes * logits) + 5e-4 * np.sum((candidate - start) ** 2))

    start = solution = np.array([1.0, 0.0])
    least = entropy(solution)
    for _ in range(30):
        risk = 1.0 / (1.0 + np.exp(-inputs @ solution))
        gradient = inputs.T @ (risk - outcomes) + 1e-3 * (solution - start)
        curvature = (inputs * (risk * (1.0 - risk))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        shares = 0.5 ** np.arange(12)
        found = next((share for share in shares if entropy(solution - share * step) < least), None)
        if found is None:
            break  # as low as it gets
        solution = solution - found * step
        least = entropy(solution)
    slope = max(float(solution[0]), 0.1)
    weights["risk_head"] *= slope
    weights["risk_bias"] = weights["risk_bias"] * slope + solution[1]


def calibrate(
    weights: NDArray[Any],
    trajectories: Sequence[Trajectory],
    stopping_time_s: float,
    threshold: float | None = None,
) -> Calibration:
    """Returns what the critic is worth on these trajectories; without a threshold, at the one that suits the gate best.

    Raises UserError where the trajectories hold no violation: nothing can be said about recall then.
    """
    time_constant_s = time_constant_of(weights)
    if not any(trajectory.violated for trajectory in trajectories):
        raise UserError("expected episodes with violations to calibrate on, got none; collect more, or harder ones")
    risks = [risks_of(weights, trajectory.features) for trajectory in trajectories]
    if threshold is None:
        threshold = _choose(trajectories, risks, time_constant_s)
    ahead_s = lookahead_s(threshold, time_constant_s)
    features, outcomes = realised(trajectories, time_constant_s, 5.0 * time_constant_s)
    every = risks_of(weights, features)
    false, decisions = _false_reflexes(trajectories, risks, threshold, ahead_s)
    return Calibration(
        threshold=threshold,
        lookahead_s=ahead_s,
        ece=expected_calibration_error(every, outcomes),
        recall=_recall(trajectories, risks, threshold, ahead_s, 0.0),
        recall_in_time=_recall(trajectories, risks, threshold, ahead_s, stopping_time_s),
        false_reflexes=false / max(decisions, 1),
        outside=float(np.mean(every == 1.0)),
        violations=sum(trajectory.violated for trajectory in trajectories),
        episodes=len(trajectories),
        decisions=decisions,
        stopping_time_s=stopping_time_s,
    )


def _choose(trajectories: Sequence[Trajectory], risks: Sequence[F64], time_constant_s: float) -> float:
    """The threshold that stays farthest inside the gate in both respects, each in shares of what the gate leaves:

    the greatest of min((recall - MIN_RECALL) / (1 - MIN_RECALL), (MAX_FALSE - false) / MAX_FALSE). Held-out episodes
    will be a little worse in one or the other, nobody knows in which.
    """
    margins = []
    for value in _THRESHOLDS:
        ahead_s = lookahead_s(value, time_constant_s)
        recall = _recall(trajectories, risks, value, ahead_s, 0.0)
        false, decisions = _false_reflexes(trajectories, risks, value, ahead_s)
        share = false / max(decisions, 1)
        margins.append(
            min((recall - MIN_RECALL) / (1.0 - MIN_RECALL), (MAX_FALSE_REFLEXES - share) / MAX_FALSE_REFLEXES)
        )
    return float(_THRESHOLDS[int(np.argmax(margins))])


def _recall(
    trajectories: Sequence[Trajectory], risks: Sequence[F64], threshold: float, ahead_s: float, margin_s: float
) -> float:
    """Share of violations with a risk above the threshold at some sample between ahead_s and margin_s before."""
    seen = []
    for trajectory, risk in zip(trajectories, risks, strict=True):
        if trajectory.violated:
            remaining_s = trajectory.remaining_s
            window = (remaining_s <= ahead_s + trajectory.interval_s) & (remaining_s >= margin_s)
            seen.append(bool((risk[window] > threshold).any()))
    return float(np.mean(seen)) if seen else 0.0


def _false_reflexes(
    trajectories: Sequence[Trajectory], risks: Sequence[F64], threshold: float, ahead_s: float
) -> tuple[int, int]:
    """Counts decisions in which the risk exceeded the threshold though no violation followed, and all decisions.

    A violation follows if it comes during the decision or within the look-ahead after the alarm.
    """
    false = decisions = 0
    for trajectory, risk in zip(trajectories, risks, strict=True):
        length = max(1, round(trajectory.decision_s / trajectory.interval_s))
        wrong = (risk > threshold) & ~(trajectory.violated & (trajectory.remaining_s <= ahead_s))
        for begin in range(0, len(risk), length):
            decisions += 1
            decision_over_s = (begin + length) * trajectory.interval_s
            in_it = trajectory.violated and trajectory.end_s < decision_over_s - 1e-9
            false += int(wrong[begin : begin + length].any() and not in_it)
    return false, decisions


def sweep(
    weights: NDArray[Any], trajectories: Sequence[Trajectory], stopping_time_s: float = 0.0
) -> list[tuple[float, float, float, float, float]]:
    """Returns (threshold, look-ahead [s], recall, recall in time, false reflexes a decision) for many thresholds."""
    time_constant_s = time_constant_of(weights)
    risks = [risks_of(weights, trajectory.features) for trajectory in trajectories]
    rows = []
    for threshold in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        ahead_s = lookahead_s(threshold, time_constant_s)
        false, decisions = _false_reflexes(trajectories, risks, threshold, ahead_s)
        recalls = [_recall(trajectories, risks, threshold, ahead_s, margin) for margin in (0.0, stopping_time_s)]
        rows.append((threshold, ahead_s, recalls[0], recalls[1], false / max(decisions, 1)))
    return rows
