from __future__ import annotations

import numpy as np
import torch

from robot_rl.learning.torch_setup import flushes_denormals, quick_torch

DENORMAL = np.float64(1e-310)


def test_denormals_are_flushed_and_one_thread_is_used_only_while_it_lasts() -> None:
    torch.set_num_threads(2)
    assert not flushes_denormals()
    with quick_torch():
        assert torch.get_num_threads() == 1
        assert flushes_denormals() and DENORMAL * 1.0 == 0.0
        with quick_torch():
            pass
        assert flushes_denormals()  # an inner one ends as it found things
    assert torch.get_num_threads() == 2
    assert not flushes_denormals() and DENORMAL * 1.0 != 0.0


def test_an_error_restores_them_too() -> None:
    @quick_torch()
    def fails() -> None:
        raise ValueError

    try:
        fails()
    except ValueError:
        assert not flushes_denormals()
