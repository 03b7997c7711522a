"""Episodes for measuring: fixed seeds, nothing learned, everything that the report needs of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.types import SOURCE_NAMES
from robot_rl.report.statistics import wilson_interval
from robot_rl.training.decision import decision_of
from robot_rl.training.safety_counts import SafetyCounts, safety_summary
from robot_rl.training.takeover import Takeover, takeover_summary
from robot_rl.training.workplace import F32, Workplace


class Acting(Protocol):
    """What an evaluation needs of an agent or a policy."""

    def begin_episode(self) -> None:
        """Forgets the former episode."""

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        """What is computed once per observation."""

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Any:
        """Returns a Proposal."""


@dataclass
class EpisodeRecord:
    """Figures of one episode; `path_q_rad` (T + 1, 7) is kept only where asked, for pictures."""

    seed: int
    success: bool = False
    end: str = ""
    """success | violation | terminated | latched | timeout; in training also cut | marked."""
    length: int = 0
    ret: float = 0.0
    robot_s: float = 0.0
    reset_s: float = 0.0
    reset_attempts: int = 0
    reset_kind: str = ""
    peak_force_n: float = 0.0
    mean_force_n: float = 0.0
    source_share: dict[str, float] = field(default_factory=dict)
    limited_share: float = 0.0
    """Share of decisions whose executed action differed from the proposed one by more than 2 %."""
    energy_j: float | None = None
    """Energy spent [J]; None where the environment does not tell."""
    interrupted: int = 0
    """Decisions that a reflex or a hold took away before their end."""
    safety: SafetyCounts | None = None
    """What the safety layers did; None where the environment does not tell."""
    takeovers: int | None = None
    """How often a person took over from the policy; None where nobody could."""
    human_share: float | None = None
    """Share of the decisions in which the person had the arm; None where nobody could."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `ret` under the name `return`, the figures of `safety` among the others where there are any."""
        values = asdict(self)
        values["return"] = values.pop("ret")
        safety = values.pop("safety")
        if self.takeovers is None:
            del values["takeovers"], values["human_share"]
        return values if safety is None else {**values, **safety}


class EpisodeMeter:
    """Adds up an episode's figures step by step."""

    def __init__(self, seed: int, reset_info: Mapping[str, Any], rate_hz: float | None) -> None:
        self.record = EpisodeRecord(
            seed=seed,
            reset_s=float(reset_info.get("reset_s", 0.0)),
            reset_attempts=int(reset_info.get("reset_attempts", 0)),
            reset_kind=str(reset_info.get("reset_kind", "")),
        )
        self._rate_hz = rate_hz
        self._sources: dict[int, int] = {}
        self._steps = 0.0
        self._forces_n: list[float] = []
        self._limited = 0

    def add(self, outcome: Any, proposed: F32, source: int) -> None:
        """Counts one step."""
        record = self.record
        record.length += 1
        record.ret += outcome.reward
        record.success = record.success or outcome.success
        record.peak_force_n = max(record.peak_force_n, float(outcome.info.get("peak_force_n", 0.0)))
        self._forces_n.append(float(outcome.info.get("force_n", 0.0)))
        decision = decision_of(outcome.info, self._rate_hz, source)
        self._sources[decision.source] = self._sources.get(decision.source, 0) + 1
        self._steps += decision.steps
        record.interrupted += decision.interrupted
        if decision.energy_j is not None:
            record.energy_j = (record.energy_j or 0.0) + decision.energy_j
        if "violation" in outcome.info:
            record.safety = record.safety or SafetyCounts()
            record.safety.add(outcome.info)
        self._limited += int(np.abs(outcome.executed - np.clip(proposed, -1.0, 1.0)).max() > 0.02)
        if outcome.terminated or outcome.truncated:
            record.end = end_of(outcome)

    def finish(self) -> EpisodeRecord:
        """Returns the episode's figures."""
        record = self.record
        count = max(1, record.length)
        record.robot_s = self._steps / self._rate_hz if self._rate_hz else 0.0
        record.mean_force_n = float(np.mean(self._forces_n)) if self._forces_n else 0.0
        record.source_share = {
            SOURCE_NAMES.get(key, str(key)): value / count for key, value in sorted(self._sources.items())
        }
        record.limited_share = self._limited / count
        return record


def end_of(outcome: Any) -> str:
    """Returns what ended an episode, told by the Outcome of its last step."""
    if outcome.success:
        return "success"
    if outcome.terminated:
        return "violation" if outcome.info.get("violation") else "terminated"
    return "latched" if outcome.info.get("held") else "timeout"


def evaluate(
    agent: Acting,
    workplace: Workplace,
    seeds: Iterable[int],
    deterministic: bool = True,
    on_episode: Callable[[EpisodeRecord], None] | None = None,
    paths: dict[int, NDArray[np.float64]] | None = None,
    takeover: Takeover | None = None,
) -> list[EpisodeRecord]:
    """Runs one episode a seed. A deterministic evaluation draws none of the random numbers that training would draw.

    on_episode is called after each; an exception of its own ends the evaluation. paths, if given, receives each
    episode's joint angles {seed: (T + 1, 7)}, for pictures. takeover: who may take the arm from the policy.
    """
    records, hands = [], takeover or Takeover()
    for seed in seeds:
        rng = np.random.default_rng([seed, 11])  # a base policy's noise belongs to the episode, not to the training run
        obs, info = workplace.reset(seed)
        agent.begin_episode()
        hands.begin(seed)
        meter = EpisodeMeter(seed, info, workplace.rate_hz)
        path = [info.get("q_rad")]
        while True:
            proposal = hands.propose(agent, obs, agent.prepare(obs, rng), deterministic)
            outcome = hands.look(workplace.step(proposal.action, proposal.source), agent)
            meter.add(outcome, proposal.action, proposal.source)
            path.append(outcome.info.get("q_rad"))
            obs = outcome.obs
            if outcome.terminated or outcome.truncated:
                break
        hands.tell(meter.record)
        records.append(meter.finish())
        if paths is not None and path[0] is not None:
            paths[seed] = np.array(path)
        if on_episode is not None:
            on_episode(records[-1])
    return records


def summary_of(records: list[EpisodeRecord], step: int, deterministic: bool, started: float) -> dict[str, Any]:
    """Returns the metrics record of an evaluation (kind "eval"); energy and safety where the environment tells them."""
    energies_j = [record.energy_j for record in records if record.energy_j is not None]
    energy = {"mean_energy_j": float(np.mean(energies_j))} if energies_j else {}
    successes = sum(record.success for record in records)
    low, high = wilson_interval(successes, len(records))
    return {
        "kind": "eval",
        "step": step,
        "deterministic": deterministic,
        "success_rate": successes / max(1, len(records)),
        "low": low,
        "high": high,
        "mean_return": float(np.mean([record.ret for record in records])),
        "mean_length": float(np.mean([record.length for record in records])),
        **energy,
        **takeover_summary(records),
        **safety_summary([record.safety for record in records], successes),
        "eval_wall_s": time.monotonic() - started,
        "episodes": [record.as_dict() for record in records],
    }
