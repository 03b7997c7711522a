"""Settings of the learner: one plain dataclass, one sentence a field."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.errors import UserError


@dataclass(frozen=True)
class SacConfig:
    """Settings of soft actor-critic with an ensemble of critics (RLPD's backbone)."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of actor and critics, each at least 1."""
    critics: int = 2
    """Number E of critics in the ensemble, at least 1."""
    subset: int = 2
    """Number M of critics, drawn anew per update without replacement, whose minimum is the target; 1..critics."""
    layer_norm: bool = True
    """Whether hidden layers are normalised before their ReLU, in actor and critics."""
    critic_last_scale: float = 0.1
    """Factor on the critics' initial last layers, at least 0: small, values start near the zero of a sparse reward."""
    gamma: float = 0.97
    """Discount of one environment step, in (0, 1]."""
    n_step: int = 3
    """Transitions summed into one return, at least 1; fewer where an episode ends earlier."""
    batch_size: int = 256
    """Transitions a critic update, at least 2."""
    demo_fraction: float = 0.5
    """Share of each batch drawn from demonstrations where there are any, in [0, 1]."""
    utd: int = 2
    """Critic updates, each on a fresh batch, per block; one actor and temperature update ends the block; at least 1."""
    tau: float = 0.005
    """Step of the target critics towards the critics after each critic update, in (0, 1]."""
    critic_rate: float = 3e-4
    """Adam's learning rate of the critics, above 0."""
    actor_rate: float = 3e-4
    """Adam's learning rate of the actor, above 0."""
    alpha_rate: float = 3e-4
    """Adam's learning rate of the logarithm of the temperature, at least 0; 0 keeps the temperature fixed."""
    alpha0: float = 0.01
    """Initial entropy temperature, above 0."""
    target_entropy: float | None = None
    """Entropy [nats] of the actor's output tanh(u) that the temperature steers to; None: minus half its dimensions A.

    The gripper does not count among them. Where the output is scaled (`scale` of residual and expo, `bound` of dsrl),
    A log(scale) is added, to a given value as well: log p is that of the scaled output, whose entropy is then compared.
    """
    entropy_backup: bool = False
    """Whether the target's value includes the entropy of the next action (masked and discounted as the value is)."""
    average_rate: float = 0.01
    """Step of the averaged actor, which acts deterministically, towards the actor per block, in (0, 1]; 1: none."""
    bc_weight: float = 0.0
    """Weight of the squared distance between the actor's mean action and the demonstration's, at least 0."""
    log_std0: float = 0.0
    """Initial logarithm of the standard deviation before tanh, from log_std_min to log_std_max."""
    log_std_min: float = -5.0
    """Lower bound of the actor's logarithm of the standard deviation before tanh."""
    log_std_max: float = 2.0
    """Upper bound of the actor's logarithm of the standard deviation before tanh, above log_std_min."""
    energy_budget_j: float | None = None
    """Energy [J] that an episode may take in the mean, above 0; None: no budget, and no cost is learned."""
    lambda_rate: float = 0.05
    """Integral gain of the budget's multiplier, for each relative excess of an ended episode's mean, at least 0."""
    lambda_gain: float = 0.5
    """Proportional gain of the budget's multiplier on the relative excess, at least 0."""
    lambda_max: float = 20.0
    """Largest multiplier: price, in units of reward, of spending one more budget; above 0."""
    energy_window: int = 10
    """Newest ended episodes whose mean energy is held against the budget, from 1 to 100."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        check("hidden", self.hidden, bool(self.hidden) and min(self.hidden) >= 1, "one or more widths of at least 1")
        check("critics", self.critics, self.critics >= 1, "at least 1")
        check("subset", self.subset, 1 <= self.subset <= self.critics, f"a number from 1 to critics={self.critics}")
        check("gamma", self.gamma, 0.0 < self.gamma <= 1.0, "a number in (0, 1]")
        check("n_step", self.n_step, self.n_step >= 1, "at least 1")
        check("batch_size", self.batch_size, self.batch_size >= 2, "at least 2")
        check("demo_fraction", self.demo_fraction, 0.0 <= self.demo_fraction <= 1.0, "a number in [0, 1]")
        check("utd", self.utd, self.utd >= 1, "at least 1")
        check("tau", self.tau, 0.0 < self.tau <= 1.0, "a number in (0, 1]")
        check("average_rate", self.average_rate, 0.0 < self.average_rate <= 1.0, "a number in (0, 1]")
        for name in ("critic_rate", "actor_rate", "alpha0", "lambda_max"):
            value = getattr(self, name)
            check(name, value, 0.0 < value < math.inf, "a finite number above 0")
        for name in ("alpha_rate", "bc_weight", "critic_last_scale", "lambda_rate", "lambda_gain"):
            value = getattr(self, name)
            check(name, value, 0.0 <= value < math.inf, "a finite number of at least 0")
        budget_j, window = self.energy_budget_j, self.energy_window
        valid = budget_j is None or 0.0 < budget_j < math.inf
        check("energy_budget_j", budget_j, valid, "a finite number above 0, or null for no budget")
        check("energy_window", window, 1 <= window <= 100, "a number from 1 to 100")
        lowest, highest = self.log_std_min, self.log_std_max
        check("log_std_max", highest, lowest < highest, f"more than log_std_min={lowest}")
        check("log_std0", self.log_std0, lowest <= self.log_std0 <= highest, f"a number from {lowest} to {highest}")


def check(name: str, value: object, valid: bool, expected: str) -> None:
    """Raises UserError unless `valid`, telling which setting, what came and what was expected."""
    if not valid:
        raise UserError(f"{name}={value} does not fit: expected {expected}")
