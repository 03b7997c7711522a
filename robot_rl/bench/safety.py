"""The figures of the safety layers: energy books, walls, the energy gate in ordinary operation, the tick, the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.link import LockstepLink
from controllers.robots.franka_motor import with_drive_reserve
from controllers.robots.mujoco_arm import MujocoArm
from robot_rl.bench.adversary import measure_adversary
from robot_rl.bench.control import measure_tick
from robot_rl.bench.critics import made_up_weights
from robot_rl.bench.env import measure_steps
from robot_rl.bench.pump import measure_pump
from robot_rl.bench.transparency import measure_transparency
from robot_rl.bench.walls import measure_walls
from robot_rl.config_bench import BenchSafetyConfig
from robot_rl.envs.make import chain_of
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.registry import make_task
from safety.reasons import Reason
from safety.risk_critic import RiskCriticConfig

_ADVERSARY_TICKS = 100
"""Ticks of one adversarial run: long enough to empty the tank at full joint speed many times over."""

_TRANSPARENCY_RUNS = 30
"""Runs of 300 ticks each with the ledger and without it."""


def run(config: BenchSafetyConfig) -> dict[str, Any]:
    """Returns all figures. Energies in joules, times in microseconds."""
    return {
        **measure_adversary(config.runs, _ADVERSARY_TICKS, config.seed),
        **measure_pump(),
        **measure_transparency(_TRANSPARENCY_RUNS, config.seed),
        **measure_walls(config.policies, config.seed),
        **measure_gate(config.tasks, config.episodes, config.seed),
        "gate_active_share_fr3": measure_gate(config.tasks, config.episodes, config.seed, with_drive_reserve)[
            "gate_active_share"
        ],
        **measure_ticks(config.ticks),
        **measure_all_layers(config.task, config.seconds, config.seed),
    }


class CountingLink(LockstepLink):
    """A link that counts in how many of its ticks the energy gate scaled the torque, and how many trips latched."""

    ticks = gated = latched = 0

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        """Advances as a lock-step link does."""
        reports = super().step(duration_s, interruptible)
        self.ticks += len(reports)
        self.gated += int(np.count_nonzero(reports["gate_share"] < 1.0))
        self.latched += int(np.count_nonzero(reports["latched"] >= Reason.FORCE_TRIP))
        return reports


def measure_gate(
    tasks: list[str], episodes: int, seed: int, change: Callable[[ChainConfig], ChainConfig] | None = None
) -> dict[str, float]:
    """Returns the share of gated ticks while the scripted operators do their tasks, automatic resets included.

    change: what is done to each task's chain before.
    """
    counts = [_count_gated(name, episodes, seed, change or (lambda chain: chain)) for name in tasks]
    ticks, gated, latched = (sum(column) for column in zip(*counts, strict=True))
    return {"gate_active_share": gated / ticks, "gate_ticks": ticks, "latched_ticks": latched}


def _count_gated(
    name: str, episodes: int, seed: int, change: Callable[[ChainConfig], ChainConfig]
) -> tuple[int, int, int]:
    task, arm = make_task(name), fr3()
    world = MujocoArm(arm, task.scene(), seed=seed)
    link = CountingLink(world, ArmModel(arm, task.scene().tool), change(task.chain_config()))
    env, operator = RobotEnv(task, link, world=world), task.operator(np.random.default_rng(seed))
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        operator.reset()
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(operator.act(observation, task.action.size))
            over = terminated or truncated
    env.close()
    return link.ticks, link.gated, link.latched


def measure_ticks(ticks: int) -> dict[str, float]:
    """Returns the time of the tick with every layer and a critic of the real size, and the critic's share of it."""
    whole = measure_tick(ticks, made_up_weights(RiskCriticConfig()))
    without = measure_tick(ticks)
    figures = {name: value for name, value in whole.items() if name.startswith("tick_p")}
    return {**figures, "critic_p50_us": whole["tick_p50_us"] - without["tick_p50_us"]}


def measure_all_layers(task: str, seconds: float, seed: int) -> dict[str, Any]:
    """Returns environment steps a second with every layer on."""
    critic = made_up_weights(chain_of(make_task(task)).critic)
    figures = measure_steps(seconds, task, "default", seed, "mujoco", False, critic)
    return {
        "all_layers_steps_per_s": figures["steps_per_s"],
        "all_layers_success_rate": figures["success_rate"],
        "all_layers_task": task,
    }
