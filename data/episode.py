"""One episode as plain arrays, with the rules that every recorded episode keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.spec import ArraySpec, StoreSpec, check_name

Array = NDArray[Any]

STEP_ARRAYS = ("action_proposed", "action_executed", "reward", "terminated", "truncated", "source", "stamp_ns")
"""Arrays that every episode has beside its observations, under these paths."""


@dataclass(frozen=True)
class Step:
    """What one step recorded: the action, and what came after it."""

    observation: Mapping[str, Any]
    """Observation after the action."""
    action_proposed: Any
    """Action that the policy or operator wished, (A,)."""
    action_executed: Any
    """Action that was really carried out after all limits, (A,)."""
    reward: float
    """Reward of this step."""
    terminated: bool
    """Whether the task ended here for good: nothing is to be gained afterwards."""
    truncated: bool
    """Whether the recording was cut here (a time limit, a stop), though the task could have gone on."""
    source: int
    """Who proposed the action, a code of the controllers' `Source`."""
    stamp_ns: int
    """Monotonic time of `observation`."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Further arrays of this step, for example joint angles for replaying pictures; NaN is allowed in them."""


@dataclass(frozen=True, eq=False)
class Episode:
    """T steps between T + 1 observations; row t of the actions leads from observation t to observation t + 1."""

    observations: dict[str, Array]
    """Each (T + 1, ...); the last row is the observation after the last action."""
    action_proposed: Array
    """(T, A) float32."""
    action_executed: Array
    """(T, A) float32."""
    reward: Array
    """(T,) float64."""
    terminated: Array
    """(T,) bool; true at most in the last row."""
    truncated: Array
    """(T,) bool; true at most in the last row, where at least one of the two flags is."""
    source: Array
    """(T,) int32."""
    stamp_ns: Array
    """(T + 1,) int64, strictly increasing."""
    extras: dict[str, Array]
    """Each (T + 1, ...) or (T, ...); NaN is allowed."""
    success: bool
    """Whether the task was done."""
    info: dict[str, Any]
    """JSON values: seed, reason of the end, fixtures, ..."""

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.reward)

    @property
    def seconds(self) -> float:
        """Time from the first to the last observation in seconds."""
        return float(self.stamp_ns[-1] - self.stamp_ns[0]) * 1e-9

    def arrays(self) -> dict[str, Array]:
        """Returns all arrays by path: `observations/<key>`, `extras/<name>` and those of `STEP_ARRAYS`."""
        found = {f"observations/{key}": array for key, array in self.observations.items()}
        found |= {name: getattr(self, name) for name in STEP_ARRAYS}
        return found | {f"extras/{name}": array for name, array in self.extras.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], success: bool, info: dict[str, Any]) -> Episode:
        """Returns the episode of `arrays()`' value, not yet checked against a spec; `UserError` if one is missing."""
        parts: dict[str, dict[str, Array]] = {"observations": {}, "extras": {}}
        missing = [name for name in STEP_ARRAYS if name not in arrays]
        if missing:
            raise UserError(f"an episode needs the arrays {', '.join(STEP_ARRAYS)}; {', '.join(missing)} not there")
        for path, array in arrays.items():
            folder, _, name = path.rpartition("/")
            if folder in parts:
                parts[folder][name] = array
        plain = {name: arrays[name] for name in STEP_ARRAYS}
        return cls(observations=parts["observations"], extras=parts["extras"], success=success, info=info, **plain)

    def equals(self, other: Episode) -> bool:
        """Tells whether both hold the same bits, types and values in every array, and the same outcome."""
        mine, theirs = self.arrays(), other.arrays()
        if mine.keys() != theirs.keys() or (self.success, self.info) != (other.success, other.info):
            return False
        return all(_same_bits(array, theirs[path]) for path, array in mine.items())

    def check(self, spec: StoreSpec) -> None:
        """Raises `UserError` unless this episode keeps all rules stated above and has exactly the arrays of `spec`."""
        steps = len(self)
        if steps < 1:
            raise UserError("an episode needs at least one step, got none; do not store it")
        arrays, layout = self.arrays(), spec.layout(steps)
        unknown = [path for path in arrays if path not in layout and not path.startswith("extras/")]
        missing = [path for path in layout if path not in arrays]
        if unknown or missing:
            raise UserError(f"an episode needs the arrays of the store's spec: missing {missing}, unknown {unknown}")
        for path, item in layout.items():
            if arrays[path].dtype != item.dtype:
                raise UserError(f"{path}: expected type {item.dtype}, got {arrays[path].dtype}; convert it first")
            item.take(arrays[path], path)
        for name, array in self.extras.items():
            check_name(name, "an extra's name")
            ArraySpec(array.shape, array.dtype.name)
            if not array.ndim or len(array) not in (steps, steps + 1):
                raise UserError(f"extra '{name}': expected {steps} or {steps + 1} rows, got shape {array.shape}")
        self._check_order()

    def _check_order(self) -> None:
        late = np.flatnonzero(np.diff(self.stamp_ns) <= 0)
        if late.size:
            raise UserError(f"stamp_ns must rise with each step, but does not at step {late[0]}; use a monotonic clock")
        ends = np.flatnonzero(self.terminated | self.truncated)
        if ends.tolist() != [len(self) - 1]:
            message = "terminated or truncated must be set in the last step and in no other"
            raise UserError(f"{message}, got {ends.tolist()} of {len(self)} steps; start a new episode after the end")


def _same_bits(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
