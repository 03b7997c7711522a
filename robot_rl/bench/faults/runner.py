"""Repeats of faults, their results line by line in a file, and the table made from it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from controllers.chain import ChainConfig
from controllers.motor_child import MotorProcessDied
from controllers.realtime import ORDINARY, RealtimeConfig
from data.errors import UserError
from robot_rl.bench.faults import cases_critic, cases_energy, cases_policy, cases_processor, cases_robot
from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.judging import MAX_MOTION_M, Outcome
from robot_rl.bench.faults.ros_faults import ROS_FAULTS
from robot_rl.bench.faults.stage import PolicyStage, Stage
from robot_rl.config_bench import BenchFaultsConfig
from safety.ledger import LedgerConfig
from safety.reference_limiter import ReferenceLimiterConfig

_SLACK_MS = 50.0
"""Added to limits in milliseconds where the loop has no real-time measures: tests share their machine."""
_WIDE_BOX = {"box_min_base_m": (-1.0, -1.0, -0.5), "box_max_base_m": (1.0, 1.0, 1.5)}


FAULTS = (
    Fault(
        *("F1", "policy killed (SIGKILL) in contact", "frozen by 250 ms, held by 1 s, no more force", 251.0, "ms"),
        *(cases_policy.killed_in_contact, True, True),
    ),
    Fault(
        *("F2", "policy stopped for 3 s (SIGSTOP), then woken", "no action from before is executed", 0.0, "actions"),
        *(cases_policy.stopped_and_woken, True),
    ),
    Fault(
        *("F3", "NaN, infinity, 1e9, wrong norm, random bytes, another version", "refused, counted", 1.0, "ticks"),
        cases_policy.nonsense_commands,
    ),
    Fault(
        *("F7", "1..25 lost packets", "no more energy than the budget; the drive brakes at 20", 0.0, "J"),
        cases_robot.lost_packets,
        chain=ChainConfig(ledger=LedgerConfig(repeat_ticks=20)),
    ),
    Fault(*("F8", "a tick of 2..10 ms", "counted, the torque goes on without a step", 2.0, "ms"), cases_robot.overrun),
    Fault(
        *("F8b", "five ticks of 4..10 ms within a second", "held", 10.0, "ms", cases_robot.too_many_overruns),
        realtime=True,
    ),
    Fault(*("F9a", "force sensor stands still", "hold after 50 samples alike", 53.0, "ms"), cases_robot.stuck_sensor),
    Fault(*("F9b", "force sensor saturated at 80 N", "stopped, latched", 10.0, "ms"), cases_robot.saturated_sensor),
    Fault(*("F9c", "one force sample of 65..85 N", "ignored", 0.0, "held ticks"), cases_robot.spike),
    Fault(
        *("F9d", "force off by 10 N, or of the wrong sign", "no torque changes", 0.2, "Nm"), cases_robot.biased_sensor
    ),
    Fault(
        *("F10", "wall pushed into the arm at 0.1 m/s", "stopped where 60 N are reached, peak below 80 N", 20.0, "ms"),
        cases_robot.pushed,
    ),
    Fault(
        *("F11", "tank runs dry while pressing", "no jump, no more force than asked", 2.0, "N"),
        cases_energy.empty_tank,
        chain=ChainConfig(ledger=LedgerConfig(tank_start_j=0.06)),
    ),
    Fault(
        *("F12", "stiffness 100, 3000, 100 N/m at 100 Hz", "no more energy than the budget", 0.0, "J"),
        cases_energy.pump,
        chain=ChainConfig(
            limiter=ReferenceLimiterConfig(
                stiffness_max=(3000.0,) * 3 + (60.0,) * 3, stiffness_slew_per_s=(1e6,) * 3 + (1e4,) * 3
            ),
            ledger=LedgerConfig(tank_start_j=0.5),
        ),
    ),
    Fault(
        *("F15a", "controller starts over in motion", "reference where the arm is, no energy made", 0.0, "J"),
        cases_energy.restart_in_motion,
    ),
    Fault(
        *("F13a", "critic's answer is no number", "command dropped, held in the end", 20.0, "ms"),
        cases_critic.critic_that_answers_nothing,
    ),
    Fault(
        *("F13b", "critic always answers 0", "the limits trip all the same", 10.0, "ms"),
        cases_critic.critic_that_sees_nothing,
    ),
    Fault(
        *("F14", "recovery presses into the wall", "ends after 0.6 s in a hold, the third one latches", 600.0, "ticks"),
        cases_critic.adversarial_recovery,
    ),
    Fault(
        *("F15b", "emergency stop pressed, released, pressed", "latched until a person resets", 6.0, "ms"),
        cases_energy.emergency_stop,
        person=True,
    ),
    Fault(
        *("F16", "target jumps 1 m, half a turn, 0.25 m", "refused, or no faster than 0.25 m/s", 0.251, "m/s"),
        cases_policy.far_targets,
    ),
    Fault(
        *("F17", "0.7 kg more payload than declared", "sags no more than its spring says", 15.0, "mm"),
        cases_robot.undeclared_payload,
    ),
    Fault(
        *("F18", "two busy processes on the policy's cores, ring not read", "ticks begin in time (p99.9)", 300.0, "us"),
        cases_processor.starved_policy,
        realtime=True,
    ),
    Fault(
        *("F18a", "two busy processes on any core, the motor's too", "for comparison", math.inf, "us"),
        cases_processor.starved_machine,
        realtime=True,
    ),
    Fault(
        *("F18e", "none: an empty loop beside two busy processes on any core", "for comparison", math.inf, "us"),
        cases_processor.empty_loop,
        realtime=True,
    ),
    Fault(
        *("F19", "critic's weights damaged, NaN, of an old version", "refused, the old ones stay", 0.0, "swaps"),
        cases_critic.bad_weights,
    ),
    Fault(
        *("F20", "driven to joint limits and the stretched arm", "joint speeds below the limit", 1.0, "of rated"),
        cases_robot.joint_limit,
        chain=ChainConfig(limiter=ReferenceLimiterConfig(**_WIDE_BOX)),  # type: ignore[arg-type]
    ),
    Fault(
        *("F4", "camera's frames stop (its heartbeat)", "held, and followed again when they are back", 306.0, "ms"),
        cases_robot.camera_that_stops,
    ),
    *ROS_FAULTS,
)


def run(config: BenchFaultsConfig) -> dict[str, Any]:
    """Runs what is missing in the file `out`, and returns the table's figures; `ok` tells whether all held."""
    chosen = [fault for fault in FAULTS if not config.faults or fault.name in config.faults]
    chosen = [fault for fault in chosen if config.realtime or not fault.realtime]
    unknown = set(config.faults) - {fault.name for fault in FAULTS}
    if unknown:
        raise UserError(f"unknown faults {sorted(unknown)}; known are {[fault.name for fault in FAULTS]}")
    left_out = {fault.name: why for fault in chosen if (why := fault.missing())}
    chosen = [fault for fault in chosen if fault.name not in left_out]
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    path = Path(config.out).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    stages = _Stages(config.realtime)
    try:
        for number, fault in enumerate(FAULTS):
            if fault in chosen:
                _repeat(fault, number, config, path, stages)
    finally:
        stages.close()
    rows = summary(_read(path), [fault.name for fault in chosen], config.repeats)
    return {
        "faults": len(rows),
        "left_out": sorted(left_out),
        "repeats": sum(row["repeats"] for row in rows),
        "missed_deadlines": sum(row["missed"] for row in rows),
        "motions_after_hold": sum(row["moved"] for row in rows),
        "other_failures": sum(row["failed"] for row in rows),
        "table": markdown(rows),
        "ok": not any(row["missed"] or row["moved"] or row["failed"] for row in rows),
    }


