"""Repeats of faults, their results line by line in a file, and the table made from it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from controllers.motor_child import MotorProcessDied
from controllers.realtime import ORDINARY, RealtimeConfig
from controllers.shared_memory.block import BlockError
from data.errors import UserError
from robot_rl.bench.faults.catalogue import FAULTS
from robot_rl.bench.faults.fault import Fault
from robot_rl.bench.faults.judging import MAX_MOTION_M, Outcome
from robot_rl.bench.faults.stage import PolicyStage, Stage
from robot_rl.bench.faults.stalls import STALL_S, StallWatch
from robot_rl.config_bench import BenchFaultsConfig

_SLACK_MS = 50.0
"""Added to limits in milliseconds where the loop has no real-time measures: tests share their machine."""
_ATTEMPTS = 3
"""Without them a repeat that was late beside a stall is run again, and counted as disturbed; with them never."""
_OF_TIME = ("ms", "held ticks", "frozen ticks", "mm")
"""Units of what a stall can spoil: an arm that is held for it sags, or is not followed for a while."""


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
    stages, watch = _Stages(config.realtime), StallWatch()
    try:
        for number, fault in enumerate(FAULTS):
            if fault in chosen:
                _repeat(fault, number, config, path, stages, watch)
    finally:
        stages.close()
        watch.close()
    rows = summary(_read(path), [fault.name for fault in chosen], config.repeats)
    return {
        "faults": len(rows),
        "left_out": sorted(left_out),
        "repeats": sum(row["repeats"] for row in rows),
        "disturbed_repeats": sum(row["disturbed"] for row in rows),
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


def _repeat(
    fault: Fault, number: int, config: BenchFaultsConfig, path: Path, stages: _Stages, watch: StallWatch
) -> None:
    done = {line["repeat"] for line in _read(path) if line["fault"] == fault.name}
    slack = 0.0 if config.realtime or fault.unit != "ms" else _SLACK_MS
    for repeat in range(config.repeats):
        if repeat in done:
            continue
        disturbed: list[dict[str, Any]] = []
        while True:
            outcome, stalled_s = _attempt(fault, np.random.default_rng([config.seed, number, repeat]), stages, watch)
            line = _line(fault, repeat, outcome, slack)
            if fault.once or math.isinf(outcome.measured):
                stages.close()
            last = config.realtime or len(disturbed) == _ATTEMPTS - 1
            if last or stalled_s < STALL_S or not _excused(fault, outcome, line):
                break
            disturbed.append({"measured": line["measured"], "failures": outcome.failures, "stalled_s": stalled_s})
            print(f"{fault.name}, repeat {repeat}, again: something got no processor for {stalled_s:.2f} s")
        with path.open("a") as file:
            file.write(json.dumps(line | {"disturbed": disturbed}) + "\n")


def _attempt(fault: Fault, rng: np.random.Generator, stages: _Stages, watch: StallWatch) -> tuple[Outcome, float]:
    """Returns what the fault showed, and the longest stall meanwhile [s]."""
    stage = stages.of(fault)
    watch.begin(stage.pids())
    stage.ready = lambda: watch.begin(stage.pids())
    try:
        outcome = fault.run(stage, rng)
    except (MotorProcessDied, RuntimeError, UserError, BlockError) as error:
        outcome = Outcome(math.inf, failures=[str(error)])
    return outcome, watch.longest_s()


def _stage(fault: Fault, realtime: bool) -> Any:
    if fault.stage is not None:
        return fault.stage(realtime)
    measures = RealtimeConfig() if realtime else ORDINARY
    return PolicyStage(measures) if fault.policy else Stage(measures, fault.chain, not fault.person)


def _line(fault: Fault, repeat: int, outcome: Outcome, slack: float) -> dict[str, Any]:
    return {
        "fault": fault.name,
        "repeat": repeat,
        "measured": outcome.measured if math.isfinite(outcome.measured) else None,
        "missed": not outcome.measured <= fault.limit + slack + 1e-9,
        "motion_m": outcome.motion_m,
        "failures": outcome.failures,
    }


def _excused(fault: Fault, outcome: Outcome, line: dict[str, Any]) -> bool:
    """Whether it failed, by nothing but times and what follows from them: a stall may have been the cause."""
    failed = line["missed"] or line["failures"]
    of_time = fault.unit in _OF_TIME or math.isinf(outcome.measured) or not line["missed"]
    return bool(failed and of_time and not outcome.forbidden and outcome.motion_m <= MAX_MOTION_M)


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
                "disturbed": sum(len(line.get("disturbed", ())) for line in mine),
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
