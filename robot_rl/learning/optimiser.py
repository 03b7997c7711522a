"""Adam over one flat vector of parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.learning.states import State, copy_checked


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

    def state(self, prefix: str = "") -> State:
        """Returns copies of both moments and the step count, their names preceded by `prefix`."""
        return {prefix + name: value.numpy().copy() for name, value in self._tensors().items()}

    def load_state(self, state: State, prefix: str = "") -> None:
        """Restores what `state` returned. Raises UserError if an array is missing or has another size."""
        for name, value in self._tensors().items():
            copy_checked(prefix + name, state, value)

    def _tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "square": self.square, "steps": self.steps}
