"""The compiled tick computes what the Python source says, and keeps nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description import fr3, square_peg_tool
from controllers.types import COMMAND, REPORT, STATE
from safety.ledger import LedgerConfig
from safety.reflex import ReflexConfig
from safety.watch import WatchConfig
from tests.safety.critic_tools import random_weights

ROOT = Path(__file__).resolve().parents[2]
FIELDS = (
    *("tau_proposed_nm", "tau_executed_nm", "executed_position_base_m", "executed_quaternion_base_xyzw", "reason"),
    *("latched", "tank_energy_j", "spring_energy_j", "reference_share", "stiffness_share", "gate_share", "risk"),
)

ALARM_TICK = 95
"""From here on the reflex arbiter may act: the random critic is alarmed by everything."""


def run_stream(ticks: int = 120, plain: bool = False) -> dict[str, np.ndarray]:
    """A fixed stream of states and commands that meets box, cone, leash, energy, refusals, ageing and a trip.

    plain: fields of records become attributes for Python too, as they are inside a compiled kernel.
    """
    arm = fr3()
    model, terms, rng = ArmModel(arm, square_peg_tool()), ModelTerms(), np.random.default_rng(1)
    watch = WatchConfig(max_speed_m_s=0.9, max_angular_speed_rad_s=9.0, max_power_w=300.0)
    reflex = ReflexConfig(recovery="scripted")  # a learned one is computed in single precision
    chain = Chain(ChainConfig(watch=watch, ledger=LedgerConfig(tank_start_j=0.2), reflex=reflex), arm)
    chain.adopt_critic(random_weights())
    state, command, report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
    if plain:
        state, command, report = (array.view(np.recarray) for array in (state, command, report))
        chain.record, chain.config_record = chain.record.view(np.recarray), chain.config_record.view(np.recarray)
    state["q_rad"] = arm.home_rad + 0.025 * np.sin(np.arange(7))
    model.terms(state["q_rad"][0], state["qd_rad_s"][0], terms)
    chain.reseed(state, terms)
    pose = model.forward(arm.home_rad)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    for tick in range(ticks):
        chain.config_record["reflex"]["enabled"] = int(tick >= ALARM_TICK)
        if tick % 10 == 0 and tick < 80:
            command["sequence"], command["stamp_ns"] = tick, state["stamp_ns"]
            command["position_base_m"] = pose.position_m + rng.uniform(-0.5, 0.5, 3)
            quaternion = pose.quaternion_xyzw + rng.uniform(-0.4, 0.4, 4)
            command["quaternion_base_xyzw"] = quaternion / np.linalg.norm(quaternion)
            command["stiffness"], command["damping_ratio"] = rng.uniform(0.0, [1050.0] * 3 + [60.0] * 3), 0.9
            command["duration_s"], command["feedforward_wrench_base"] = 0.1, rng.uniform(-1.0, 1.0, 6)
        state["stamp_ns"] += 1_000_000 if tick < 80 else 40_000_000
        state["q_rad"] = arm.home_rad + 0.025 * np.sin(0.1 * tick + np.arange(7))
        state["qd_rad_s"] = rng.normal(size=7) * (0.2 if tick < 100 else 1.0)  # too fast at the end: a trip
        state["wrench_tool"], state["tau_applied_nm"] = rng.normal(size=6), report["tau_executed_nm"]
        model.terms(state["q_rad"][0], state["qd_rad_s"][0], terms)
        chain.tick(state, terms, command, report)
        for name in FIELDS:
            seen[name].append(report[name][0].copy())
    return {name: np.array(values) for name, values in seen.items()}


PROGRAM = """
import sys, io, importlib.util, numpy as np
spec = importlib.util.spec_from_file_location("stream", sys.argv[1])
stream = importlib.util.module_from_spec(spec); spec.loader.exec_module(stream)
buffer = io.BytesIO(); np.savez(buffer, **stream.run_stream(plain=True)); sys.stdout.buffer.write(buffer.getvalue())
"""


def test_compiled_and_plain_agree() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, __file__], env=environment, capture_output=True, check=True
    ).stdout
    plain, compiled = np.load(io.BytesIO(answer)), run_stream()
    assert len(set(compiled["reason"].tolist())) >= 5, "the stream meets many layers"
    for name in FIELDS:
        for part in (slice(ALARM_TICK), slice(ALARM_TICK, None)):  # networks of 32 bits: the risk, then its recovery
            tolerance = 1e-5 if name == "risk" or part.start else 1e-9
            got, want = compiled[name][part], plain[name][part]
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name)


def test_ticks_leave_nothing_behind() -> None:
    run_stream(50)
    arm = fr3()
    model, terms, chain = ArmModel(arm, square_peg_tool()), ModelTerms(), Chain(ChainConfig(), arm)
    state, command, report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
    state["q_rad"], command["sequence"] = arm.home_rad, -1
    q, qd = state["q_rad"][0], state["qd_rad_s"][0]
    model.terms(q, qd, terms)
    chain.reseed(state, terms)
    process = psutil.Process()
    sizes = []
    for _ in range(3):
        for _ in range(10_000):
            model.terms(q, qd, terms)
            chain.tick(state, terms, command, report)
        sizes.append(process.memory_info().rss)
    assert sizes[2] - sizes[1] < 256 * 1024
