"""An energy budget as a constraint of the learner: a critic of the cost to come, and the multiplier that weighs it.

The problem is a constrained Markov decision process (Altman, 1999): maximise the return subject to
E[energy of an episode] <= budget. Its Lagrangian, divided by 1 + lambda so that a large lambda does not scale the
actor's step (Stooke et al., 2020, arXiv:2007.03964), replaces Q in the actor's loss:

    (Q(s, a) - lambda Q_c(s, a)) / (1 + lambda),    Q_c in budgets: energy to come [J] / budget [J].

Hence lambda is the price, in units of reward, of spending one more budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robot_rl.learning.config import SacConfig
from robot_rl.learning.networks import Mlp, Tape
from robot_rl.learning.optimiser import Adam
from robot_rl.learning.replay import Batch, Replay
from robot_rl.learning.states import State, array_of, copy_checked

_MEMBERS = 2


class Multiplier:
    """lambda, moved by a projected proportional-integral step on the measured energy of whole episodes.

    Integral action alone is the usual dual ascent, which swings about the budget; the proportional part damps it
    (Stooke et al., 2020).

    Args:
        budget_j: energy of an episode [J] that is to be kept in the mean, above 0.
        config: lambda_rate, lambda_gain, lambda_max, energy_window.
    """

    def __init__(self, budget_j: float, config: SacConfig) -> None:
        self.budget_j, self.config = budget_j, config
        self.value = 0.0
        """lambda, in [0, lambda_max]."""
        self.energy_j = 0.0
        """Mean energy [J] of the newest episodes when lambda was last moved."""
        self._integral, self._seen = 0.0, 0

    def adapt(self, online: Replay) -> None:
        """One step, if an episode has ended since the last one; cut episodes do not count.

        e = (mean energy of the newest energy_window episodes - budget) / budget
        I <- clip(I + lambda_rate e, 0, lambda_max);  lambda = clip(I + lambda_gain e, 0, lambda_max)
        """
        if online.episodes <= self._seen:
            return
        config, self._seen = self.config, online.episodes
        self.energy_j = float(np.mean(list(online.episode_costs)[-config.energy_window :]))
        excess = (self.energy_j - self.budget_j) / self.budget_j
        self._integral = min(max(self._integral + config.lambda_rate * excess, 0.0), config.lambda_max)
        self.value = min(max(self._integral + config.lambda_gain * excess, 0.0), config.lambda_max)

    def state(self) -> State:
        """Returns lambda, its integral part, the measured energy and the count of episodes behind it."""
        return {"multiplier": np.array([self.value, self._integral, self.energy_j, self._seen])}

    def load_state(self, state: State) -> None:
        """Restores what `state` returned. Raises UserError if it is missing or has another size."""
        self.value, self._integral, self.energy_j, seen = (float(x) for x in array_of("multiplier", state, 4))
        self._seen = int(seen)


class CostCritic:
    """Twin critics of the energy to come, pessimistic by their maximum, with targets, and the multiplier.

    Args:
        sizes: widths of the critics, those of the reward's critics.
        config: settings, energy_budget_j among them.
        budget_j: the budget [J], above 0.
        seed: of the initial weights. The generator is its own: the other networks begin as without a budget.
    """

    def __init__(self, sizes: Sequence[int], config: SacConfig, budget_j: float, seed: int) -> None:
        self.config, self.budget_j = config, budget_j
        generator = torch.Generator().manual_seed(seed)
        self.critics = Mlp(sizes, _MEMBERS, config.layer_norm, generator, config.critic_last_scale)
        self.targets = Mlp(sizes, _MEMBERS, config.layer_norm, generator)
        self.targets.flat.copy_(self.critics.flat)
        self.adam = Adam(self.critics.flat, config.critic_rate)
        self.multiplier = Multiplier(budget_j, config)

    def step(self, batch: Batch, next_action: Tensor) -> dict[str, Tensor]:
        """One update of the cost critics and their targets, given a' (B, A) ~ policy at s'.

        y = C / budget + gamma^k m max_i Q'_c,i(s', a'),  C the energy of the n steps, discounted within them
        L = mean over critics and batch of (Q_c,i(s, a) - y)^2,  then  Q'_c <- Q'_c + tau (Q_c - Q'_c).
        """
        later = self.worst(torch.cat([torch.from_numpy(batch.next_obs), next_action], 1))
        cost = torch.from_numpy(batch.cost / np.float32(self.budget_j))
        y = torch.addcmul(cost, torch.from_numpy(batch.discount * batch.mask), later)
        tape = Tape()
        pairs = torch.cat([torch.from_numpy(batch.obs), torch.from_numpy(batch.action)], 1)
        q = self.critics.forward(pairs, tape)[..., 0]  # (2, B)
        error = q - y
        self.critics.backward(tape, (error * (2.0 / error.numel()))[..., None])
        self.adam.step(self.critics.grad)
        torch._foreach_lerp_([self.targets.flat], [self.critics.flat], self.config.tau)
        return {"q_cost": q.amax(0).mean(), "cost_loss": error.square().mean(), "cost_y": y}

    def worst(self, pairs: Tensor) -> Tensor:
        """Returns max_i Q'_c,i (B,) of the target critics for [observation, action] (B, n_obs + A)."""
        q = self.targets.forward(pairs)[..., 0]
        return torch.maximum(q[0], q[1])

    def weigh(self, value: Tensor, pairs: Tensor) -> Tensor:
        """Returns (value - lambda max Q'_c) / (1 + lambda), (B,), for the target critics' values (B,) of the reward."""
        price = self.multiplier.value
        return value if price == 0.0 else (value - price * self.worst(pairs)) / (1.0 + price)

    def weigh_gradient(self, action_grad: Tensor, pairs: Tensor, columns: slice) -> Tensor:
        """Returns d/da of mean_B -(Q - lambda max_i Q_c,i) / (1 + lambda), (B, A), given that of mean_B -Q.

        `pairs` (B, n_obs + A) are [observation, action], the action in `columns`. At lambda = 0 the gradient is
        returned untouched.
        """
        price = self.multiplier.value
        if price == 0.0:
            return action_grad
        tape = Tape()
        q = self.critics.forward(pairs, tape)[..., 0]
        q_grad = torch.zeros_like(q).scatter_(0, q.argmax(0, keepdim=True), 1.0 / q.shape[1])
        cost_grad = self.critics.backward(tape, q_grad[..., None], weights=False, columns=columns)
        assert cost_grad is not None  # columns were asked for
        return (action_grad + price * cost_grad) / (1.0 + price)

    def figures(self) -> dict[str, float]:
        """Returns lambda and the measured energy [J] of an episode that it was moved by."""
        return {"lambda": self.multiplier.value, "energy_mean_j": self.multiplier.energy_j}

    def chooser_state(self) -> State:
        """Returns what `weigh` needs in another process."""
        return {"cost_targets": self.targets.flat.numpy().copy(), **self.multiplier.state()}

    def load_chooser(self, state: State) -> None:
        """Takes what `chooser_state` returned elsewhere, checked."""
        copy_checked("cost_targets", state, self.targets.flat)
        self.multiplier.load_state(state)

    def state(self) -> State:
        """Returns weights, targets, moments and multiplier."""
        critics = {"cost_critics": self.critics.flat.numpy().copy()}
        return critics | self.chooser_state() | self.adam.state("cost_adam.")

    def load_state(self, state: State) -> None:
        """Restores what `state` returned. Raises UserError if an array is missing or has another size."""
        copy_checked("cost_critics", state, self.critics.flat)
        self.load_chooser(state)
        self.adam.load_state(state, "cost_adam.")
