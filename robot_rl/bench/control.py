"""Measures the motor tick, alone and beside bare pinocchio, and the real-time motor process under a learner's load."""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin
import psutil
from numpy.typing import NDArray

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.scene import Scene
from controllers.description.tool import square_peg_tool
from controllers.description.urdf import to_urdf
from controllers.link import LockstepLink
from controllers.motor_config import mujoco_motor
from controllers.realtime import RealtimeConfig, choose_core, keep_off_core
from controllers.robots.mujoco_arm import MujocoArm
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import COMMAND, REPORT, STATE, Command
from data.errors import UserError
from safety.reasons import Reason
from safety.risk_weights import require_acceptable

_OBS_SIZE, _ACTION_SIZE = 30, 6
"""Those of the peg insertion."""
_STIFFNESS = np.array([600.0] * 3 + [40.0] * 3)
_DECISION_TICKS = 100
_BARE_EVERY = 4
"""Every fourth tick is followed by a measurement of bare pinocchio: enough for its median, and half the time."""


def run(seconds: float = 60.0, ticks: int = 1_000_000) -> dict[str, Any]:
    """Returns the figures of the tick (over `ticks` ticks) and of the loop (over `seconds` of real time).

    Times in microseconds. `tick_*`: whole tick from state to torque. `tick_ratio_pinocchio`: its median over that of
    Jacobian plus nonlinear effects alone. `loop_*`: the motor process pinned to one core while the other acts
    and trains RLPD.
    """
    if not (seconds > 0.0 and ticks >= 1000):
        raise UserError(f"bench control needs seconds > 0 and ticks >= 1000, got {seconds} and {ticks}")
    return {**measure_tick(ticks), **measure_loop(seconds)}


@dataclass(frozen=True)
class _Trajectory:
    states: NDArray[Any]  # (n,) STATE
    poses: NDArray[Any]  # (n,) REPORT


