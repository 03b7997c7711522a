"""DSRL-NA (Wagenmaker et al., 2025): steers a frozen base policy by choosing its noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controllers.types import Source
from data.errors import UserError
from robot_rl.agents.base import AgentSpec, Proposal, Sampler, one_head, summary, tensors
from robot_rl.agents.on_base import OnBaseAgent, OnBaseConfig
from robot_rl.learning.config import SacConfig, check
from robot_rl.learning.networks import Tape
from robot_rl.learning.replay import Batch
from robot_rl.learning.sac import ActorView, Sac
from robot_rl.learning.states import State, number_of
from robot_rl.policies.base import BasePolicy

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class DsrlConfig(OnBaseConfig):
    """Settings of DSRL-NA; actor and temperature are those of the noise policy."""

    candidates: int = 4
    """Noises drawn for each observation; their actions are cached and teach the noise critics; at least 1."""
    bound: float = 1.5
    """Bound b of the chosen noise in each of its horizon * A dimensions, above 0."""
    target_entropy: float | None = 0.0
    """Entropy [nats] of the noise policy's tanh output that the temperature steers to; None: -1/2 a noise dimension."""
    distil: int = 2
    """Updates of the noise critics, Q_W(s, w) <- Q_A(s, G(s, w)), each block, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check("bound", self.bound, self.bound > 0.0, "a number above 0")
        check("distil", self.distil, self.distil >= 1, "at least 1")
        check("bc_weight", self.bc_weight, self.bc_weight == 0.0, "0, as demonstrations hold actions, not noise")
        check("replan", self.replan, self.replan == 1, "1, as noise is chosen at each step")
        no_cost = "null, as dsrl's actor follows critics of noise, which know no cost; rlpd, residual and expo keep one"
        check("energy_budget_j", self.energy_budget_j, self.energy_budget_j is None, no_cost)


class DsrlAgent(OnBaseAgent):
    """a = G(s, b tanh(u)), u ~ noise actor(s), G the base's first action.

    The critics Q_A judge real actions, so demonstrations count: y = R + gamma^k m min Q'_A(s', G(s', w')). The noise
    critics Q_W learn Q_A(s, G(s, w)) on cached pairs of noise and action; the actor maximises Q_W. Of the updates, only
    the target runs the sampler.
    """

    config_class: ClassVar[type[SacConfig]] = DsrlConfig
    source: ClassVar[int] = Source.NOISE
    config: DsrlConfig

    def __init__(self, spec: AgentSpec, config: DsrlConfig, base: BasePolicy | None = None, seed: int = 0) -> None:
        if base is None:
            raise UserError("DsrlAgent fine-tunes a base policy: give one, or choose the agent rlpd")
        self.noise_size = base.horizon * base.action_size
        super().__init__(spec, config, base, seed)

    def build(self, seed: int) -> Sac:
        """Builds the noise policy and its critics beside the action critics, which are returned."""
        self.noise = Sac(self.spec.obs_size, self.noise_size, self.config, seed + 1, scale=self.config.bound)
        return Sac(self.spec.obs_size, self.spec.action_size, replace(self.config, target_entropy=None), seed)

    @property
    def extras_shapes(self) -> dict[str, tuple[int, ...]]:
        """Candidate actions (N, A) and the noises (N, horizon * A) that they come from."""
        return super().extras_shapes | {"noise": (self.config.candidates, self.noise_size)}

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Draws noises within the bound and computes their actions; (n_obs,) or (B, n_obs)."""
        rows, bound = np.atleast_2d(obs), self.config.bound
        count = self.config.candidates
        noise = rng.standard_normal((len(rows), count, self.noise_size), np.float32).clip(-bound, bound)
        extras = {"base": self.base.base(rows, noise, count)[:, :, 0], "noise": noise}
        return extras if obs.ndim == 2 else {name: values[0] for name, values in extras.items()}

    def prepare_episode(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Each observation is planned for by itself."""
        return self.prepare(obs, rng)

    def generate(self, obs: F32, noise: F32) -> F32:
        """Returns G(s, w): (B, n_obs), (B, horizon * A) -> (B, A)."""
        return self.base.base(obs, noise[:, None], 1)[:, 0, 0]

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the action of the chosen noise; that of a random noise during the warm-up."""
        obs = self.checked(obs)
        if self.warming_up:
            return self.act_base(extras, deterministic)
        noise = self.config.bound * self.squashed(one_head(self.noise, obs, deterministic), deterministic)
        return Proposal(self.generate(obs[None], noise[None])[0], self.source)

    def next_action(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Runs the sampler on the noise policy's draw at s'."""
        noise, log_prob = self.noise.propose(ActorView(torch.from_numpy(batch.next_obs), None, self.config.bound))
        return torch.from_numpy(self.generate(batch.next_obs, noise.numpy())), log_prob

    def update(self, sampler: Sampler) -> dict[str, float]:
        """One block: `utd` updates of the action critics, `distil` of the noise critics, one of the noise actor."""
        for _ in range(self.config.utd):
            batch = sampler.sample(self.sac.rng)
            critic = self.sac.critic_step(batch, *self.next_action(batch), self.noise.log_alpha)
        for index in range(self.config.distil):
            distilled = self.distil_step(sampler.sample(self.sac.rng) if index else batch)
        actor = self.noise.actor_step(batch, ActorView(torch.from_numpy(batch.obs), None, self.config.bound))
        self.updates += 1
        self.metrics = summary(batch, critic, actor) | {"distil_loss": distilled.item()}
        return self.metrics

    def distil_step(self, batch: Batch) -> Tensor:
        """One update of the noise critics; L = mean over critics and batch of (Q_W(s, w) - Q_A(s, G(s, w)))^2."""
        pick = self.noise.rng.integers(0, self.config.candidates, len(batch))
        rows, obs = np.arange(len(batch)), torch.from_numpy(batch.obs)
        extras = tensors({name: values[rows, pick] for name, values in batch.extras.items()})
        goal = self.sac.critics.forward(torch.cat([obs, extras["base"]], 1))
        tape = Tape()
        error = self.noise.critics.forward(torch.cat([obs, extras["noise"]], 1), tape) - goal
        self.noise.critics.backward(tape, error * (2.0 / error.numel()))
        self.noise.critic_adam.step(self.noise.critics.grad)
        return error.square().mean()

    def weights(self) -> State:
        """Returns the noise actor's weights and the count of updates."""
        return self.noise.actor_weights() | {"updates": np.array([self.updates], np.int64)}

    def load_weights(self, weights: State) -> None:
        """Takes what `weights` returned elsewhere."""
        self.noise.load_actor(weights)
        self.updates = number_of("updates", weights)

    def state(self) -> State:
        """Adds the noise policy and its critics."""
        return super().state() | {f"noise.{name}": value for name, value in self.noise.state().items()}

    def load_state(self, state: State) -> None:
        """Restores what `state` returned."""
        super().load_state(state)
        self.noise.load_state({k.removeprefix("noise."): v for k, v in state.items() if k.startswith("noise.")})


AGENT = DsrlAgent
