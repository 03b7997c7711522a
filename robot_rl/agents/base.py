"""The interface of agents, and the part that agents on soft actor-critic share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controllers.types import Source
from data.errors import UserError
from robot_rl.learning.config import SacConfig
from robot_rl.learning.replay import Batch, Replay
from robot_rl.learning.sac import ActorView, Sac
from robot_rl.learning.sampling import SymmetricSampler
from robot_rl.learning.states import State, number_of, pack_rng, unpack_rng
from robot_rl.options import as_declared, expected_names

if TYPE_CHECKING:
    from robot_rl.policies.base import BasePolicy

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class AgentSpec:
    """What an agent must know of its environment. Actions lie in [-1, 1]^action_size."""

    obs_size: int
    """Width of the flat observation, at least 1."""
    action_size: int
    """Number A of action dimensions, at least 1."""
    gripper_index: int | None = None
    """Which action dimension is the gripper's, not counted in the target entropy; None means there is none."""

    def __post_init__(self) -> None:
        if self.obs_size < 1 or self.action_size < 1:
            widths = f"obs_size={self.obs_size}, action_size={self.action_size}"
            raise UserError(f"agent needs widths of at least 1, got {widths}")
        if self.gripper_index is not None and not 0 <= self.gripper_index < self.action_size:
            wanted = f"0..{self.action_size - 1} or None"
            raise UserError(f"gripper_index={self.gripper_index} does not fit: expected {wanted}")

    def entropy_dims(self) -> NDArray[np.bool_]:
        """Returns (A,) which dimensions the temperature counts."""
        dims = np.ones(self.action_size, np.bool_)
        if self.gripper_index is not None:
            dims[self.gripper_index] = False
        return dims


@dataclass(frozen=True)
class Proposal:
    """An action (A,) float32 in [-1, 1] and who proposes it (controllers.types.Source)."""

    action: F32
    source: int


class Sampler(Protocol):
    """Where updates take their batches from."""

    online: Replay
    """What was experienced online; the energy of its episodes is held against a budget."""

    def sample(self, rng: np.random.Generator) -> Batch:
        """Returns one batch."""
        ...