def measure_tick(ticks: int, critic: NDArray[Any] | None = None) -> dict[str, float]:
    """Replays states of a moving arm through model and chain; memory is compared from 1 % of the ticks to the end.

    critic: weights of the safety critic, which then takes part.
    """
    arm, scene = fr3(), Scene(tool=square_peg_tool())
    trajectory = _record(MujocoArm(arm, scene), ArmModel(arm, scene.tool))
    bare = _bare_pinocchio(to_urdf(arm, scene.tool))
    whole_ns, bare_ns = np.ones(ticks, np.uint32), np.ones(ticks // _BARE_EVERY + 1, np.uint32)
    chain = Chain(ChainConfig(), arm)
    if critic is not None:
        require_acceptable(chain.adopt_critic(critic))
    gc.collect()
    gc.disable()
    try:
        growth_bytes = _time_ticks(chain, ArmModel(arm, scene.tool), trajectory, bare, whole_ns, bare_ns)
    finally:
        gc.enable()
    p50_ns, p99_ns, p999_ns = np.quantile(whole_ns, [0.5, 0.99, 0.999])
    bare_p50_ns = float(np.median(bare_ns[: (ticks + _BARE_EVERY - 1) // _BARE_EVERY]))
    return {
        "tick_p50_us": p50_ns / 1e3,
        "tick_p99_us": p99_ns / 1e3,
        "tick_p999_us": p999_ns / 1e3,
        "tick_ratio_pinocchio": p50_ns / bare_p50_ns,
        "pinocchio_p50_us": bare_p50_ns / 1e3,
        "tick_memory_growth_kib": growth_bytes / 1024,
        "ticks": ticks,
    }


def _record(robot: MujocoArm, model: ArmModel) -> _Trajectory:
    """Two seconds of an arm that moves to and fro."""
    link = LockstepLink(robot, model)
    start = link.latest()
    states, poses = [], []
    for decision in range(20):
        goal = start.position_base_m + 0.05 * np.sin(0.6 * decision + np.array([0.0, 1.0, 2.0]))
        link.send(Command(goal, start.quaternion_base_xyzw, _STIFFNESS))
        for _ in range(_DECISION_TICKS):
            poses.append(link.step(0.001)[-1])
            states.append(link.state[0].copy())
    link.close()
    return _Trajectory(np.array(states, STATE), np.array(poses, REPORT))


def _bare_pinocchio(urdf: str) -> Callable[[NDArray[Any], NDArray[Any]], None]:
    model = pin.buildModelFromXML(urdf)
    data, frame = model.createData(), model.getFrameId("tool")

    def bare(q: NDArray[Any], qd: NDArray[Any]) -> None:
        pin.computeJointJacobians(model, data, q)
        pin.getFrameJacobian(model, data, frame, pin.LOCAL_WORLD_ALIGNED)
        pin.nonLinearEffects(model, data, q, qd)

    return bare


def _to_and_fro(tick: int, n: int) -> int:
    """0 .. n - 1 and back again, over and over: a replay without a jump."""
    place = tick % (2 * n)
    return min(place, 2 * n - 1 - place)


def _time_ticks(
    chain: Chain,
    model: ArmModel,
    trajectory: _Trajectory,
    bare: Callable[[NDArray[Any], NDArray[Any]], None],
    whole_ns: NDArray[np.uint32],
    bare_ns: NDArray[np.uint32],
) -> int:
    """Fills whole_ns (ticks,) and bare_ns with durations [ns]; returns how much the process grew [bytes]."""
    states, n, clock = trajectory.states, len(trajectory.states), time.perf_counter_ns
    state, command, report, terms = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT), ModelTerms()
    command["stiffness"], command["damping_ratio"], command["duration_s"] = _STIFFNESS, 0.9, 0.1
    q, qd, stamp = state["q_rad"][0], state["qd_rad_s"][0], state["stamp_ns"]
    process, before = psutil.Process(), 0
    state[0] = states[0]
    model.terms(q, qd, terms)
    chain.reseed(state, terms)
    for tick in range(len(whole_ns)):
        state[0] = states[_to_and_fro(tick, n)]
        stamp[0] = tick * 1_000_000
        if tick % _DECISION_TICKS == 0:
            goal = trajectory.poses[_to_and_fro(tick + _DECISION_TICKS // 2, n)]
            command["position_base_m"] = goal["position_base_m"]
            command["quaternion_base_xyzw"] = goal["quaternion_base_xyzw"]
            command["sequence"], command["stamp_ns"] = tick // _DECISION_TICKS, stamp[0]
        begin = clock()
        model.terms(q, qd, terms)
        chain.tick(state, terms, command, report)
        whole_ns[tick] = clock() - begin
        if tick % _BARE_EVERY == 0:
            begin = clock()
            bare(q, qd)
            bare_ns[tick // _BARE_EVERY] = clock() - begin
        if tick == len(whole_ns) // 100:
            before = process.memory_info().rss
    if chain.latched:
        raise RuntimeError(f"expected an arm that moves, got one that is latched: {Reason(chain.latched).name}")
    return int(process.memory_info().rss) - before


def measure_loop(seconds: float) -> dict[str, Any]:
    """Runs the simulated arm in its motor process on one core while this process, on the other, acts and trains."""
    from robot_rl.learning.torch_setup import quick_torch

    cores, core = os.sched_getaffinity(0), choose_core(-1)
    motor = mujoco_motor(
        f"bench-{uuid.uuid4().hex[:12]}",
        arm=fr3(),
        scene=Scene(tool=square_peg_tool()),
        realtime=RealtimeConfig(core=core),
    )
    separate = keep_off_core(core)
    try:
        with quick_torch(), SharedMemoryLink(SharedMemoryLinkConfig(motor)) as link:
            learner = _learner()
            process, stolen_ms = psutil.Process(link.status().pid), _stolen_ms(core)
            overruns, resident_bytes = link.status().overruns, process.memory_info().rss
            reports, updates = _act_and_train(link, learner, seconds)
            status, stolen_ms = link.status(), _stolen_ms(core) - stolen_ms
            lost, growth_bytes = link.lost_reports, process.memory_info().rss - resident_bytes
    finally:
        os.sched_setaffinity(0, cores)
    lateness_us, work_us = reports["lateness_ns"] / 1e3, reports["work_ns"] / 1e3
    return {
        "loop_lateness_p50_us": float(np.quantile(lateness_us, 0.5)),
        "loop_lateness_p99_us": float(np.quantile(lateness_us, 0.99)),
        "loop_lateness_p999_us": float(np.quantile(lateness_us, 0.999)),
        "loop_lateness_max_us": float(lateness_us.max()),
        "loop_overruns": status.overruns - overruns,
        "loop_work_p50_us": float(np.quantile(work_us, 0.5)),
        "loop_work_p99_us": float(np.quantile(work_us, 0.99)),
        "loop_ticks": len(reports),
        "loop_lost_reports": lost,
        "loop_memory_growth_kib": growth_bytes / 1024,
        "loop_core_stolen_ms": stolen_ms,
        "loop_cores_apart": separate,
        "load_updates_per_s": updates / seconds,
        "realtime": status.realtime,
        "measures": status.message,
    }


def _act_and_train(link: SharedMemoryLink, learner: _Learner, seconds: float) -> tuple[NDArray[Any], int]:
    """Ten actions a second, training without a pause in between; returns all reports and the number of updates."""
    link.reset()
    start, parts, updates = link.latest(), [], 0
    begin_s = time.monotonic()
    for decision in range(max(1, round(seconds * 10))):
        goal = start.position_base_m + 0.03 * np.sin(0.3 * decision + np.array([0.0, 1.0, 2.0]))
        goal += 0.001 * learner.act()[:3]
        link.send(Command(goal, start.quaternion_base_xyzw, _STIFFNESS))
        while time.monotonic() < begin_s + 0.1 * (decision + 1):
            learner.update()
            updates += 1
        parts.append(link.step(0.001))
    return np.concatenate(parts), updates


@dataclass(frozen=True)
class _Learner:
    """The load beside the motor: an agent as it acts and trains."""

    act: Callable[[], NDArray[np.float32]]
    """One proposal (A,) for an observation."""
    update: Callable[[], None]
    """One block of updates."""


def _learner() -> _Learner:
    """Returns RLPD as it trains by default, on a filled replay and demonstrations, on one thread."""
    from robot_rl.agents.base import AgentSpec
    from robot_rl.agents.rlpd import RlpdAgent
    from robot_rl.learning.replay import Replay

    rng = np.random.default_rng(0)
    agent = RlpdAgent(AgentSpec(_OBS_SIZE, _ACTION_SIZE), RlpdAgent.config_class())

    def filled(steps: int) -> Replay:
        replay = Replay(steps, _OBS_SIZE, _ACTION_SIZE)
        observations = rng.standard_normal((steps + 1, _OBS_SIZE))
        for step in range(steps):
            action, over = rng.uniform(-1.0, 1.0, _ACTION_SIZE), step % 50 == 49
            replay.add(observations[step], action, float(over), observations[step + 1], over, False)
        return replay

    sampler, seen = agent.make_sampler(filled(5000), filled(1000)), rng.standard_normal(_OBS_SIZE).astype(np.float32)

    def update() -> None:
        agent.update(sampler)

    return _Learner(lambda: agent.act(seen, {}, deterministic=False).action, update)


def _stolen_ms(core: int) -> float:
    """Returns how long the hypervisor has given this core to others since boot [ms]: no program mends that."""
    for line in Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] == f"cpu{core}":
            return int(fields[8]) * 1000.0 / os.sysconf("SC_CLK_TCK")
    return 0.0
