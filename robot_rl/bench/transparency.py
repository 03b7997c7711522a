"""What the energy ledger changes while there is energy: nothing. The same commands with it and without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.types import COMMAND, REPORT, STATE
from safety.ledger import LedgerConfig
from safety.reference_limiter import ReferenceLimiterConfig
from safety.watch import WatchConfig

Array = NDArray[np.float64]

_COMMANDS, _TICKS_EACH = 30, 10
_WIDE = ReferenceLimiterConfig(box_min_base_m=(-2.0,) * 3, box_max_base_m=(2.0,) * 3, cone_angle_rad=3.0)


def measure_transparency(runs: int, seed: int = 0) -> dict[str, float]:
    """Returns the largest difference of a torque with a full tank to the one without ledger, over all ticks [Nm]."""
    off = ChainConfig(limiter=_WIDE, watch=WatchConfig(enabled=False), ledger=LedgerConfig(mode="off"))
    full = replace(off, ledger=LedgerConfig(tank_start_j=10.0, tank_max_j=10.0))
    worst_nm = 0.0
    for run in range(runs):
        filtered, unfiltered = (torques(config, np.random.default_rng([seed, run])) for config in (full, off))
        worst_nm = max(worst_nm, float(np.abs(filtered - unfiltered).max()))
    return {"transparency_ticks": runs * _COMMANDS * _TICKS_EACH, "transparency_error_nm": worst_nm}


def torques(config: ChainConfig, rng: np.random.Generator) -> Array:
    """Torques (ticks, 7) [Nm] of random commands to an arm that wanders about."""
    arm, terms = fr3(), ModelTerms()
    model, chain = ArmModel(arm, square_peg_tool()), Chain(config, arm)
    state, command, report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
    state["q_rad"] = arm.home_rad
    command["sequence"] = -1
    model.terms(state["q_rad"][0], state["qd_rad_s"][0], terms)
    chain.reseed(state, terms)
    taus = []
    for _ in range(_COMMANDS):
        command["sequence"] += 1
        command["stamp_ns"], command["duration_s"], command["gripper_m"] = state["stamp_ns"], 0.1, np.nan
        command["position_base_m"] = terms.position_base_m + rng.uniform(-0.05, 0.05, 3)
        command["quaternion_base_xyzw"], command["damping_ratio"] = (1.0, 0.0, 0.0, 0.0), 0.9
        command["stiffness"] = rng.uniform(0.1, 1.0, 6) * ([1000.0] * 3 + [60.0] * 3)
        command["feedforward_wrench_base"] = rng.uniform(-0.3, 0.3, 6)
        for _ in range(_TICKS_EACH):
            state["stamp_ns"] += 1_000_000
            state["q_rad"] += rng.normal(size=7) * 1e-4
            state["qd_rad_s"] = rng.normal(size=7) * 0.05
            state["wrench_tool"] = rng.normal(size=6)
            state["tau_applied_nm"] = report["tau_executed_nm"]
            model.terms(state["q_rad"][0], state["qd_rad_s"][0], terms)
            chain.tick(state, terms, command, report)
            taus.append(report["tau_executed_nm"][0].copy())
    return np.array(taus)
