"""Measures what the safety critic adds to a tick: features, three networks, training box."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, ModelTerms
from controllers.assessment import assess
from controllers.chain import Chain, ChainConfig, kernel_terms
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.types import STATE
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.risk_critic import RiskCriticConfig
from safety.risk_weights import CRITIC_WEIGHTS, layout_number


@kernel
def assess_entry(terms: Floats, state: Record, config: Record, chain: Record) -> None:
    """`assess` on arrays of one record each."""
    assess(state[0], terms[0], so3.from_matrix(terms[1]), config[0], chain[0])


def measure_critic(ticks: int = 50_000) -> dict[str, float]:
    """Returns critic_p50_us, critic_p99_us and critic_p999_us of single calls, 1.5 us of dispatch from Python included.

    The time does not depend on what the weights say.
    """
    arm, model, terms = fr3(), ArmModel(fr3(), square_peg_tool()), ModelTerms()
    chain, state = Chain(ChainConfig(), arm), np.zeros(1, STATE)
    chain.adopt_critic(any_weights(chain.config.critic))
    state["q_rad"] = arm.home_rad
    model.terms(state["q_rad"][0], state["qd_rad_s"][0], terms)
    chain.reseed(state, terms)
    arguments = (kernel_terms(terms), state, chain.config_record, chain.record)
    rng = np.random.default_rng(0)
    wrenches, times_ns = rng.normal(size=(ticks, 6)), np.zeros(ticks)
    assess_entry(*arguments)
    for tick in range(ticks):
        state["wrench_tool"] = wrenches[tick]
        began_ns = time.perf_counter_ns()
        assess_entry(*arguments)
        times_ns[tick] = time.perf_counter_ns() - began_ns
    p50, p99, p999 = np.quantile(times_ns, [0.5, 0.99, 0.999]) / 1e3
    return {"critic_p50_us": float(p50), "critic_p99_us": float(p99), "critic_p999_us": float(p999)}


def any_weights(limits: RiskCriticConfig) -> NDArray[Any]:
    """Returns weights that a motor takes, of a critic that knows nothing: a () CRITIC_WEIGHTS record."""
    rng, weights = np.random.default_rng(0), np.zeros((), CRITIC_WEIGHTS)
    for name in ("first", "second", "risk_head", "recovery_head"):
        weights[name] = 0.2 * rng.normal(size=weights[name].shape)
    weights["layout"], weights["version"], weights["has_recovery"] = layout_number(), 1, 1
    for name in ("max_force_n", "max_moment_nm", "lookahead_s"):
        weights[name] = getattr(limits, name)
    weights["surface"] = limits.surface or 0.0
    weights["discount"], weights["inverse_scale"] = 1e-4, 1.0
    weights["box_low"], weights["box_high"] = -100.0, 100.0
    return weights
