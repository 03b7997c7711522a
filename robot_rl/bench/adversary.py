"""The worst that can happen to the energy ledger: joints that move at full speed along whatever torque is applied.

No physics: an adversary is not bound to it. It moves every joint as far as its drive lets it in a tick, in the
direction of the torque, so that each tick delivers the most energy that this torque can; commands of poses,
stiffnesses and feed-forward wrenches come at random, some not usable; the drive is late or loses packets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.types import COMMAND, REPORT, STATE
from robot_rl.metrics import progress
from safety.ledger import LedgerConfig
from safety.reference_limiter import ReferenceLimiterConfig
from safety.watch import WatchConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AdversaryResult:
    """The books of one run."""

    identity_error_j: float
    """|sum of W - (E_0 + granted - lost - E)|, W summed by the adversary itself, E = T + V."""
    over_budget_j: float
    """Energy delivered beyond E_0 + granted; positive means the bound was broken."""
    delivered_j: float
    gate_share: float
    """Share of ticks in which the energy gate scaled the torque."""


def adversary_chain(tank_start_j: float = 0.5, delay_ticks: int = 0, repeat_ticks: int = 0) -> ChainConfig:
    """Every limit but the ledger's as wide as it goes, so that only the ledger stands in the way."""
    return ChainConfig(
        limiter=ReferenceLimiterConfig(
            box_min_base_m=(-2.0,) * 3,
            box_max_base_m=(2.0,) * 3,
            max_speed_m_s=10.0,
            max_acceleration_m_s2=1e4,
            stiffness_max=(3000.0,) * 3 + (100.0,) * 3,
            stiffness_slew_per_s=(1e6,) * 6,
        ),
        ledger=LedgerConfig(
            tank_start_j=tank_start_j, tank_max_j=1.0, delay_ticks=delay_ticks, repeat_ticks=repeat_ticks
        ),
        watch=WatchConfig(enabled=False),  # it would stop joints at full speed, and there would be nothing to see
    )


