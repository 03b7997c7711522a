"""Soft actor-critic with an ensemble of critics: the update that all agents share, gradients written out.

Notation: B batch, A action dimensions, E critics, M of them drawn for the target's minimum, s observation, x the
actor's input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_rl.learning.config import SacConfig
from robot_rl.learning.cost import CostCritic
from robot_rl.learning.gaussian import Squashed, draw, head_gradient
from robot_rl.learning.networks import Mlp, Tape
from robot_rl.learning.optimiser import Adam
from robot_rl.learning.replay import Batch
from robot_rl.learning.states import State, copy_checked, pack_rng, unpack_rng


@dataclass
class ActorView:
    """What an agent's actor sees and what its output means: action = clip(base + scale * tanh(u), -1, 1)."""

    x: Tensor
    """(B, n_x) input of the actor."""
    base: Tensor | None = None
    """(B, A) action that is added to, None for zero."""
    scale: float = 1.0
    """Factor beta on the actor's output, above 0."""


class Sac:
    """Actor, E critics with targets, temperature, their optimisers and random generators; critics of the cost, if any.

    Args:
        obs_size: width of the critics' observation.
        action_size: A, width of the actions that critics judge and the actor proposes.
        config: settings.
        seed: of the initial weights and of all later draws.
        actor_size: width of the actor's input; None means obs_size.
        entropy_dims: (A,) bool, dimensions that the temperature counts (a gripper is not counted); None means all.
        scale: beta of the actor's view; the target entropy is that of the scaled action: -|A|/2 + |A| log beta.
        actor_last_scale: factor on the actor's initial last layer.
    """

    def __init__(
        self, obs_size: int, action_size: int, config: SacConfig, seed: int, actor_size: int | None = None,
        entropy_dims: NDArray[np.bool_] | None = None, scale: float = 1.0, actor_last_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.obs_size, self.action_size, self.config, self.scale = obs_size, action_size, config, scale
        self.generator = torch.Generator().manual_seed(seed)
        self.rng = np.random.default_rng([seed, 1])
        actor_sizes = (actor_size or obs_size, *config.hidden, 2 * action_size)
        critic_sizes = (obs_size + action_size, *config.hidden, 1)
        self.actor = Mlp(actor_sizes, 1, config.layer_norm, self.generator, actor_last_scale)
        self.actor.layers[-1].bias[..., action_size:] = config.log_std0
        self.critics = Mlp(critic_sizes, config.critics, config.layer_norm, self.generator, config.critic_last_scale)
        self.targets = Mlp(critic_sizes, config.critics, config.layer_norm, self.generator)
        self.targets.flat.copy_(self.critics.flat)
        # one weight vector after another acts a little differently; their average acts steadily
        self.average = Mlp(actor_sizes, 1, config.layer_norm, torch.Generator())
        self.average.flat.copy_(self.actor.flat)
        budget_j = config.energy_budget_j
        self.cost = None if budget_j is None else CostCritic(critic_sizes, config, budget_j, seed)
        self.log_alpha = torch.tensor([math.log(config.alpha0)])
        self.actor_adam = Adam(self.actor.flat, config.actor_rate)
        self.critic_adam = Adam(self.critics.flat, config.critic_rate)
        self.alpha_adam = Adam(self.log_alpha, config.alpha_rate)
        counted = np.ones(action_size, np.bool_) if entropy_dims is None else np.asarray(entropy_dims, np.bool_)
        self.counted = torch.from_numpy(counted.astype(np.float32))
        dims = int(counted.sum())
        self.target_entropy = -dims / 2.0 if config.target_entropy is None else config.target_entropy
        self.target_entropy += dims * math.log(scale)

    def policy(self, x: Tensor) -> Squashed:
        """Draws the actor's output, unscaled, for inputs (B, n_x)."""
        noise = torch.randn((len(x), self.action_size), generator=self.generator)
        return draw(self.actor.forward(x)[0], noise, self.config.log_std_min, self.config.log_std_max)

    def propose(self, view: ActorView) -> tuple[Tensor, Tensor]:
        """Draws actions (B, A) in [-1, 1] and their log-probability (B,): that of tanh(u), minus A log beta."""
        sample = self.policy(view.x)
        return place(sample.action, view), sample.log_prob.sum(1) - self.action_size * math.log(view.scale)

    def critic_step(
        self, batch: Batch, next_action: Tensor, next_log_prob: Tensor | None, log_alpha: Tensor | None = None
    ) -> dict[str, Tensor]:
        """One update of the critics and their targets, given a'(B, A) ~ policy at s' and log p(a') (B,).

        `log_alpha` (1,) is that of the policy which drew a'; None means this learner's own.
        y = R + gamma^k m ( min_{i in S} Q'_i(s', a') - [entropy_backup] alpha log p(a') ), S: M of E, each once
        L = mean over critics and batch of (Q_i(s, a) - y)^2,  then  Q' <- Q' + tau (Q - Q').
        With an energy budget, the critics of the cost learn from the same batch and action.
        """
        config = self.config
        value = self.target_value(torch.from_numpy(batch.next_obs), next_action, self.draw_members())
        if config.entropy_backup and next_log_prob is not None:
            value = value - (self.log_alpha if log_alpha is None else log_alpha).exp() * next_log_prob
        y = torch.addcmul(torch.from_numpy(batch.reward), torch.from_numpy(batch.discount * batch.mask), value)
        tape = Tape()
        pairs = torch.cat([torch.from_numpy(batch.obs), torch.from_numpy(batch.action)], 1)
        q = self.critics.forward(pairs, tape)[..., 0]  # (E, B)
        error = q - y
        self.critics.backward(tape, (error * (2.0 / error.numel()))[..., None])
        self.critic_adam.step(self.critics.grad)
        torch._foreach_lerp_([self.targets.flat], [self.critics.flat], config.tau)
        figures = {"q": q, "error": error, "y": y}
        return figures if self.cost is None else figures | self.cost.step(batch, next_action)

    def target_value(self, obs: Tensor, action: Tensor, members: list[int] | None = None) -> Tensor:
        """Returns the minimum over the target critics `members` (None: all), for (..., n_obs) and (..., A): (...,)."""
        pairs = torch.cat([obs, action], -1)
        flat = pairs.view(-1, pairs.shape[-1])
        q = self.targets.forward(flat, members=members)[..., 0]
        lowest = q[0] if len(q) == 1 else torch.minimum(q[0], q[1]) if len(q) == 2 else q.amin(0)
        return lowest.view(pairs.shape[:-1])

    def choice_value(self, obs: Tensor, action: Tensor, members: list[int] | None = None) -> Tensor:
        """Returns what actions are chosen by: `target_value`, with an energy budget less the price of the cost."""
        value = self.target_value(obs, action, members)
        if self.cost is None:
            return value
        pairs = torch.cat([obs, action], -1)
        return self.cost.weigh(value.view(-1), pairs.view(-1, pairs.shape[-1])).view(value.shape)

    def draw_members(self, rng: np.random.Generator | None = None) -> list[int] | None:
        """Draws M of E critics without replacement, from this learner's own generator by default; None means all."""
        if self.config.subset == self.config.critics:
            return None
        return [int(i) for i in (rng or self.rng).permutation(self.config.critics)[: self.config.subset]]

    def actor_step(self, batch: Batch, view: ActorView) -> dict[str, Tensor]:
        """One update of actor and temperature.

        L_actor = mean_B [ alpha log p(a|s) - mean_i Q_i(s, a) ]    (with a budget, Q as robot_rl.learning.cost tells)
                  + bc_weight * mean over imitable demonstrations of |mean action - a_demo|^2
        L_alpha = alpha * mean_B ( -log p - target entropy ), over the dimensions that count.
        """
        size = len(batch)
        tape, critic_tape = Tape(), Tape()
        noise = torch.randn((size, self.action_size), generator=self.generator)
        sample = draw(self.actor.forward(view.x, tape)[0], noise, self.config.log_std_min, self.config.log_std_max)
        action = place(sample.action, view)
        pairs = torch.cat([torch.from_numpy(batch.obs), action], 1)
        q = self.critics.forward(pairs, critic_tape)
        q_grad = torch.full_like(q, -1.0 / q.numel())
        columns = slice(self.obs_size, None)
        action_grad = self.critics.backward(critic_tape, q_grad, weights=False, columns=columns)
        assert action_grad is not None  # columns were asked for
        if self.cost is not None:
            action_grad = self.cost.weigh_gradient(action_grad, pairs, columns)
        if view.base is not None:
            action_grad = action_grad * _inside(sample.action, view)
        alpha = self.log_alpha.exp()
        bc_loss, mean_grad = self._imitate(batch, sample, view)
        grad = head_gradient(sample, action_grad * view.scale, alpha / size, mean_grad)
        self.actor.backward(tape, grad[None])
        self.actor_adam.step(self.actor.grad)
        torch._foreach_lerp_([self.average.flat], [self.actor.flat], self.config.average_rate)
        log_prob = (sample.log_prob @ self.counted).mean() - self.counted.sum() * math.log(view.scale)
        self.alpha_adam.step(alpha * (-log_prob - self.target_entropy))
        figures = {"q_actor": q.mean(), "entropy": -log_prob, "alpha": alpha[0]}
        return figures | {"std": sample.std.mean(), "saturation": sample.action.abs().mean(), "bc_loss": bc_loss}

    def _imitate(self, batch: Batch, sample: Squashed, view: ActorView) -> tuple[Tensor, Tensor | None]:
        """Returns the unweighted behaviour-cloning loss and the weighted gradient wrt the Gaussian's mean."""
        weight = self.config.bc_weight
        imitable = batch.imitable
        count = int(imitable.sum())
        if weight == 0.0 or count == 0:
            return torch.zeros(()), None
        squashed = torch.tanh(sample.mean)
        rows = torch.from_numpy(imitable.astype(np.float32))[:, None]
        error = (place(squashed, view) - torch.from_numpy(batch.action)) * rows
        slope = view.scale * (1.0 - squashed.square())
        if view.base is not None:
            slope = slope * _inside(squashed, view)
        return error.square().sum() / count, (2.0 * weight / count) * error * slope

    def state(self) -> State:
        """Returns all that the next update depends on: weights, targets, moments, temperature, random generators."""
        arrays: State = {name: value.numpy().copy() for name, value in self._tensors().items()}
        for name, adam in self._adams().items():
            arrays |= adam.state(f"{name}.")
        arrays["generator"] = self.generator.get_state().numpy().copy()
        arrays["rng"] = pack_rng(self.rng)
        return arrays if self.cost is None else arrays | self.cost.state()

    def load_state(self, state: State) -> None:
        """Restores what `state` returned.

        Raises:
            UserError: an array is missing or has another size.
        """
        for name, tensor in self._tensors().items():
            copy_checked(name, state, tensor)
        for name, adam in self._adams().items():
            adam.load_state(state, f"{name}.")
        generator = self.generator.get_state()
        copy_checked("generator", state, generator)
        self.generator.set_state(generator)
        unpack_rng("rng", state, self.rng)
        if self.cost is not None:
            self.cost.load_state(state)

    def actor_weights(self) -> State:
        """Returns the weights of the actor and of its average: what another process needs in order to act."""
        return {"actor": self.actor.flat.numpy().copy(), "average": self.average.flat.numpy().copy()}

    def load_actor(self, weights: State) -> None:
        """Takes what `actor_weights` returned elsewhere, checked."""
        copy_checked("actor", weights, self.actor.flat)
        copy_checked("average", weights, self.average.flat)

    def _tensors(self) -> dict[str, Tensor]:
        nets = {"actor": self.actor, "average": self.average, "critics": self.critics, "targets": self.targets}
        return {name: net.flat for name, net in nets.items()} | {"log_alpha": self.log_alpha}

    def _adams(self) -> dict[str, Adam]:
        return {"actor_adam": self.actor_adam, "critic_adam": self.critic_adam, "alpha_adam": self.alpha_adam}


def place(output: Tensor, view: ActorView) -> Tensor:
    """Returns clip(base + scale * output, -1, 1)."""
    if view.base is None:
        return output if view.scale == 1.0 else output * view.scale
    return torch.add(view.base, output, alpha=view.scale).clamp_(-1.0, 1.0)


def _inside(output: Tensor, view: ActorView) -> Tensor:
    assert view.base is not None  # without a base nothing is clipped
    return torch.add(view.base, output, alpha=view.scale).abs_() < 1.0
