"""What was really executed, as the safety critic saw it, up to the first violation; in files and as one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.types import FeatureLog
from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError
from robot_rl.safety_critic.facts import brief, facts_from
from robot_rl.tasks.base import PEAK_WINDOW_TICKS
from safety.risk_critic import RiskCriticConfig
from safety.risk_memory import FEATURES
from safety.risk_weights import layout_number

F32 = NDArray[np.float32]
ENDS = ("violation", "over", "cut")
"""A trajectory ends with a violation, because the episode was over (a success: nothing follows), or was cut off."""
LIMITS = ("max_force_n", "max_moment_nm", "lookahead_s")
"""Of RiskCriticConfig: by which features are scaled and violations judged."""
_FACTS = {"interval_s": float, "end_s": float, "end": str, "decision_s": float, "seed": int}


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Samples at a constant interval; absorbed at the first violation."""

    features: F32
    """(samples, FEATURES) as the tick computed them."""
    interval_s: float
    """Time between two samples."""
    end_s: float
    """Time from the first sample to the end."""
    end: str
    """One of ENDS."""
    decision_s: float
    """Duration of one decision of who commanded."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.shape[1] != FEATURES:
            raise ValueError(f"expected features of shape (samples, {FEATURES}), got {self.features.shape}")
        if self.end not in ENDS:
            raise ValueError(f"end must be one of {', '.join(ENDS)}, got {self.end!r}")

    @property
    def violated(self) -> bool:
        """Whether it ended with a violation."""
        return self.end == "violation"

    @property
    def sha256(self) -> str:
        """Digest of everything in it."""
        facts = json.dumps([float(self.interval_s), float(self.end_s), self.end, float(self.decision_s), self.seed])
        found = hashlib.sha256(facts.encode())
        found.update(self.features.tobytes())
        return found.hexdigest()

    @property
    def remaining_s(self) -> NDArray[np.float64]:
        """Time from each sample to the end (samples,)."""
        return np.asarray(self.end_s - self.interval_s * np.arange(len(self.features)), dtype=np.float64)


class TrajectoryRecorder:
    """Gathers the ticks of an episode from a link that keeps features; a violation ends it at that very tick."""

    def __init__(
        self, max_force_n: float, max_moment_nm: float, tick_s: float, decision_s: float, stride_ticks: int = 2
    ) -> None:
        """stride_ticks: every how many ticks a sample is kept."""
        self._limits, self._tick_s, self._decision_s = (max_force_n, max_moment_nm), tick_s, decision_s
        self._stride = stride_ticks
        self._parts: list[F32] = []
        self._ticks = 0
        self._tail = np.zeros((0, 6))
        self.violated = False

    def add(self, log: FeatureLog) -> bool:
        """Takes the ticks of a decision; returns whether they held a violation, after which nothing more is taken."""
        if self.violated:
            return True
        wrench = np.concatenate([self._tail, log.wrench_tool])
        first = violation_index(wrench, *self._limits)
        count = len(log.features)
        if first is not None:
            self.violated = True
            count = max(first - len(self._tail), 0)
        offset = -self._ticks % self._stride
        self._parts.append(log.features[offset : count : self._stride])
        self._ticks += count
        self._tail = wrench[len(wrench) - (PEAK_WINDOW_TICKS - 1) :]
        return self.violated

    def finish(self, over: bool, seed: int = 0) -> Trajectory:
        """Returns the trajectory; over: the episode ended by itself, so that no violation can follow."""
        end = "violation" if self.violated else "over" if over else "cut"
        features = np.concatenate(self._parts) if self._parts else np.zeros((0, FEATURES), np.float32)
        interval_s = self._stride * self._tick_s
        return Trajectory(features, interval_s, self._ticks * self._tick_s, end, self._decision_s, seed)


def violation_index(wrench_tool: NDArray[np.float64], max_force_n: float, max_moment_nm: float) -> int | None:
    """Returns the first tick at which force or moment, averaged over PEAK_WINDOW_TICKS, is beyond its limit."""
    if len(wrench_tool) < PEAK_WINDOW_TICKS:
        return None
    sums = np.cumsum(np.vstack([np.zeros((1, 6)), wrench_tool]), axis=0)
    means = (sums[PEAK_WINDOW_TICKS:] - sums[:-PEAK_WINDOW_TICKS]) / PEAK_WINDOW_TICKS
    force_n, moment_nm = np.linalg.norm(means[:, :3], axis=1), np.linalg.norm(means[:, 3:], axis=1)
    beyond = np.flatnonzero((force_n > max_force_n) | (moment_nm > max_moment_nm))
    return int(beyond[0]) + PEAK_WINDOW_TICKS - 1 if len(beyond) else None


def episode_path(folder: Path, number: int) -> Path:
    """Returns the file of an episode."""
    return folder / f"episode-{number:06d}.safetensors"


def measured_by(limits: RiskCriticConfig) -> dict[str, Any]:
    """Returns by what features were scaled, depths measured and violations judged, as JSON values."""
    surface = None if limits.surface is None else list(limits.surface)
    return {**{name: float(getattr(limits, name)) for name in LIMITS}, "surface": surface}


def save_trajectory(path: Path, trajectory: Trajectory, about: dict[str, Any], limits: RiskCriticConfig) -> None:
    """Writes one trajectory as a safetensors file, whole or not at all.

    about: JSON values for the record. limits: those that its features were measured by.
    """
    facts = {name: getattr(trajectory, name) for name in _FACTS}
    facts |= {"layout": layout_number(), "about": about, "measured_by": measured_by(limits)}
    metadata = {"facts": json.dumps(facts)}
    save_arrays_atomic(path, {"features": trajectory.features}, metadata)


def load_trajectory(path: Path, limits: RiskCriticConfig | None = None) -> Trajectory:
    """Reads what `save_trajectory` wrote.

    Raises UserError for another file, one with other features, or one that holds what no episode can give; and, where
    `limits` are given, for one whose features were measured by others.
    """
    arrays, metadata = load_arrays(path)
    if "facts" not in metadata or "features" not in arrays:
        raise UserError(f"{path} holds no trajectory of the safety critic; give a folder of `robot-rl safety collect`")
    facts = facts_from(metadata["facts"], str(path), {**_FACTS, "layout": int, "about": dict, "measured_by": dict})
    if facts["layout"] != layout_number():
        raise UserError(f"{path} holds other features than this version computes; collect again")
    if limits is not None:
        _require_measured_by(limits, facts["measured_by"], path)
    features = arrays["features"]
    if features.dtype != np.float32 or features.ndim != 2 or features.shape[1] != FEATURES or len(arrays) > 1:
        raise UserError(
            f"{path} is malformed: expected features alone, float32 of shape (samples, {FEATURES}), got "
            f"{features.dtype} of shape {features.shape}, {len(arrays)} arrays in all; collect it again"
        )
    if not np.isfinite(features).all():
        raise UserError(f"{path} is malformed: a feature is NaN or infinite; collect it again")
    _require_possible(facts, len(features), path)
    return Trajectory(features, **{name: facts[name] for name in _FACTS})


def _require_measured_by(limits: RiskCriticConfig, found: Mapping[str, Any], path: Path) -> None:
    for name, value in measured_by(limits).items():
        if found.get(name) != value:
            raise UserError(
                f"{path} was measured with {name}={brief(found.get(name))}, and its task asks for "
                f"{name}={brief(value)}: collect again"
            )


def _require_possible(facts: Mapping[str, Any], samples: int, path: Path) -> None:
    """Raises UserError unless the facts of a trajectory fit each other."""
    shortest_s = max(samples - 1, 0) * facts["interval_s"]
    rules = (
        ("interval_s", facts["interval_s"] > 0.0, "a time above 0"),
        ("decision_s", facts["decision_s"] > 0.0, "a time above 0"),
        ("end", facts["end"] in ENDS, f"one of {', '.join(ENDS)}"),
        ("end_s", facts["end_s"] >= 0.999 * shortest_s >= 0.0, f"a time after the last sample, {shortest_s:g}"),
    )
    for name, fits, expected in rules:
        if not fits:
            raise UserError(f"{path} is malformed: expected as {name} {expected}, got {facts[name]}; collect it again")


def load_folder(folder: Path, limits: RiskCriticConfig | None = None) -> list[Trajectory]:
    """Reads every trajectory of a folder, by name, as `load_trajectory`. Raises UserError if there is none."""
    paths = sorted(folder.glob("episode-*.safetensors"))
    if not paths:
        raise UserError(f"expected trajectories in {folder}, found none; run robot-rl safety collect out={folder}")
    return [load_trajectory(path, limits) for path in paths]


def split(
    trajectories: Sequence[Trajectory], share: float, rng: np.random.Generator
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Splits whole episodes at random; share: of the second part, alike among those with and without a violation."""
    first: list[Trajectory] = []
    second: list[Trajectory] = []
    for violated in (True, False):
        group = [trajectory for trajectory in trajectories if trajectory.violated == violated]
        order = rng.permutation(len(group))
        count = round(share * len(group))
        second += [group[i] for i in order[:count]]
        first += [group[i] for i in order[count:]]
    return first, second