class Agent(Protocol):
    """A way to act and to learn. Built as `Agent(spec, config, base, seed)`; see `SacAgent` for what most share."""

    spec: AgentSpec

    @property
    def extras_shapes(self) -> dict[str, tuple[int, ...]]:
        """What `prepare` returns, per name the shape without batch: give it to `Replay`."""
        ...

    @property
    def needs_energy(self) -> bool:
        """Whether updates need to know the energy that each transition took."""
        ...

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of the latest update; docs/learning.md gives their equations."""
        ...

    def begin_episode(self) -> None:
        """Forgets what belongs to the former episode, such as the rest of an action chunk."""
        ...

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Computes what depends on the observation alone and is cached in replay; (n_obs,) or (B, n_obs)."""
        ...

    def prepare_episode(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Computes the same for the observations (T, n_obs) of a whole recorded episode; arrays (T, ...)."""
        ...

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes an action for one observation (n_obs,)."""
        ...

    def make_sampler(self, online: Replay, demos: Replay | None) -> SymmetricSampler:
        """Returns a sampler with this agent's batch size, n-step and discount."""
        ...

    def update(self, sampler: Sampler) -> dict[str, float]:
        """One block of updates; returns `metrics`."""
        ...

    def weights(self) -> State:
        """What another process needs in order to act like this agent."""
        ...

    def load_weights(self, weights: State) -> None:
        """Takes what `weights` returned elsewhere."""
        ...

    def state(self) -> State:
        """Everything that later updates and actions depend on, as arrays."""
        ...

    def load_state(self, state: State) -> None:
        """Goes on where `state` was taken, to the same numbers."""
        ...


def config_from(kind: type[Any], options: Mapping[str, Any], what: str = "agent") -> Any:
    """Builds the config dataclass `kind` from named options; `what` has them, for the message.

    Raises:
        UserError: an option is unknown (tells the closest and all), or a value does not fit.
    """
    names = [entry.name for entry in dataclasses.fields(kind)]
    for key in options:
        if key not in names:
            raise UserError(f"unknown {what} option {key!r}; {expected_names(key, names)}")
    return kind(**as_declared(kind, options))


class SacAgent:
    """RLPD as it stands; agents on a base policy override `prepare`, `view` and what else they change."""

    config_class: ClassVar[type[SacConfig]] = SacConfig
    needs_base: ClassVar[bool] = False
    source: ClassVar[int] = Source.POLICY

    def __init__(self, spec: AgentSpec, config: SacConfig, base: BasePolicy | None = None, seed: int = 0) -> None:
        if self.needs_base and base is None:
            raise UserError(f"{type(self).__name__} fine-tunes a base policy: give one, or choose the agent rlpd")
        self.spec, self.config, self.base = spec, config, base
        self.acting_rng = np.random.default_rng([seed, 2])
        self.updates = 0
        self.metrics: dict[str, float] = {}
        self.sac = self.build(seed)

    def build(self, seed: int) -> Sac:
        """Returns the networks."""
        return Sac(self.spec.obs_size, self.spec.action_size, self.config, seed, entropy_dims=self.spec.entropy_dims())

    @property
    def extras_shapes(self) -> dict[str, tuple[int, ...]]:
        """Nothing is cached."""
        return {}

    @property
    def needs_energy(self) -> bool:
        """Whether there is an energy budget."""
        return self.config.energy_budget_j is not None

    def begin_episode(self) -> None:
        """Nothing to forget."""

    def prepare_episode(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Nothing is cached."""
        return {}

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """Nothing is cached."""
        return {}

    def view(self, obs: Tensor, extras: Mapping[str, Tensor]) -> ActorView:
        """What the actor sees, and where its output goes."""
        return ActorView(obs)

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the actor's mean, or a draw from it."""
        obs = self.checked(obs)
        return Proposal(self.actor_output(obs, deterministic), self.source)

    def checked(self, obs: F32) -> F32:
        """Returns `obs` as float32; raises UserError if its width is wrong or a number is not finite."""
        obs = np.asarray(obs, np.float32)
        if obs.shape != (self.spec.obs_size,):
            raise UserError(f"observation needs {self.spec.obs_size} numbers, got shape {obs.shape}")
        if not np.isfinite(obs).all():
            where = np.flatnonzero(~np.isfinite(obs)).tolist()
            raise UserError(f"observation has numbers that are not finite at {where}")
        return obs

    def actor_output(self, x: F32, deterministic: bool) -> F32:
        """Returns tanh(u) (A,) of the actor for one input (n_x,)."""
        return self.squashed(one_head(self.sac, x, deterministic), deterministic)

    def squashed(self, head: F32, deterministic: bool) -> F32:
        """Returns tanh(u) (A,) for an actor's output (2 A,): of its mean, or of a draw."""
        mean, log_std = np.split(head, 2)
        if deterministic:
            return np.tanh(mean)
        noise = self.acting_rng.standard_normal(mean.size, np.float32)
        return np.tanh(mean + np.exp(np.clip(log_std, self.config.log_std_min, self.config.log_std_max)) * noise)

    def make_sampler(self, online: Replay, demos: Replay | None) -> SymmetricSampler:
        """Returns a sampler with this agent's batch size, n-step, discount and share of demonstrations."""
        c = self.config
        return SymmetricSampler(online, demos, c.batch_size, c.n_step, c.gamma, c.demo_fraction)

    def update(self, sampler: Sampler) -> dict[str, float]:
        """One block: `utd` critic updates, each on a fresh batch, then one update of actor and temperature.

        With an energy budget, its multiplier moves first if an episode has ended.
        """
        if self.sac.cost is not None:
            self.sac.cost.multiplier.adapt(sampler.online)
        for _ in range(self.config.utd):
            batch = sampler.sample(self.sac.rng)
            next_action, next_log_prob = self.next_action(batch)
            critic = self.sac.critic_step(batch, next_action, next_log_prob)
        actor = self.sac.actor_step(batch, self.actor_view(batch))
        self.updates += 1
        self.metrics = summary(batch, critic, actor)
        if self.sac.cost is not None:
            self.metrics |= self.sac.cost.figures()
        return self.metrics

    def actor_view(self, batch: Batch) -> ActorView:
        """What the actor's update sees."""
        return self.view(torch.from_numpy(batch.obs), tensors(batch.extras))

    def next_action(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Returns a' (B, A) ~ policy at s' and log p(a') (B,) for the critics' target."""
        return self.sac.propose(self.view(torch.from_numpy(batch.next_obs), tensors(batch.next_extras)))

    def weights(self) -> State:
        """Returns the weights of the actor and of its average."""
        return self.sac.actor_weights()

    def load_weights(self, weights: State) -> None:
        """Takes what `weights` returned elsewhere."""
        self.sac.load_actor(weights)

    def state(self) -> State:
        """Returns networks, optimisers, temperature, generators and the count of updates."""
        own = {"acting_rng": pack_rng(self.acting_rng), "updates": np.array([self.updates], np.int64)}
        return self.sac.state() | own

    def load_state(self, state: State) -> None:
        """Restores what `state` returned. Raises UserError if an array is missing or has another size."""
        self.sac.load_state(state)
        unpack_rng("acting_rng", state, self.acting_rng)
        self.updates = number_of("updates", state)


def one_head(sac: Sac, x: F32, averaged: bool) -> F32:
    """Returns the output (2 A,) of the actor of `sac`, or of its average, for one input (n_x,)."""
    head: F32 = (sac.average if averaged else sac.actor).forward(torch.from_numpy(x)[None])[0, 0].numpy()
    return head


def tensors(arrays: Mapping[str, F32]) -> dict[str, Tensor]:
    """Returns the same arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def summary(batch: Batch, critic: dict[str, Tensor], actor: dict[str, Tensor]) -> dict[str, float]:
    """Returns the figures of one block: its last critic update and its actor update."""
    q, error = critic["q"], critic["error"]
    absolute = error.abs().mean(0).numpy()
    figures = {
        "critic_loss": error.square().mean().item(),
        "q_mean": q.mean().item(),
        "q_spread": (q.amax(0) - q.amin(0)).mean().item(),
        "target_mean": critic["y"].mean().item(),
    }
    for name, rows in (("td_error_online", ~batch.demo), ("td_error_demo", batch.demo)):
        if rows.any():
            figures[name] = float(absolute[rows].mean())
    figures |= {name: critic[name].item() for name in ("q_cost", "cost_loss") if name in critic}
    return figures | {name: value.item() for name, value in actor.items()}
