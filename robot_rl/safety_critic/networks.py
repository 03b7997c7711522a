"""The critic's networks in torch, and their way into the record that the tick reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safety.risk_critic import MIDDLE_STIFFNESS, RECOVERY_REACH_M, RECOVERY_STIFFNESS
from safety.risk_memory import ACTION_FEATURES, FEATURE_NAMES, FEATURES, PLACE_FEATURES, WIDTH
from safety.risk_weights import CRITIC_WEIGHTS, RECOVERY_OUTPUTS, inputs_of, layout_number

_SPRING = slice(FEATURE_NAMES.index("spring_x"), FEATURE_NAMES.index("spring_x") + 6)


@dataclass(frozen=True, eq=False)
class ActionScales:
    """What turns a recovery's answer into action features: figures of the chain that the critic is for."""

    leash: NDArray[np.float64]
    """(6,) [m x3, rad x3]."""
    travel: NDArray[np.float64]
    """(6,) how far the reference gets within the look-ahead [m x3, rad x3]."""


class Perceptrons(nn.Module):
    """`members` networks of equal shape at once: two hidden layers of WIDTH with ramps, then `outputs` numbers."""

    def __init__(self, members: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = (inputs, WIDTH, WIDTH, outputs)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, width in pairwise(sizes):
            bound = (6.0 / (inputs + width)) ** 0.5
            weight = torch.empty(members, inputs, width).uniform_(-bound, bound, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, width)))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, inputs), standardised, to (members, n, outputs)."""
        h = x.expand(self.weights[0].shape[0], *x.shape)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if layer < len(self.weights) - 1:
                h = torch.relu(h)
        return h


class CriticNetworks:
    """Twin risk networks, their target copy, and the recovery policy, with the standardisation of their input.

    They see the first `inputs` of the features.
    """

    def __init__(self, seed: int, inputs: int = FEATURES) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = inputs
        self.risk = Perceptrons(2, inputs, 1, generator)
        self.target = Perceptrons(2, inputs, 1, generator)
        self.target.load_state_dict(self.risk.state_dict())
        self.recovery = Perceptrons(1, inputs, RECOVERY_OUTPUTS, generator)
        self.centre = torch.zeros(inputs)
        self.inverse_scale = torch.ones(inputs)

    def standard(self, features: Tensor) -> Tensor:
        """Standardised features (n, inputs) of raw ones (n, FEATURES)."""
        return (features[..., : self.inputs] - self.centre) * self.inverse_scale

    def logits(self, features: Tensor) -> Tensor:
        """(2, n) logits of the twins for raw features (n, FEATURES)."""
        logits: Tensor = self.risk(self.standard(features))[..., 0]
        return logits

    def target_risk(self, features: Tensor) -> Tensor:
        """(n,) greater risk of the two target networks."""
        with torch.no_grad():
            return torch.sigmoid(self.target(self.standard(features))[..., 0]).amax(0)

    def recovering(self, features: Tensor, scales: ActionScales) -> Tensor:
        """Raw features (n, FEATURES) with the action part replaced by what the recovery policy would do there.

        offset = reach tanh(z) in tool axes from the measured position; the goal's rotation is the measured one.
        """
        z = self.recovery(self.standard(features))[0]
        leash = torch.as_tensor(scales.leash, dtype=torch.float32)
        travel = torch.as_tensor(scales.travel, dtype=torch.float32)
        spring = features[:, _SPRING] * leash
        offset = torch.cat([RECOVERY_REACH_M * torch.tanh(z[:, :3]), torch.zeros_like(z[:, :3])], 1)
        ahead = ((offset - spring) / travel).clamp(-1.0, 1.0)
        share = torch.sigmoid(z[:, 3:4])
        decades = [
            (np.log10(low / middle) + share * np.log10(high / low)).expand(-1, 3)
            for (low, high), middle in zip(RECOVERY_STIFFNESS, MIDDLE_STIFFNESS, strict=True)
        ]
        return torch.cat([features[:, : ACTION_FEATURES.start], ahead, *decades, features[:, PLACE_FEATURES]], 1)

    def to_weights(self, template: NDArray[Any]) -> NDArray[Any]:
        """Returns `template` (limits, discount, training box) with these networks, a () CRITIC_WEIGHTS record.

        What they do not see gets zeros: it then adds exactly nothing in the tick.
        """
        record = np.zeros((), CRITIC_WEIGHTS)
        record[...] = template
        record["layout"], seen = layout_number(), self.inputs
        record["centre"][:seen], record["inverse_scale"][:seen] = self.centre.numpy(), self.inverse_scale.numpy()
        for part, (layer, bias) in enumerate((("first", "first_bias"), ("second", "second_bias"))):
            for nets, net in ((slice(0, 2), self.risk), (slice(2, 3), self.recovery)):
                weight = net.weights[part].detach().numpy()
                record[layer][nets, : weight.shape[1]] = weight
                record[bias][nets] = net.biases[part].detach().numpy()[:, 0]
        record["risk_head"] = self.risk.weights[2].detach().numpy()[..., 0]
        record["risk_bias"] = self.risk.biases[2].detach().numpy()[:, 0, 0]
        record["recovery_head"] = self.recovery.weights[2].detach().numpy()[0]
        record["recovery_bias"] = self.recovery.biases[2].detach().numpy()[0, 0]
        return record

    def load_weights(self, record: NDArray[Any]) -> None:
        """Takes the networks of a () CRITIC_WEIGHTS record, for training them on; the target becomes the same."""

        def tensor(values: Any, *shape: int) -> Tensor:
            return torch.from_numpy(np.array(values, dtype=np.float32)).reshape(shape)

        seen = inputs_of(record)
        if seen != self.inputs:
            raise ValueError(f"expected networks that see {self.inputs} features, got some that see {seen}")
        self.centre = tensor(record["centre"][:seen], -1)
        self.inverse_scale = tensor(record["inverse_scale"][:seen], -1)
        heads = (("risk_head", "risk_bias"), ("recovery_head", "recovery_bias"))
        with torch.no_grad():
            for nets, net, head in zip((slice(0, 2), slice(2, 3)), (self.risk, self.recovery), heads, strict=True):
                names = (("first", "first_bias"), ("second", "second_bias"))
                for part, (layer, bias) in enumerate(names):
                    shape = net.weights[part].shape
                    net.weights[part].copy_(tensor(record[layer][nets, : shape[1]], *shape))
                    net.biases[part].copy_(tensor(record[bias][nets], *net.biases[part].shape))
                net.weights[2].copy_(tensor(record[head[0]], *net.weights[2].shape))
                net.biases[2].copy_(tensor(record[head[1]], *net.biases[2].shape))
        self.target.load_state_dict(self.risk.state_dict())
