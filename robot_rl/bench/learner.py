"""Measures updates of soft actor-critic a second, beside stable-baselines3 and the machine's own matrix product.

Everything is in every update: sampling, both critics, actor, temperature, targets and optimisers. Both sides use 2
critics of 256 x 256 without layer normalisation (as there is none in stable-baselines3), batches of 256, fp32 and one
thread, by turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from data.errors import UserError
from robot_rl.agents.base import AgentSpec, SacAgent
from robot_rl.learning.config import SacConfig
from robot_rl.learning.replay import Replay
from robot_rl.learning.torch_setup import quick_torch

OBS_SIZE, ACTION_SIZE, WIDTH, BATCH = 32, 6, 256, 256


def run(rounds: int = 5, updates: int = 100) -> dict[str, float]:
    """Returns updates_per_s, ratio_sb3, ratio_gemm, bf16_updates_per_s and what they come from.

    Each figure is the median over interleaved `rounds` of `updates` updates.

    Raises:
        UserError: stable-baselines3 is not installed.
    """
    with quick_torch():
        return _measure(rounds, updates)


def _measure(rounds: int, updates: int) -> dict[str, float]:
    plain, normalised, theirs = _ours(False), _ours(True), _stable_baselines()

    def in_bf16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            plain()

    works: dict[str, Callable[[], None]] = {
        "updates_per_s": plain,
        "sb3_updates_per_s": theirs,
        "layer_norm_updates_per_s": normalised,
        "bf16_updates_per_s": in_bf16,
    }
    for work in works.values():
        _rate(work, 10)
    rates: dict[str, list[float]] = {name: [] for name in works}
    gemm: list[float] = []
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(_rate(work, updates))
        gemm.append(_gemm_flop_per_s())
    figures = {name: statistics.median(values) for name, values in rates.items()}
    pairs = zip(rates["updates_per_s"], rates["sb3_updates_per_s"], strict=True)
    figures["ratio_sb3"] = statistics.median(ours / other for ours, other in pairs)
    figures["gemm_gflop_per_s"] = statistics.median(gemm) / 1e9
    figures["update_gflop"] = update_flop() / 1e9
    pairs = zip(rates["updates_per_s"], gemm, strict=True)
    figures["ratio_gemm"] = statistics.median(ours * update_flop() / limit for ours, limit in pairs)
    return figures


def _rate(work: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - start)


def _gemm_flop_per_s(size: int = 1024, count: int = 5) -> float:
    left, right = torch.rand(size, size), torch.rand(size, size)
    product = torch.mm(left, right)

    def work() -> None:
        torch.mm(left, right, out=product)

    return _rate(work, count) * 2.0 * size**3


def update_flop() -> float:
    """Returns the multiplications and additions in the matrix products that one update cannot do without.

    Forward: actor at s' and s, targets, critics at (s, a), critics at (s, actor's a). Backward: critics wrt weights and
    hidden layers; critics wrt the action only; actor wrt weights and hidden layers.
    """
    actor = [(OBS_SIZE, WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * ACTION_SIZE)]
    critic = [(OBS_SIZE + ACTION_SIZE, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)]

    def products(layers: list[tuple[int, int]]) -> float:
        return sum(2.0 * BATCH * inputs * outputs for inputs, outputs in layers)

    def backward(layers: list[tuple[int, int]]) -> float:
        return products(layers) + products(layers[1:])

    through_critic = products(critic[1:]) + products([(ACTION_SIZE, WIDTH)])
    critics = 2.0 * (3.0 * products(critic) + backward(critic) + through_critic)
    return 2.0 * products(actor) + backward(actor) + critics


def _ours(layer_norm: bool) -> Callable[[], None]:
    config = SacConfig(hidden=(WIDTH, WIDTH), batch_size=BATCH, utd=1, n_step=1, layer_norm=layer_norm)
    agent = SacAgent(AgentSpec(OBS_SIZE, ACTION_SIZE), config)
    replay, rng = Replay(4000, OBS_SIZE, ACTION_SIZE), np.random.default_rng(0)
    obs = rng.standard_normal(OBS_SIZE)
    for index in range(3000):
        following = rng.standard_normal(OBS_SIZE)
        replay.add(obs, rng.uniform(-1, 1, ACTION_SIZE), rng.normal(), following, False, index % 100 == 99)
        obs = following
    sampler = agent.make_sampler(replay, None)

    def work() -> None:
        agent.update(sampler)

    return work


def _stable_baselines() -> Callable[[], None]:
    try:
        from stable_baselines3 import SAC
        from stable_baselines3.common.logger import configure
    except ImportError as error:
        cure = "pip install 'robot-rl[bench]'"
        raise UserError(f"the comparison needs stable-baselines3, which is not installed: {cure}") from error
    networks = {"net_arch": [WIDTH, WIDTH]}
    model = SAC("MlpPolicy", _spaces(), policy_kwargs=networks, batch_size=BATCH, buffer_size=4000, device="cpu")
    model.set_logger(configure(None, []))
    rng = np.random.default_rng(0)
    buffer: Any = model.replay_buffer
    for _ in range(3000):
        obs, following = rng.standard_normal((2, 1, OBS_SIZE)).astype(np.float32)
        action = rng.uniform(-1, 1, (1, ACTION_SIZE)).astype(np.float32)
        buffer.add(obs, following, action, rng.normal(size=1).astype(np.float32), np.zeros(1, np.bool_), [{}])

    def work() -> None:
        model.train(gradient_steps=1, batch_size=BATCH)

    return work


def _spaces() -> Any:
    """Returns an environment that has spaces and is never stepped."""
    import gymnasium

    class Spaces(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Box(-10.0, 10.0, (OBS_SIZE,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)

    return Spaces()
