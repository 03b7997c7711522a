"""Encoders turn a flat observation into features; a registry finds them by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from data.errors import UserError

ImageShape = tuple[int, int, int]
Factory = Callable[[int, ImageShape | None], nn.Module]
_REGISTRY: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Makes an encoder known as `name`: called as factory(state_size, image_shape), its features' number in `width`."""

    def keep(factory: Factory) -> Factory:
        _REGISTRY[name] = factory
        return factory

    return keep


def make_encoder(name: str, state_size: int, image_shape: ImageShape | None) -> nn.Module:
    """Builds encoder `name` for flat observations: `state_size` numbers, then the image's H * W * C in 0..255.

    Raises:
        UserError: unknown name (tells the valid ones), or an image shape that does not fit the encoder.
    """
    if name not in _REGISTRY:
        raise UserError(f"unknown encoder {name!r}: valid ones: {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name](state_size, image_shape)


@register("state")
class StateEncoder(nn.Module):
    """Passes the (normalised) state through."""

    def __init__(self, state_size: int, image_shape: ImageShape | None) -> None:
        super().__init__()
        if image_shape is not None:
            raise UserError(f"encoder 'state' takes no image, got image_shape={image_shape}: use encoder=conv")
        self.width = state_size

    def forward(self, obs: Tensor) -> Tensor:
        """(B, n_obs) -> (B, n_obs)."""
        return obs


@register("conv")
class ConvEncoder(nn.Module):
    """Four strided convolutions with GroupNorm on the image, a linear bottleneck, beside the state.

    Images are uint8 values 0..255 (of any dtype) in order H, W, C; at least 16 x 16.
    """

    CHANNELS = (16, 32, 32, 32)
    FEATURES = 64

    def __init__(self, state_size: int, image_shape: ImageShape | None) -> None:
        super().__init__()
        if image_shape is None or min(image_shape[:2]) < 16:
            raise UserError(f"encoder 'conv' needs image_shape (H, W, C) of at least 16 x 16, got {image_shape}")
        self.state_size, self.image_shape = state_size, image_shape
        layers: list[nn.Module] = []
        inputs = image_shape[2]
        for outputs in self.CHANNELS:
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
            inputs = outputs
        self.conv = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = self.conv(torch.zeros(1, image_shape[2], *image_shape[:2])).shape[1]
        self.bottleneck = nn.Sequential(nn.Linear(flat, self.FEATURES), nn.LayerNorm(self.FEATURES), nn.Tanh())
        self.width = state_size + self.FEATURES

    def forward(self, obs: Tensor) -> Tensor:
        """(B, state_size + H W C) -> (B, state_size + 64)."""
        state, image = obs[:, : self.state_size], obs[:, self.state_size :]
        pixels = image.reshape(len(obs), *self.image_shape).permute(0, 3, 1, 2) / 127.5 - 1.0
        return torch.cat([state.float(), self.bottleneck(self.conv(pixels))], 1)
