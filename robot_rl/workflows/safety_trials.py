"""Episodes that measure what the safety layers are worth: violations, success, reflexes and energy of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controllers.types import Source
from data.atomic import write_atomic
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.report.statistics import bootstrap_interval, wilson_interval
from robot_rl.training.evaluation import Acting
from robot_rl.training.recording import Operator
from robot_rl.training.workplace import ArmWorkplace

_SAVE_EVERY = 10
"""Episodes between two savings of a cell: what an interruption may cost."""


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
    lowest_tank_j: float = math.inf
    limited: int = 0
    """Decisions in which the ledger granted less than everything."""

    @property
    def energy_violation(self) -> bool:
        """More energy was delivered than the episode's budget held."""
        return self.lowest_tank_j < 0.0

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
        if not math.isnan(info["tank_energy_j"]):
            self.lowest_tank_j = min(self.lowest_tank_j, float(info["tank_energy_j"]))
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


def run_trials(path: Path, seeds: Iterable[int], attempt: Callable[[int], Trial]) -> list[Trial]:
    """Returns the trials of these seeds, those in the file first; what is new is saved every few episodes."""
    rows = json.loads(path.read_text())["trials"] if path.is_file() else []
    trials = {row["seed"]: Trial(**{**row, "lowest_tank_j": _number(row["lowest_tank_j"])}) for row in rows}
    missing = [seed for seed in seeds if seed not in trials]
    for count, seed in enumerate(missing, 1):
        trials[seed] = attempt(seed)
        if count % _SAVE_EVERY == 0 or count == len(missing):
            plain = [{**asdict(trial), "lowest_tank_j": _text(trial.lowest_tank_j)} for trial in trials.values()]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps({"trials": plain}, indent=0))
    return [trials[seed] for seed in seeds]


def _text(value: float) -> float | None:
    return None if math.isinf(value) else value


def _number(value: float | None) -> float:
    return math.inf if value is None else float(value)


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Rates with their 95 % intervals (Wilson), means with bootstrap intervals."""
    count, rng = len(trials), np.random.default_rng(0)

    def rate(flags: list[bool]) -> list[float]:
        return [sum(flags) / max(count, 1), *wilson_interval(sum(flags), count)]

    def mean(values: list[float]) -> list[float]:
        return [float(np.mean(values)), *bootstrap_interval(values, rng)]

    successes, violations = sum(trial.success for trial in trials), sum(trial.violation for trial in trials)
    return {
        "episodes": count,
        "success": rate([trial.success for trial in trials]),
        "violation": rate([trial.violation for trial in trials]),
        "energy_violation": rate([trial.energy_violation for trial in trials]),
        "held": rate([trial.held for trial in trials]),
        "energy_j": mean([trial.energy_j for trial in trials]),
        "peak_force_n": mean([trial.peak_force_n for trial in trials]),
        "interventions": mean([float(trial.interventions) for trial in trials]),
        "recovery_s": mean([trial.recovery_s for trial in trials]),
        "seconds": mean([trial.seconds for trial in trials]),
        "successes_per_violation": successes / (violations + 1),
    }
