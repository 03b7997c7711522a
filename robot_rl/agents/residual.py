"""Residual: the action is the base's plus a small correction that sees the base's action (ResFiT, 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from controllers.types import Source
from robot_rl.agents.base import Proposal
from robot_rl.agents.on_base import OnBaseAgent, OnBaseConfig, edit_input, edit_view
from robot_rl.learning.config import SacConfig, check
from robot_rl.learning.sac import ActorView, Sac

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ResidualConfig(OnBaseConfig):
    """Settings of the residual agent."""

    scale: float = 0.2
    """Largest correction of each action dimension, in (0, 1]."""
    last_scale: float = 0.01
    """Factor on the actor's initial last layer, so that the mean correction starts near zero; at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("scale", self.scale, 0.0 < self.scale <= 1.0, "a number in (0, 1]")
        check("last_scale", self.last_scale, self.last_scale >= 0.0, "a number of at least 0")


class ResidualAgent(OnBaseAgent):
    """a = clip(a_base + scale * tanh(u)), u ~ actor(s, a_base)."""

    config_class: ClassVar[type[SacConfig]] = ResidualConfig
    source: ClassVar[int] = Source.RESIDUAL
    config: ResidualConfig

    def build(self, seed: int) -> Sac:
        """The actor sees observation and base action; its entropy is that of the scaled correction."""
        obs, action, c = self.spec.obs_size, self.spec.action_size, self.config
        dims = self.spec.entropy_dims()
        return Sac(obs, action, c, seed, obs + action, dims, scale=c.scale, actor_last_scale=c.last_scale)

    def view(self, obs: Tensor, extras: Mapping[str, Tensor]) -> ActorView:
        """Corrects the first candidate."""
        return edit_view(obs, extras["base"][..., 0, :], self.config.scale)

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the corrected base action; the base's own during the warm-up."""
        obs = self.checked(obs)
        if self.warming_up:
            return self.act_base(extras, deterministic)
        base = extras["base"][0]
        output = self.actor_output(edit_input(obs, base), deterministic)
        return Proposal(np.clip(base + self.config.scale * output, -1.0, 1.0).astype(np.float32), self.source)


AGENT = ResidualAgent
