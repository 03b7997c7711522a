"""What a simulated camera has to be told: where the arm and the fixtures are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose


@dataclass(frozen=True, eq=False)
class SceneState:
    """What a camera has to know of the scene to draw it."""

    stamp_ns: int
    """When the arm was there, on CLOCK_MONOTONIC [ns]."""
    q_rad: NDArray[np.float64]
    """Joint positions (7,)."""
    gripper_m: float = math.nan
    """Opening; NaN where there is no gripper."""
    fixtures: Mapping[str, Pose] = field(default_factory=dict)
    """Where movable fixtures were placed, in the base frame; those not named stand where the scene puts them."""


class SceneFeed(Protocol):
    """Who knows where the arm is."""

    def state(self) -> SceneState:
        """Returns the newest state. Raises CameraLost where nobody knows any more."""

    def close(self) -> None:
        """Lets go of it; may be called twice."""
