"""Episodes that measure what the safety layers are worth: violations, success, reflexes and energy of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from controllers.types import Source
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.training.evaluation import Acting
from robot_rl.training.recording import Operator
from robot_rl.training.workplace import ArmWorkplace

_ROUNDING_J = 1e-9
"""Error that the ledger's sums may have."""


@dataclass
class Trial:
    """What happened in one episode."""

    seed: int
    success: bool = False
    violation: bool = False
    held: bool = False
    """The chain latched, which ended the episode."""
    decisions: int = 0
    seconds: float = 0.0
    peak_force_n: float = 0.0
    interventions: int = 0
    """Decisions that a reflex or hold took away from the policy before their end."""
    recovery_s: float = 0.0
    """Time in which the recovery acted."""
    energy_j: float = 0.0
    """Energy that left the tank."""
    lowest_energy_j: float = math.inf
    """In tank and spring together, at the lowest tick of all; infinite where no ledger runs."""
    limited: int = 0
    """Decisions in which the ledger granted less than everything."""

    @property
    def energy_violation(self) -> bool:
        """More energy was delivered than the tank held at the start, at some tick: tank and spring fell below zero."""
        return self.lowest_energy_j < -_ROUNDING_J

    def add(self, info: dict[str, Any], decision_s: float) -> None:
        """Counts one step of RobotEnv."""
        duration_s = float(info.get("duration_s", decision_s))
        self.decisions += 1
        self.seconds += duration_s
        self.violation |= bool(info.get("violation", False))
        self.held |= bool(info["held"])
        self.peak_force_n = max(self.peak_force_n, float(info["peak_force_n"]))
        self.interventions += int(info.get("interrupted", False))
        if info.get("source", Source.POLICY) == Source.RECOVERY:
            self.recovery_s += duration_s
        self.energy_j += float(info.get("energy_spent_j", 0.0))
        if not math.isnan(info["lowest_energy_j"]):
            self.lowest_energy_j = min(self.lowest_energy_j, float(info["lowest_energy_j"]))
        self.limited += int(info["granted"] < 1.0)


def try_operator(env: RobotEnv, operator: Operator, seed: int) -> Trial:
    """Returns what happened in the episode of this seed with a scripted operator."""
    observation, _ = env.reset(seed=seed)
    operator.reset()
    env.source, trial = Source.SCRIPTED, Trial(seed)
    while True:
        observation, _, terminated, truncated, info = env.step(operator.act(observation, env.task.action.size))
        trial.add(info, 1.0 / env.task.rate_hz)
        if terminated or truncated:
            trial.success = bool(info["success"])
            return trial


def try_agent(workplace: ArmWorkplace, agent: Acting, seed: int) -> Trial:
    """Returns what happened in the episode of this seed with a trained agent, acting deterministically."""
    rng = np.random.default_rng([seed, 11])
    obs, _ = workplace.reset(seed)
    agent.begin_episode()
    trial = Trial(seed)
    while True:
        proposal = agent.act(obs, agent.prepare(obs, rng), True)
        outcome = workplace.step(proposal.action, proposal.source)
        trial.add(outcome.info, 1.0 / workplace.env.task.rate_hz)
        obs = outcome.obs
        if outcome.terminated or outcome.truncated:
            trial.success = outcome.success
            return trial
