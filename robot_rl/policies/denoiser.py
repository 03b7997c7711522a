"""The network of the diffusion policy: tells noise and actions of a noisy chunk apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TIME_FEATURES = 32


class Denoiser(nn.Module):
    """Residual perceptron f(features, noisy chunk, diffusion time); what it predicts is DiffusionConfig.prediction.

    Args:
        features: width of the encoder's output.
        chunk: horizon * A.
        width: of the hidden layers.
        blocks: number of residual blocks.
    """

    def __init__(self, features: int, chunk: int, width: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Linear(features + chunk + TIME_FEATURES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, chunk))

    def forward(self, features: Tensor, chunk: Tensor, time: Tensor) -> Tensor:
        """(B, features), (B, chunk), (B,) integer times -> (B, chunk)."""
        h = self.into(torch.cat([features, chunk, time_features(time)], 1))
        for block in self.blocks:
            h = h + block(h)
        prediction: Tensor = self.out(h)
        return prediction


def time_features(time: Tensor) -> Tensor:
    """Returns sines and cosines (B, 32) of the diffusion time at wave lengths from 2 pi to 2 pi 10^4."""
    half = TIME_FEATURES // 2
    rates = torch.exp(-math.log(10_000.0) / (half - 1) * torch.arange(half))
    angles = time.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
