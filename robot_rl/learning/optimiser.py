"""Adam over one flat vector of parameters."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba, 2015) on a flat parameter vector (P,), by PyTorch's fused kernel.

    torch.optim.Adam(fused=True) calls the same kernel after much bookkeeping; a test holds both equal.
    """

    def __init__(
        self, parameters: Tensor, rate: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.parameters, self.rate, self.betas, self.eps = parameters, rate, betas, eps
        self.mean = torch.zeros_like(parameters)
        self.square = torch.zeros_like(parameters)
        self.steps = torch.zeros(())

    def step(self, grad: Tensor) -> None:
        """Moves the parameters in place against `grad` (P,)."""
        self.steps += 1
        torch._fused_adam_(
            [self.parameters], [grad], [self.mean], [self.square], [], [self.steps],
            lr=self.rate, beta1=self.betas[0], beta2=self.betas[1], weight_decay=0.0, eps=self.eps,
            amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Returns copies of both moments and the step count."""
        parts = {"mean": self.mean, "square": self.square, "steps": self.steps}
        return {name: value.numpy().copy() for name, value in parts.items()}

    def load_state(self, state: dict[str, NDArray[np.float32]]) -> None:
        """Restores what `state` returned."""
        for name, value in (("mean", self.mean), ("square", self.square), ("steps", self.steps)):
            value.copy_(torch.from_numpy(np.array(state[name])).view_as(value))
