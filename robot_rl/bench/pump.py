"""The energy pump: stiffness high while the spring drives the motion, low while it brakes it.

Every change of stiffness of a loaded spring is energy from nowhere. An impedance controller without a ledger pumps a
light, badly damped mass up within seconds (Ferraguti et al. 2015 show the same with a variable stiffness).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.impedance import ImpedanceConfig
from controllers.types import COMMAND, REPORT, STATE
from safety.ledger import LedgerConfig
from safety.reference_limiter import ReferenceLimiterConfig
from safety.torque_limits import TorqueLimitConfig
from safety.watch import WatchConfig

MASS_KG = 4.0
HIGH_N_M, LOW_N_M = 3000.0, 100.0
DAMPING_RATIO = 0.1
LEASH_M = 0.02
PUMP_TICKS = 10
START_M = 0.015
"""The mass begins this far from its target: within the leash."""


def pump_chain(mode: str, tank_start_j: float = 1.0) -> ChainConfig:
    """Limits that let the pump run: no slew of stiffness, no watch; the ledger in this mode."""
    return ChainConfig(
        limiter=ReferenceLimiterConfig(
            box_min_base_m=(-50.0,) * 3,
            box_max_base_m=(50.0,) * 3,
            leash=(LEASH_M,) * 3 + (0.1,) * 3,
            max_speed_m_s=10.0,
            max_acceleration_m_s2=1e4,
            stiffness_max=(HIGH_N_M,) * 3 + (60.0,) * 3,
            stiffness_slew_per_s=(1e7,) * 6,
        ),
        impedance=ImpedanceConfig(nullspace_stiffness_nm_rad=0.0, regularisation=1e-9),
        torque=TorqueLimitConfig(share_of_rated=1.0, max_rate_nm_s=1000.0),
        ledger=LedgerConfig(mode=mode, tank_start_j=tank_start_j, tank_max_j=2.0),
        watch=WatchConfig(enabled=False),
    )


def run_pump(mode: str, seconds: float = 10.0, tank_start_j: float = 1.0) -> tuple[float, float]:
    """Returns (largest energy delivered so far, budget) [J] of a free mass on the pumped spring along x.

    The "arm" is a gantry: its first three joints push the mass along x, y, z, and the Jacobian is the identity, so that
    the torque of joint 1 is a force. The work is summed here, not taken from the ledger.
    """
    chain, terms = Chain(pump_chain(mode, tank_start_j), fr3()), ModelTerms()
    chain.config_record["impedance"]["limit_lower_rad"] = -1e3
    chain.config_record["impedance"]["limit_upper_rad"] = 1e3
    state, command, report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
    terms.jacobian[:, :6] = np.eye(6)
    terms.mass[:] = np.diag([MASS_KG] * 3 + [0.1] * 4)
    terms.rotation_base[:] = np.diag([1.0, -1.0, -1.0])
    command["sequence"], command["gripper_m"] = -1, np.nan
    chain.reseed(state, terms)
    chain.record["ledger"]["q_previous_rad"][0, 0] = START_M  # put there: no reading that jumped
    x_m, v_m_s, delivered_j, largest_j, dt_s = START_M, 0.0, 0.0, 0.0, 1e-3
    rng = np.random.default_rng(0)
    for tick in range(round(seconds * 1e3)):
        state["q_rad"][0, 0] = terms.position_base_m[0] = x_m
        state["qd_rad_s"][0, 0] = v_m_s
        state["stamp_ns"] += 1_000_000
        state["wrench_tool"] = rng.normal(size=6) * 0.1
        if tick % PUMP_TICKS == 0:
            pull = chain.record["reference_position"][0, 0] - x_m
            _command(command, state, HIGH_N_M if pull * v_m_s >= 0.0 else LOW_N_M)
        chain.tick(state, terms, command, report)
        force_n = float(report["tau_executed_nm"][0, 0])
        state["tau_applied_nm"] = report["tau_executed_nm"]
        before_m = x_m
        v_m_s += force_n / MASS_KG * dt_s
        x_m += v_m_s * dt_s
        delivered_j += force_n * (x_m - before_m)
        largest_j = max(largest_j, delivered_j)
    return largest_j, float(chain.record["ledger"]["granted_j"][0])


def _command(command: NDArray[np.void], state: NDArray[np.void], stiffness_n_m: float) -> None:
    command["sequence"] += 1
    command["stamp_ns"] = state["stamp_ns"]
    command["quaternion_base_xyzw"] = (1.0, 0.0, 0.0, 0.0)
    command["stiffness"] = [stiffness_n_m] * 3 + [30.0] * 3
    command["damping_ratio"], command["duration_s"] = DAMPING_RATIO, 0.1


def measure_pump() -> dict[str, float]:
    """Returns what the pump injects without the ledger, and by how much it exceeds its budget with it."""
    unfiltered_j, _ = run_pump("observe")
    filtered_j, budget_j = run_pump("enforce")
    return {
        "pump_unfiltered_j": unfiltered_j,
        "pump_filtered_j": filtered_j,
        "pump_budget_j": budget_j,
        "pump_over_budget_j": max(filtered_j - budget_j, 0.0),
    }
