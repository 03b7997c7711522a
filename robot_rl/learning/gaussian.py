"""The tanh-Gaussian policy: samples, log-probabilities and their hand-written gradients.

u = mean + std * noise, squashed to tanh(u);
log p = sum_i [ -noise_i^2 / 2 - log std_i - log(2 pi) / 2 - log(1 - tanh(u_i)^2) ].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LOG_2 = math.log(2.0)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass
class Squashed:
    """One draw of a tanh-Gaussian for B observations."""

    action: Tensor
    """(B, A) tanh(u), in [-1, 1]."""
    log_prob: Tensor
    """(B, A) per dimension; their sum is the log-probability of the action."""
    mean: Tensor
    """(B, A) of u."""
    std: Tensor
    """(B, A) of u."""
    noise: Tensor
    """(B, A)."""
    free: Tensor
    """(B, A) whether the logarithm of std lies within its bounds, so that gradients reach it."""


def draw(head: Tensor, noise: Tensor, log_std_min: float, log_std_max: float) -> Squashed:
    """Returns the draw for a network's output `head` (B, 2 A) = [mean, log std] and standard normal `noise` (B, A)."""
    mean, raw = head.chunk(2, -1)
    log_std = raw.clamp(log_std_min, log_std_max)
    std = log_std.exp()
    u = torch.addcmul(mean, std, noise)
    # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), exact where tanh saturates
    log_slope = 2.0 * (_LOG_2 - u - F.softplus(-2.0 * u))
    log_prob = -0.5 * noise.square() - log_std - _HALF_LOG_2PI - log_slope
    return Squashed(torch.tanh(u), log_prob, mean, std, noise, raw == log_std)


def head_gradient(
    draw: Squashed, action_grad: Tensor, log_prob_grad: Tensor, mean_grad: Tensor | None = None
) -> Tensor:
    """Returns the gradient wrt the head (B, 2 A) of a loss, given its gradients wrt the draw.

    Args:
        draw: the draw.
        action_grad: (B, A) dL/d action.
        log_prob_grad: (B, A) or broadcastable: dL/d log_prob.
        mean_grad: (B, A) dL/d mean by other ways than the action.

    With a = tanh(u): da/du = 1 - a^2, d log_prob/du = 2 a, du/d log std = std * noise,
    d log_prob/d log std = 2 a std noise - 1.
    """
    a = draw.action
    u_grad = action_grad * (1.0 - a.square()) + 2.0 * a * log_prob_grad
    raw_grad = (u_grad * draw.std * draw.noise - log_prob_grad) * draw.free
    if mean_grad is not None:
        u_grad = u_grad + mean_grad
    return torch.cat([u_grad, raw_grad], -1)
