"""Trains a diffusion policy on demonstrations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor

from data.errors import UserError
from data.normalisation import Normaliser
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.policies.diffusion import DiffusionConfig, DiffusionPolicy, make_scheduler, state_size

F32 = NDArray[np.float32]
Progress = Callable[[int, float], None]


@quick_torch()
def pretrain(
    observations: Sequence[F32], actions: Sequence[F32], config: DiffusionConfig, rng: np.random.Generator,
    progress: Progress | None = None, action_names: tuple[str, ...] | None = None, obs_keys: tuple[str, ...] = (),
) -> DiffusionPolicy:  # fmt: skip
    """Returns a policy that imitates the demonstrations.

    loss = mean |target - denoiser(features(s), sqrt(abar_t) chunk + sqrt(1 - abar_t) noise, t)|^2, where the target is
    the noise, the chunk, or sqrt(abar_t) noise - sqrt(1 - abar_t) chunk; the result holds the average of the weights.

    Args:
        observations: per demonstration (T_i, n_obs) or more rows; the first T_i are used.
        actions: per demonstration (T_i, A) in [-1, 1]. Chunks that reach beyond the end repeat the last action.
        config: settings.
        rng: source of initial weights, batches and noise.
        progress: called with (step, loss) every 100 steps and at the end.
        action_names, obs_keys: kept with the weights.

    Raises:
        UserError: there is no demonstration, shapes do not agree, or a number is not finite.
    """
    obs, chunks, single = _gather(observations, actions, config.horizon)
    names = action_names or tuple(f"action{index}" for index in range(single.shape[1]))
    size = state_size(obs.shape[1], config.image_shape)
    obs_normaliser = Normaliser.fit(obs[:, :size], "gaussian")
    action_normaliser = Normaliser.fit(single, "limits")
    seed = int(rng.integers(1 << 31))
    policy = DiffusionPolicy(config, obs.shape[1], names, obs_normaliser, action_normaliser, seed, obs_keys)
    inputs = policy.normalised(obs)
    flat = action_normaliser.apply(chunks.reshape(-1, single.shape[1])).reshape(len(chunks), -1)
    _train(policy, inputs, torch.from_numpy(flat.astype(np.float32)), rng, progress)
    return policy


def _train(
    policy: DiffusionPolicy, inputs: Tensor, targets: Tensor, rng: np.random.Generator, progress: Progress | None
) -> None:
    config = policy.config
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    noising = DDPMScheduler.from_config(make_scheduler(config).config)  # type: ignore[no-untyped-call]
    modules = policy.modules().train()
    parameters = list(modules.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=config.rate, weight_decay=config.weight_decay, fused=True)
    for step in range(config.steps):
        rows = torch.randint(len(inputs), (config.batch_size,), generator=generator)
        noise = torch.randn((config.batch_size, targets.shape[1]), generator=generator)
        times = torch.randint(config.train_times, (config.batch_size,), generator=generator)
        noisy = noising.add_noise(targets[rows], noise, times)
        if config.prediction == "v_prediction":
            wanted = noising.get_velocity(targets[rows], noise, times)
        else:
            wanted = noise if config.prediction == "epsilon" else targets[rows]
        loss = torch.nn.functional.mse_loss(policy.denoiser(policy.encoder(inputs[rows]), noisy, times), wanted)
        optimiser.param_groups[0]["lr"] = 0.5 * config.rate * (1.0 + math.cos(math.pi * step / config.steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        keep = min(config.ema, (1.0 + step) / (10.0 + step))  # a short memory at first, when weights still move far
        torch._foreach_lerp_(average, [parameter.detach() for parameter in parameters], 1.0 - keep)
        if progress is not None and (step % 100 == 99 or step == config.steps - 1):
            progress(step + 1, float(loss.detach()))
    for parameter, value in zip(parameters, average, strict=True):
        parameter.data.copy_(value)
    modules.eval()


def _gather(observations: Sequence[F32], actions: Sequence[F32], horizon: int) -> tuple[F32, F32, F32]:
    """Returns observations (N, n_obs), chunks (N, horizon, A) and actions (N, A) of all demonstrations."""
    if not actions or len(observations) != len(actions) or min(len(part) for part in actions) == 0:
        counts = f"{len(observations)} observation and {len(actions)} action arrays"
        raise UserError(f"pretraining needs demonstrations with at least one step each, got {counts}")
    obs, chunks = [], []
    for index, (seen, done) in enumerate(zip(observations, actions, strict=True)):
        if seen.ndim != 2 or done.ndim != 2 or len(seen) < len(done):
            shapes = f"{seen.shape} and {done.shape}"
            raise UserError(f"demonstration {index}: expected shapes (T, n_obs) and (T, A), got {shapes}")
        if not (np.isfinite(seen).all() and np.isfinite(done).all()):
            raise UserError(f"demonstration {index} has numbers that are not finite: run `robot-rl data verify`")
        steps = np.arange(len(done))
        obs.append(np.asarray(seen[: len(done)], np.float32))
        chunks.append(done[np.minimum(steps[:, None] + np.arange(horizon), len(done) - 1)].astype(np.float32))
    widths = {(a.shape[1], c.shape[2]) for a, c in zip(obs, chunks, strict=True)}
    if len(widths) != 1:
        raise UserError(f"demonstrations differ in their (observation, action) widths: {sorted(widths)}")
    return np.concatenate(obs), np.concatenate(chunks), np.concatenate([chunk[:, 0] for chunk in chunks])
