"""Symmetric sampling: each batch mixes online transitions with demonstrations in a fixed ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from robot_rl.learning.replay import Batch, Replay


@dataclass
class SymmetricSampler:
    """Draws batches of which `demo_fraction` come from `demos`, the rest from `online`.

    Rows are drawn with replacement, so a buffer smaller than its share still fills it. While one buffer is empty, the
    other gives the whole batch.
    """

    online: Replay
    demos: Replay | None
    batch_size: int
    n_step: int
    gamma: float
    demo_fraction: float = 0.5

    def __len__(self) -> int:
        """Number of transitions that can be drawn."""
        return len(self.online) + (len(self.demos) if self.demos is not None else 0)

    def sample(self, rng: np.random.Generator) -> Batch:
        """Returns one batch, online rows first.

        Raises:
            UserError: both buffers are empty.
        """
        if len(self) == 0:
            raise UserError("nothing to learn from: both the online replay and the demonstrations are empty")
        if self.demos is None or len(self.demos) == 0:
            return self.online.sample(self.batch_size, rng, self.n_step, self.gamma)
        count = round(self.batch_size * self.demo_fraction) if len(self.online) else self.batch_size
        parts = []
        if count < self.batch_size:
            parts.append(self.online.sample(self.batch_size - count, rng, self.n_step, self.gamma))
        if count:
            parts.append(self.demos.sample(count, rng, self.n_step, self.gamma, demo=True))
        return concatenate(parts)


def concatenate(parts: list[Batch]) -> Batch:
    """Joins batches row-wise."""
    if len(parts) == 1:
        return parts[0]
    plain = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _PLAIN}
    extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras}
    next_extras = {name: np.concatenate([part.next_extras[name] for part in parts]) for name in parts[0].next_extras}
    return Batch(**plain, extras=extras, next_extras=next_extras)


_PLAIN = ("obs", "action", "reward", "next_obs", "discount", "mask", "source", "demo", "cost", "proposed")
