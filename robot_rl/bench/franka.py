"""Measures the FR3 driver with all safety layers on, against a server that speaks the robot's own protocol."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.chain import ChainConfig
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.motor_child import MotorProcessDied
from controllers.realtime import RealtimeConfig, choose_core, keep_off_core
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_motor import STALL_TIMEOUT_S, franka_motor
from controllers.robots.franka_simulator import FrankaSimulator, simulated_robot
from controllers.shared_memory.sides import MotorStatus
from controllers.shared_memory_link import SharedMemoryLink, SharedMemoryLinkConfig
from controllers.types import Command, Source
from robot_rl.config_robot import BenchFrankaConfig
from safety.reasons import Reason

_STIFFNESS = np.array([1000.0] * 3 + [50.0] * 3)
_DAMPING_RATIO = 0.7
_LOW_M, _HIGH_M = np.array([0.38, -0.25, 0.22]), np.array([0.62, 0.25, 0.52])
_TARGET_S = 1.6
_FARTHER_M = 0.2
"""A target nearer than this to the one before is drawn again."""
_EPISODE_TARGETS = 5
"""After so many the chain is seeded anew and gets its energy, as between two episodes."""


@dataclass(frozen=True)
class _Motion:
    """What was recorded of the motion."""

    reports: NDArray[Any]  # (n,) REPORT
    status: MotorStatus
    lost_reports: int
    aborted: str
    """What ended it before its time; "" if nothing did."""


def run(config: BenchFrankaConfig) -> dict[str, Any]:
    """Returns the figures of `seconds` of motion; `ok` is false where one misses its target.

    Violations and aborts are counted in the log of a server that was started here, aborts by the driver otherwise.
    """
    cores, core = os.sched_getaffinity(0), choose_core(-1)
    try:
        with _robot_at(config.ip) as (ip, simulator):
            apart = keep_off_core(core)
            motion = _move(ip, core, config)
            log = "" if simulator is None else simulator.log()
    finally:
        os.sched_setaffinity(0, cores)
    figures = {**_figures(motion), "franka_cores_apart": apart}
    if simulator is not None:
        figures["franka_limit_violations"] = log.count("motion limit violated")
        figures["franka_aborts"] = max(log.count("aborting the motion"), figures["franka_aborts"])
    return {"ok": _meets(figures), **figures}


@contextmanager
def _robot_at(ip: str | None) -> Iterator[tuple[str, FrankaSimulator | None]]:
    """The robot that is there, or one that is simulated for as long as it is needed."""
    if ip is not None:
        yield ip, None
        return
    with simulated_robot(fr3(), square_peg_tool()) as simulator:
        yield simulator.ip, simulator


def _move(ip: str, core: int, config: BenchFrankaConfig) -> _Motion:
    motor = franka_motor(
        f"bench-{uuid.uuid4().hex[:12]}",
        arm=fr3(),
        tool=square_peg_tool(),
        robot=FrankaConfig(ip, wrench="observer"),
        chain=ChainConfig(),
        realtime=RealtimeConfig(core=core),
        remember_latch=False,
    )
    parts: list[NDArray[Any]] = []
    with SharedMemoryLink(SharedMemoryLinkConfig(motor, stall_timeout_s=STALL_TIMEOUT_S)) as link:
        aborted = ""
        try:
            for target in _commands(link, np.random.default_rng(config.seed), config.seconds):
                link.send(target)
                parts.append(link.step(_TARGET_S))
        except MotorProcessDied as death:
            aborted = str(death)
            if not parts:
                raise
        return _Motion(np.concatenate(parts), link.status(), link.lost_reports, aborted)


def _commands(link: SharedMemoryLink, rng: np.random.Generator, seconds: float) -> Iterator[Command]:
    """Random targets in a box, each far from the one before, the tool upright."""
    link.reset()
    start, until_s, number = link.latest(), time.monotonic() + seconds, 0
    before = start.position_base_m
    while time.monotonic() < until_s:
        goal = rng.uniform(_LOW_M, _HIGH_M)
        if np.linalg.norm(goal - before) < _FARTHER_M:
            continue
        if number % _EPISODE_TARGETS == 0:
            link.reset()
            link.grant()
        before, number = goal, number + 1
        yield Command(
            goal,
            start.quaternion_base_xyzw,
            _STIFFNESS,
            damping_ratio=_DAMPING_RATIO,
            duration_s=_TARGET_S,
            source=Source.SCRIPTED,
        )


def _figures(motion: _Motion) -> dict[str, Any]:
    reports, status = motion.reports, motion.status
    work_us = reports["work_ns"] / 1e3
    positions_m = reports["position_base_m"]
    return {
        "franka_success_rate": status.success_rate,
        "franka_aborts": int(bool(motion.aborted)),
        "franka_aborted_by": motion.aborted,
        "franka_span_m": float(np.ptp(positions_m, axis=0).max()),
        "franka_mean_speed_m_s": float(np.linalg.norm(reports["twist_base"][:, :3], axis=1).mean()),
        "franka_cycle_p50_us": float(np.quantile(work_us, 0.5)),
        "franka_cycle_p99_us": float(np.quantile(work_us, 0.99)),
        "franka_cycle_max_us": float(work_us.max()),
        "franka_lateness_p99_us": float(np.quantile(reports["lateness_ns"], 0.99) / 1e3),
        "franka_ticks": len(reports),
        "franka_lost_packets": status.lost_packets,
        "franka_lost_reports": motion.lost_reports,
        "franka_latched_ticks": int((reports["latched"] != 0).sum()),
        "franka_held_ticks": int((reports["reason"] >= Reason.HOLD).sum()),
        "realtime": status.realtime,
    }


def _meets(figures: dict[str, Any]) -> bool:
    """Whether the figures reach their targets; how long a cycle takes says the machine, so it is not among them."""
    return bool(
        figures["franka_success_rate"] >= 0.99
        and figures["franka_aborts"] == 0
        and figures.get("franka_limit_violations", 0) == 0
        and figures["franka_span_m"] >= 0.3
        and figures["franka_mean_speed_m_s"] >= 0.1
    )