class Adversary:
    """One arm whose joints the adversary moves."""

    def __init__(self) -> None:
        self._arm = fr3()
        self._model, self._terms = ArmModel(self._arm, square_peg_tool()), ModelTerms()
        self._reach_rad = self._arm.max_velocity_rad_s * 1e-3

    def run(self, rng: np.random.Generator, config: ChainConfig, ticks: int, blind: bool = False) -> AdversaryResult:
        """Runs `ticks` ticks. The torque takes effect config.ledger.delay_ticks late; packets are lost in bursts of at
        most config.ledger.repeat_ticks ticks, in which the last torque that arrived goes on acting. blind: now and
        then the joints cannot be read for up to 15 ticks, and an arm that is latched then is seeded anew.
        """
        chain, late = Chain(config, self._arm), [np.zeros(7)] * config.ledger.delay_ticks
        state, command, report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
        home = self._arm.home_rad + rng.uniform(-0.3, 0.3, 7)
        state["q_rad"], command["sequence"] = home, -1
        q, qd = home.copy(), state["qd_rad_s"][0]
        self._model.terms(q, qd, self._terms)
        chain.reseed(state, self._terms)
        ledger = chain.record["ledger"][0]
        begin_j, lost_j = float(ledger["tank_j"] + ledger["spring_j"]), float(ledger["lost_j"])
        granted_j, work_j, gated, lost_packets = float(ledger["granted_j"]), 0.0, 0, 0
        applied, along = np.zeros(7), rng.uniform(0.6, 1.0)
        worst_j, worst_identity_j, blind_ticks = 0.0, 0.0, 0
        for tick in range(ticks):
            if tick % 5 == 0:
                self._wish(rng, command, state, tick)
            state["stamp_ns"] += 1_000_000
            state["wrench_tool"] = rng.normal(size=6)
            state["q_rad"], blind_ticks = q, self._blind(rng, blind_ticks) if blind else 0
            if blind_ticks > 0:
                state["q_rad"][0, rng.integers(7)] = np.nan
            self.disturb(rng, state)
            self._model.terms(state["q_rad"][0], qd, self._terms)
            if blind and blind_ticks == 0 and chain.latched:
                chain.reseed(state, self._terms)
            chain.tick(state, self._terms, command, report)
            delivered = begin_j + (ledger["granted_j"] - granted_j) - (ledger["lost_j"] - lost_j)
            delivered -= ledger["tank_j"] + ledger["spring_j"]
            if not blind:  # else some of the work is written off at its most, and the books need not agree
                worst_identity_j = max(worst_identity_j, abs(work_j - delivered))
            gated += int(report["gate_share"][0] < 1.0)
            late.append(report["tau_executed_nm"][0].copy())
            arrived = late.pop(0)
            if lost_packets > 0:
                lost_packets -= 1
            else:
                applied = arrived
                if rng.random() < 0.1:
                    lost_packets = int(rng.integers(0, config.ledger.repeat_ticks + 1))
            step = np.sign(applied) * self._reach_rad * (1.0 if rng.random() < along else rng.uniform(-1.0, 1.0, 7))
            before = q.copy()
            q += step
            work_j += float(applied @ (q - before))
            qd[:] = step * 1e3
            state["tau_applied_nm"] = applied
            worst_j = max(worst_j, work_j - begin_j - float(ledger["granted_j"] - granted_j))
        if not np.isfinite(work_j):  # a torque that is no number
            worst_j = np.inf
        return AdversaryResult(worst_identity_j, worst_j, work_j, gated / ticks)

    def _blind(self, rng: np.random.Generator, ticks_left: int) -> int:
        if ticks_left > 0:
            return ticks_left - 1
        return int(rng.integers(1, 16)) if rng.random() < 0.05 else 0

    def disturb(self, rng: np.random.Generator, state: Any) -> None:
        """Spoils a reading before the tick sees it; here: one wrench in 500 is no number."""
        if rng.random() < 0.002:
            state["wrench_tool"][0, 0] = np.nan

    def _wish(self, rng: np.random.Generator, command: Any, state: Any, tick: int) -> None:
        """A new command: mostly a usable one, far away and stiff; sometimes one that must be refused."""
        command["sequence"] += 1
        command["stamp_ns"] = state["stamp_ns"] + 1_000_000
        command["position_base_m"] = self._terms.position_base_m + rng.uniform(-0.1, 0.1, 3)
        command["quaternion_base_xyzw"] = (1.0, 0.0, 0.0, 0.0)
        command["stiffness"] = rng.choice([0.0, 1.0], 6) * rng.uniform(0.0, [3000.0] * 3 + [100.0] * 3)
        command["feedforward_wrench_base"] = rng.uniform(-1.0, 1.0, 6) * ([20.0] * 3 + [2.0] * 3)
        command["damping_ratio"], command["duration_s"], command["gripper_m"] = 0.1, 0.1, np.nan
        if rng.random() < 0.1:
            name = rng.choice(["position_base_m", "stiffness", "feedforward_wrench_base"])
            command[name][0, 0] = rng.choice([np.nan, np.inf, -np.inf, 1e9])


def measure_adversary(runs: int, ticks: int, seed: int = 0) -> dict[str, float]:
    """Returns identity error and broken bounds over `runs` runs: delays of 0, 1, 2 ticks in turn, every tenth run with
    lost packets, another with joints that cannot be read for a while.
    """
    adversary, errors, broken, gated, tightest = Adversary(), 0.0, 0, 0.0, -np.inf
    with progress(runs, "adversaries", unit="run") as bar:
        for run in range(runs):
            rng = np.random.default_rng([seed, run])
            config = adversary_chain(float(rng.uniform(0.06, 1.0)), run % 3, 20 if run % 10 == 9 else 0)
            result = adversary.run(rng, config, ticks, blind=run % 10 == 7)
            errors = max(errors, result.identity_error_j)
            broken += int(result.over_budget_j > 1e-9)
            tightest = max(tightest, result.over_budget_j)
            gated += result.gate_share / runs
            bar.update()
    return {
        "ledger_identity_error_j": errors,
        "adversary_runs": runs,
        "adversary_bound_violations": broken,
        "adversary_over_budget_j": tightest,
        "adversary_gate_share": gated,
    }


def without_ledger(config: ChainConfig) -> ChainConfig:
    """The same chain that keeps books but limits nothing."""
    return replace(config, ledger=replace(config.ledger, mode="observe"))
