"""Saved states as plain arrays, checked when they are taken up again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.errors import UserError

State = dict[str, NDArray[Any]]


def array_of(name: str, state: State, size: int) -> NDArray[Any]:
    """Returns state[name]; raises UserError, telling what was expected, if it is missing or has not `size` numbers."""
    if name not in state:
        wanted = f"expected one of {size} numbers"
        raise UserError(f"weights have no array {name!r}: {wanted}; were they saved by another agent?")
    array = np.asarray(state[name])
    if array.size != size:
        raise UserError(
            f"weights {name!r} have {array.size} numbers, this agent needs {size}: "
            "use the observation, action and hidden sizes that they were trained with"
        )
    return array


def copy_checked(name: str, state: State, tensor: Tensor) -> None:
    """Copies state[name] into `tensor`; raises UserError if it is missing or has another size."""
    tensor.copy_(torch.from_numpy(np.array(array_of(name, state, tensor.numel()))).view_as(tensor))


def number_of(name: str, state: State) -> int:
    """Returns the one number of state[name]; raises UserError if it is missing or there are more."""
    return int(array_of(name, state, 1).reshape(-1)[0])


def pack_rng(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Returns the state of a PCG64 generator as 6 numbers."""
    state = rng.bit_generator.state
    inner, low = state["state"], (1 << 64) - 1
    numbers = [inner["state"] >> 64, inner["state"] & low, inner["inc"] >> 64, inner["inc"] & low]
    return np.array([*numbers, state["has_uint32"], state["uinteger"]], np.uint64)


def unpack_rng(name: str, state: State, rng: np.random.Generator) -> None:
    """Restores what `pack_rng` returned, from state[name]; raises UserError if it is missing or has another size."""
    a, b, c, d, has, value = (int(number) for number in array_of(name, state, 6).reshape(-1))
    inner = {"state": (a << 64) | b, "inc": (c << 64) | d}
    rng.bit_generator.state = {"bit_generator": "PCG64", "state": inner, "has_uint32": has, "uinteger": value}
