"""What agents on a frozen base policy share: candidate actions, computed once per observation and cached in replay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controllers.types import Source
from data.errors import UserError
from robot_rl.agents.base import AgentSpec, Proposal, SacAgent
from robot_rl.learning.config import SacConfig, check
from robot_rl.learning.sac import ActorView, Sac
from robot_rl.learning.states import State, array_of, number_of
from robot_rl.policies.base import BasePolicy

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class OnBaseConfig(SacConfig):
    """Settings of agents on a base policy."""

    candidates: int = 1
    """Base actions computed for each observation, at least 1."""
    replan: int = 1
    """Actions of a chunk that are used before the base plans anew, 1..horizon of the base."""
    warm_up: int = 200
    """Blocks of updates before which the base acts without the agent's change, at least 0."""
    warm_up_noise: float = 0.1
    """Half-width of the uniform noise on the base's actions during the warm-up (not when deterministic), in [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("candidates", self.candidates, self.candidates >= 1, "at least 1")
        check("replan", self.replan, self.replan >= 1, "at least 1")
        check("warm_up", self.warm_up, self.warm_up >= 0, "at least 0")
        check("warm_up_noise", self.warm_up_noise, 0.0 <= self.warm_up_noise <= 1.0, "a number in [0, 1]")


class OnBaseAgent(SacAgent):
    """An agent whose `extras["base"]` (N, A) are the base's candidate actions for the observation.

    While a chunk lasts (replan > 1), the candidates are its later actions: call `begin_episode` when one begins, and
    `prepare` once an observation, in order.
    """

    config_class: ClassVar[type[SacConfig]] = OnBaseConfig
    needs_base: ClassVar[bool] = True
    config: OnBaseConfig
    base: BasePolicy

    def __init__(self, spec: AgentSpec, config: OnBaseConfig, base: BasePolicy | None = None, seed: int = 0) -> None:
        super().__init__(spec, config, base, seed)
        sizes, wanted = (self.base.obs_size, self.base.action_size), (spec.obs_size, spec.action_size)
        if sizes != wanted:
            raise UserError(f"base policy has (observation, action) widths {sizes}, the task needs {wanted}")
        horizon = self.base.horizon
        check("replan", config.replan, config.replan <= horizon, f"at most the base's horizon {horizon}")
        self._chunks: F32 | None = None
        self._used = 0

    @property
    def extras_shapes(self) -> dict[str, tuple[int, ...]]:
        """Candidate actions (N, A)."""
        return {"base": (self.config.candidates, self.spec.action_size)}

    def begin_episode(self) -> None:
        """Forgets the rest of the base's chunks."""
        self._chunks, self._used = None, 0

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Returns {"base": (N, A)} for (n_obs,); {"base": (B, N, A)}, all fresh plans, for (B, n_obs)."""
        if obs.ndim == 2:
            return {"base": self.plan(obs, rng)[:, :, 0]}
        if self._chunks is None or self._used >= self.config.replan:
            self._chunks, self._used = self.plan(obs[None], rng)[0], 0
        actions = self._chunks[:, self._used]
        self._used += 1
        return {"base": actions}

    def prepare_episode(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Returns {"base": (T, N, A)} for the observations (T, n_obs) of one episode, as acting would have planned."""
        replan = self.config.replan
        chunks = self.plan(obs[::replan], rng)
        steps = np.arange(len(obs))
        return {"base": chunks[steps // replan, :, steps % replan]}

    def plan(self, obs: F32, rng: np.random.Generator) -> F32:
        """Returns N chunks an observation, from standard normal noise: (B, n_obs) -> (B, N, horizon, A)."""
        count = self.config.candidates
        noise = rng.standard_normal((len(obs), count, self.base.horizon * self.base.action_size), np.float32)
        return self.base.base(np.asarray(obs, np.float32), noise, count)

    @property
    def warming_up(self) -> bool:
        """Whether the base still acts without the agent's change."""
        return self.updates < self.config.warm_up

    def act_base(self, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the first candidate, with the warm-up's noise unless deterministic."""
        action = extras["base"][0]
        if not deterministic:
            width = self.config.warm_up_noise
            action = np.clip(action + self.acting_rng.uniform(-width, width, action.shape), -1.0, 1.0)
        return Proposal(np.asarray(action, np.float32), Source.BASE)

    def weights(self) -> State:
        """Returns the actor's weights and the count of updates, which ends the warm-up."""
        return super().weights() | {"updates": np.array([self.updates], np.int64)}

    def load_weights(self, weights: State) -> None:
        """Takes the actor's weights and the count of updates."""
        super().load_weights(weights)
        self.updates = number_of("updates", weights)

    def state(self) -> State:
        """Adds the rest of the current chunks."""
        chunks = np.zeros(0, np.float32) if self._chunks is None else self._chunks
        return super().state() | {"chunks": chunks, "chunk_used": np.array([self._used], np.int64)}

    def load_state(self, state: State) -> None:
        """Restores what `state` returned."""
        super().load_state(state)
        self._used = number_of("chunk_used", state)
        shape = (self.config.candidates, self.base.horizon, self.base.action_size)
        chunks = array_of("chunks", state, math.prod(shape) if self._used else 0)
        self._chunks = np.array(chunks).reshape(shape) if self._used else None


@dataclass(frozen=True)
class EditConfig(OnBaseConfig):
    """Settings of agents whose actor changes the base's actions a little."""

    scale: float = 0.2
    """Largest change of each action dimension, in (0, 1]."""
    last_scale: float = 0.01
    """Factor on the actor's initial last layer, so that the mean change starts near zero; at least 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("scale", self.scale, 0.0 < self.scale <= 1.0, "a number in (0, 1]")
        check("last_scale", self.last_scale, self.last_scale >= 0.0, "a number of at least 0")


class EditAgent(OnBaseAgent):
    """An agent whose actor changes base actions, which it sees: clip(a + scale * tanh(u)), u ~ actor(s, a)."""

    config_class: ClassVar[type[SacConfig]] = EditConfig
    config: EditConfig

    def build(self, seed: int) -> Sac:
        """The actor's entropy is that of the scaled change."""
        obs, action, c = self.spec.obs_size, self.spec.action_size, self.config
        dims = self.spec.entropy_dims()
        return Sac(obs, action, c, seed, obs + action, dims, scale=c.scale, actor_last_scale=c.last_scale)

    def view(self, obs: Tensor, extras: Mapping[str, Tensor]) -> ActorView:
        """Changes the first candidate (candidates are exchangeable)."""
        return edit_view(obs, extras["base"][..., 0, :], self.config.scale)


def edit_view(obs: Tensor, action: Tensor, scale: float) -> ActorView:
    """Returns the view of an actor that sees [observation, action] and adds up to +-scale to the action."""
    return ActorView(torch.cat([obs, action], -1), action, scale)


def edit_input(obs: F32, action: F32) -> Any:
    """Returns the actor's input of `edit_view` for one observation."""
    return np.concatenate([obs, action])
