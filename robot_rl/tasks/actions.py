"""The action vector shared by all arm tasks: pose increments in the tool frame, gripper, optionally stiffness."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POSE_NAMES = ("dx", "dy", "dz", "drx", "dry", "drz")
GRIPPER_NAME = "gripper"
FIRST_STIFFNESS = len(POSE_NAMES) + 1
"""Column of the first stiffness, where a policy has any."""
STIFFNESS_NAMES = ("k_translation", "k_rotation")
STIFFNESS_AXES: dict[str, tuple[int, ...]] = {
    "k_translation": (0, 1, 2),
    "k_rotation": (3, 4, 5),
    **{f"k_{axis}": (index,) for index, axis in enumerate(("x", "y", "z", "rx", "ry", "rz"))},
}
"""Entries of the stiffness, base axes, that each stiffness column scales."""


@dataclass(frozen=True)
class ActionSpec:
    """Scales and meaning of an action in [-1, 1]^n; every arm task's episodes carry the same leading columns."""

    translation_m: tuple[float, float, float] = (0.012, 0.012, 0.012)
    """Position increments of the target along the tool's axes at action 1, per decision [m]."""
    rotation_rad: float = 0.04
    """Rotation increment of the target at action 1, per decision [rad]."""
    stiffness: tuple[float, ...] = (600.0, 600.0, 600.0, 30.0, 30.0, 30.0)
    """Stiffness of every command [N/m x3, Nm/rad x3]; the middle of the range where the policy chooses it."""
    stiffness_factor: float | None = None
    """If given, a policy has `stiffness_columns` as well, which scale the stiffness by factor^action; > 1."""
    stiffness_columns: tuple[str, ...] = STIFFNESS_NAMES
    """Names from STIFFNESS_AXES; no two of them may scale the same entry."""
    active: tuple[str, ...] = POSE_NAMES
    """Names that the task lets a policy use; the others are held by the task and recorded as 0."""
    damping_ratio: float = 0.9
    """Damping ratio of every command."""
    names: tuple[str, ...] = field(init=False)
    """Names of all columns."""

    def __post_init__(self) -> None:
        names: tuple[str, ...] = (*POSE_NAMES, GRIPPER_NAME)
        if self.stiffness_factor is not None:
            if not self.stiffness_factor > 1.0:
                raise ValueError(f"stiffness_factor must be > 1, got {self.stiffness_factor}")
            _require_apart(self.stiffness_columns)
            names += self.stiffness_columns
        unknown = [name for name in self.active if name not in names]
        if unknown or not self.active:
            raise ValueError(f"active needs some of {names}, got {self.active}")
        object.__setattr__(self, "names", names)

    @property
    def size(self) -> int:
        """Length of the whole action vector."""
        return len(self.names)

    @property
    def active_index(self) -> NDArray[np.intp]:
        """Columns that a policy may use, in the order of `names`."""
        return np.array([i for i, name in enumerate(self.names) if name in self.active], dtype=np.intp)

    def expand(self, action: NDArray[np.floating]) -> Array:
        """Puts a policy's action (n_active,) into a whole one (size,), zero elsewhere."""
        whole = np.zeros(self.size)
        whole[self.active_index] = action
        return whole

    def stiffness_of(self, action: Array) -> Array:
        """Returns the stiffness (6,) that a whole action asks for."""
        stiffness = np.array(self.stiffness)
        if self.stiffness_factor is not None:
            for column, name in enumerate(self.stiffness_columns, start=FIRST_STIFFNESS):
                stiffness[list(STIFFNESS_AXES[name])] *= self.stiffness_factor ** action[column]
        return stiffness

    def stiffness_action(self, stiffness: Array) -> Array:
        """Returns the stiffness columns (n,) that ask for a stiffness (6,): the inverse of `stiffness_of`.

        A column that scales several entries is judged by the first. () where a policy has no stiffness.
        """
        if self.stiffness_factor is None:
            return np.zeros(0)
        first = [STIFFNESS_AXES[name][0] for name in self.stiffness_columns]
        ratio = stiffness[first] / np.array(self.stiffness)[first]
        action: Array = np.log(ratio) / np.log(self.stiffness_factor)
        return action


def _require_apart(columns: tuple[str, ...]) -> None:
    """Raises ValueError for stiffness columns that do not exist, are none, or scale the same entry."""
    unknown = [name for name in columns if name not in STIFFNESS_AXES]
    if unknown or not columns:
        raise ValueError(f"stiffness_columns needs some of {tuple(STIFFNESS_AXES)}, got {columns}")
    axes = [axis for name in columns for axis in STIFFNESS_AXES[name]]
    if len(set(axes)) < len(axes):
        raise ValueError(f"no two stiffness_columns may scale the same entry, got {columns}")
