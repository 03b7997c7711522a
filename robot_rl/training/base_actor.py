"""Lets an imitated policy act by itself: for the evaluation before fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from controllers.types import Source
from robot_rl.agents.base import Proposal
from robot_rl.training.workplace import F32


class BaseActor:
    """Draws a chunk and executes its first `policy.execute` actions before drawing the next.

    Each chunk is drawn from fresh noise, also when acting deterministically: the noise is part of the policy.
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self._chunk: F32 | None = None
        self._used = 0

    def begin_episode(self) -> None:
        """Drops the rest of the last chunk."""
        self._chunk = None

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Draws the next chunk when the last one is used up."""
        if self._chunk is None or self._used >= self.policy.execute:
            noise = rng.standard_normal((1, 1, self.policy.horizon * self.policy.action_size), np.float32)
            self._chunk, self._used = self.policy.base(obs[None], noise, 1)[0, 0], 0
        return {}

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """The chunk's next action."""
        if self._chunk is None:
            raise RuntimeError("call prepare() before act()")
        action = self._chunk[self._used]
        self._used += 1
        return Proposal(np.clip(action, -1.0, 1.0), Source.BASE)