class _Stages:
    """The stage that stands; faults in a row that ask for the same one share it."""

    def __init__(self, realtime: bool) -> None:
        self._realtime = realtime
        self._kind: Any = None
        self._stage: Any = None

    def of(self, fault: Fault) -> Any:
        """Returns the stage of a fault, built if another one stands or none."""
        kind = fault.stage or fault
        if self._stage is None or kind is not self._kind:
            self.close()
            self._stage, self._kind = _stage(fault, self._realtime), kind
        return self._stage

    def close(self) -> None:
        """Takes it down."""
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.close()


def _repeat(fault: Fault, number: int, config: BenchFaultsConfig, path: Path, stages: _Stages) -> None:
    done = {line["repeat"] for line in _read(path) if line["fault"] == fault.name}
    for repeat in range(config.repeats):
        if repeat in done:
            continue
        stage = stages.of(fault)
        try:
            outcome = fault.run(stage, np.random.default_rng([config.seed, number, repeat]))
        except (MotorProcessDied, RuntimeError) as error:
            outcome = Outcome(math.inf, failures=[str(error)])
        _append(path, fault, repeat, outcome, 0.0 if config.realtime or fault.unit != "ms" else _SLACK_MS)
        if fault.once or math.isinf(outcome.measured):
            stages.close()


def _stage(fault: Fault, realtime: bool) -> Any:
    if fault.stage is not None:
        return fault.stage(realtime)
    measures = RealtimeConfig() if realtime else ORDINARY
    return PolicyStage(measures) if fault.policy else Stage(measures, fault.chain, not fault.person)


def _append(path: Path, fault: Fault, repeat: int, outcome: Outcome, slack: float) -> None:
    line = {
        "fault": fault.name,
        "repeat": repeat,
        "measured": outcome.measured if math.isfinite(outcome.measured) else None,
        "missed": not outcome.measured <= fault.limit + slack + 1e-9,
        "motion_m": outcome.motion_m,
        "failures": outcome.failures,
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _read(path: Path) -> list[dict[str, Any]]:
    """Returns the results so far; a last line that was torn is passed over and overwritten by its repeat."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def summary(lines: list[dict[str, Any]], names: list[str], repeats: int) -> list[dict[str, Any]]:
    """Returns one row a fault."""
    rows = []
    for fault in FAULTS:
        mine = [line for line in lines if line["fault"] == fault.name and line["repeat"] < repeats]
        if fault.name not in names or not mine:
            continue
        measured = [line["measured"] for line in mine if line["measured"] is not None]
        rows.append(
            {
                "fault": fault,
                "repeats": len(mine),
                "worst": max(measured, default=math.inf) if len(measured) == len(mine) else math.inf,
                "missed": sum(line["missed"] for line in mine),
                "moved": sum(line["motion_m"] > MAX_MOTION_M for line in mine),
                "motion_mm": 1000.0 * max(line["motion_m"] for line in mine),
                "failed": sum(bool(line["failures"]) for line in mine),
                "failures": sorted({text for line in mine for text in line["failures"]}),
            }
        )
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table for docs/faults.md."""
    head = "| # | fault | expected | limit | worst | repeats | missed | motion after a hold | other failures |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        fault = row["fault"]
        lines.append(
            f"| {fault.name} | {fault.what} | {fault.expected} | {fault.limit:g} {fault.unit} | "
            f"{row['worst']:.3g} {fault.unit} | {row['repeats']} | {row['missed']} | {row['motion_mm']:.2g} mm | "
            f"{row['failed']} |"
        )
    return "\n".join(lines)
