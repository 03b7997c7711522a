"""Stacked multilayer perceptrons with a hand-written backward pass.

An update of soft actor-critic on small networks spends much of its time in the bookkeeping of automatic
differentiation, and it differentiates weights that nobody asks for (the critics' in the actor's step). So forward and
backward are written out, E networks at once, over one flat vector of parameters and one of gradients: the optimiser,
the target average and a checkpoint each touch a single tensor. Tests hold the gradients to automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-5
"""Added to the variance by layer normalisation."""


@dataclass
class Layer:
    """Views into a flat vector: weight (E, in, out), bias (E, 1, out); gain and shift (E, 1, out) where normalised."""

    weight: Tensor
    bias: Tensor
    gain: Tensor | None = None
    shift: Tensor | None = None


@dataclass
class Tape:
    """What backward needs of one forward pass: per layer its input, and for a normalised one (z, zhat, mean, 1/std)."""

    inputs: list[Tensor] = field(default_factory=list)
    norms: list[tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)


class Mlp:
    """E perceptrons of equal shape: h <- relu(LN(h W + b)) per hidden layer, then one linear layer.

    Args:
        sizes: widths from input to output, at least two.
        members: E.
        layer_norm: whether hidden layers are normalised (with gain and shift of their own per member).
        generator: source of the initial weights (Xavier uniform, zero bias).
        last_scale: factor on the initial weights of the last layer; 0 makes the initial output zero.
    """

    def __init__(
        self, sizes: Sequence[int], members: int, layer_norm: bool, generator: torch.Generator, last_scale: float = 1.0
    ) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        self.members = members
        self.layer_norm = layer_norm
        count = sum(int(np.prod(shape)) for layer in self._shapes() for shape in layer)
        self.flat = torch.zeros(count)
        self.grad = torch.zeros(count)
        self.layers = self._views(self.flat)
        self.grads = self._views(self.grad)
        for layer in self.layers:
            bound = (6.0 / (layer.weight.shape[1] + layer.weight.shape[2])) ** 0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.gain is not None:
                layer.gain.fill_(1.0)
        self.layers[-1].weight.mul_(last_scale)

    def _shapes(self) -> list[list[tuple[int, int, int]]]:
        E = self.members
        shapes = []
        for index, (inputs, outputs) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            normalised = self.layer_norm and index < len(self.sizes) - 2
            shapes.append([(E, inputs, outputs)] + [(E, 1, outputs)] * (3 if normalised else 1))
        return shapes

    def _views(self, flat: Tensor) -> list[Layer]:
        layers, start = [], 0
        for shapes in self._shapes():
            views = []
            for shape in shapes:
                size = int(np.prod(shape))
                views.append(flat[start : start + size].view(shape))
                start += size
            layers.append(Layer(*views))
        return layers

    def forward(self, x: Tensor, tape: Tape | None = None, members: Sequence[int] | None = None) -> Tensor:
        """Returns outputs (E, B, out) for inputs (B, in), shared by all members, or (E, B, in).

        `tape` records what backward needs. `members` evaluates only these (no tape then): (len(members), B, out).
        """
        count = self.members if members is None else len(members)
        h = x if x.dim() == 3 else x.expand(count, *x.shape)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            part = layer if members is None else _select(layer, list(members))
            if tape is not None:
                tape.inputs.append(h)
            if index == last:
                return _last_forward(part, h)
            z = torch.baddbmm(part.bias, h, part.weight)  # (E, B, out)
            if part.gain is not None and part.shift is not None:
                zhat, mean, rstd = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)
                if tape is not None:
                    tape.norms.append((z, zhat, mean, rstd))
                z = torch.addcmul(part.shift, zhat, part.gain)
            h = torch.relu_(z)
        raise AssertionError("a network has at least one layer")

    def backward(self, tape: Tape, grad: Tensor, weights: bool = True, columns: slice | None = None) -> Tensor | None:
        """Carries the loss's gradient wrt the outputs (E, B, out) back.

        With `weights`, fills `self.grad` (overwriting it). With `columns`, returns the gradient wrt these columns of
        the input, summed over the members: (B, columns); otherwise None.
        """
        g = grad
        for index in range(len(self.layers) - 1, -1, -1):
            layer, out = self.layers[index], self.grads[index]
            if index < len(self.layers) - 1:
                g = torch.ops.aten.threshold_backward(g, tape.inputs[index + 1], 0.0)
                if layer.gain is not None:
                    g = _norm_backward(g, layer.gain, out, tape.norms[index], weights)
            if weights:
                _weight_gradient(out.weight, tape.inputs[index], g)
                torch.sum(g, 1, keepdim=True, out=out.bias)
            if index > 0:
                g = g * layer.weight.mT if g.shape[-1] == 1 else torch.bmm(g, layer.weight.mT)
        if columns is None:
            return None
        return torch.bmm(g, self.layers[0].weight[:, columns].mT).sum(0)


def _select(layer: Layer, members: list[int]) -> Layer:
    gain = None if layer.gain is None else layer.gain[members]
    shift = None if layer.shift is None else layer.shift[members]
    return Layer(layer.weight[members], layer.bias[members], gain, shift)


def _norm_backward(g: Tensor, gain: Tensor, out: Layer, norm: Any, weights: bool) -> Tensor:
    """Gradient wrt z of shift + gain * (z - mean) / std, and the gradients of gain and shift."""
    z, zhat, mean, rstd = norm
    if weights:
        torch.sum(g * zhat, 1, keepdim=True, out=out.gain)
        torch.sum(g, 1, keepdim=True, out=out.shift)
    scaled = (g * gain).to(z.dtype)
    mask = [True, False, False]
    grads = torch.ops.aten.native_layer_norm_backward(scaled, z, z.shape[-1:], mean, rstd, None, None, mask)
    return grads[0]  # type: ignore[no-any-return]


# A product with one column runs at a fiftieth of the speed of a proper matrix product, so a last layer of width 1 (a
# critic's) is written as elementwise products and sums.


def _last_forward(layer: Layer, h: Tensor) -> Tensor:
    if layer.weight.shape[-1] == 1:
        return (h * layer.weight.mT).sum(-1, keepdim=True) + layer.bias
    return torch.baddbmm(layer.bias, h, layer.weight)


def _weight_gradient(target: Tensor, h: Tensor, g: Tensor) -> None:
    """Writes h^T g (E, in, out) into `target`."""
    if g.shape[-1] == 1:
        target.copy_(torch.bmm(g.mT.to(h.dtype), h).mT)
    elif h.dtype == g.dtype == target.dtype and not torch.is_autocast_enabled("cpu"):
        torch.bmm(h.mT, g, out=target)
    else:
        target.copy_(torch.bmm(h.mT, g))
