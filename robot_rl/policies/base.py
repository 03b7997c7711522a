"""The interface that agents fine-tune: a deterministic map from observation and noise to action chunks."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class BasePolicy(Protocol):
    """A frozen policy on chunks of actions. Equal noise gives equal chunks, whatever else is in the batch (to 1e-5)."""

    obs_size: int
    """Width n_obs of the flat observation."""
    action_size: int
    """Number A of action dimensions."""
    horizon: int
    """Number of consecutive actions in a chunk."""
    execute: int
    """Actions of a chunk that are executed before the next is drawn, 1..horizon."""

    def base(self, obs: F32, noise: F32, n: int) -> F32:
        """Returns chunks (B, n, horizon, A) in [-1, 1].

        Args:
            obs: (B, n_obs).
            noise: (B, n, horizon * A), standard normal where nobody steers; (B, horizon * A) for n = 1.
            n: chunks an observation.
        """
        ...
