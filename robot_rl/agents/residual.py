"""Residual: the action is the base's plus a small correction that sees the base's action (ResFiT, 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from controllers.types import Source
from robot_rl.agents.base import Proposal
from robot_rl.agents.on_base import EditAgent, EditConfig, edit_input
from robot_rl.learning.config import SacConfig

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ResidualConfig(EditConfig):
    """Settings of the residual agent."""


class ResidualAgent(EditAgent):
    """a = clip(a_base + scale * tanh(u)), u ~ actor(s, a_base)."""

    config_class: ClassVar[type[SacConfig]] = ResidualConfig
    source: ClassVar[int] = Source.RESIDUAL
    config: ResidualConfig

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the corrected base action; the base's own during the warm-up."""
        obs = self.checked(obs)
        if self.warming_up:
            return self.act_base(extras, deterministic)
        base = extras["base"][0]
        output = self.actor_output(edit_input(obs, base), deterministic)
        return Proposal(np.clip(base + self.config.scale * output, -1.0, 1.0).astype(np.float32), self.source)


AGENT = ResidualAgent
