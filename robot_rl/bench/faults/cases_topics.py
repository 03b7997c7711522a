"""F5, F6: the wall clock, and what becomes of topics on their way."""

from __future__ import annotations

import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.bench.faults.cases_ros import AGE_LIMIT_S, HELD_MS, begin, followed, judge
from robot_rl.bench.faults.judging import Outcome, delay_ms
from robot_rl.bench.faults.ros_stage import RosStage
from safety.reasons import Reason

Array = NDArray[Any]
_FOREIGN_STIFFNESS = 33.0
"""By which the commands of the second sender are known."""
_LAST_TARGET_MS = 250.0
"""A target is renewed for as long as it counts (target_duration_s), then it ages."""


def wall_clock_steps(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F5: the wall clock of all programs jumps by an hour, to and fro; no age notices."""
    begin(stage, rng)
    if stage.clock is None:
        raise RuntimeError("this stage has no clock to set")
    parts = []
    for offset_s in rng.permutation([3600, -3600, 0]):
        stage.clock.set(int(offset_s))
        parts.append(stage.watch(0.5))
    stage.clock.set(0)
    reports = np.concatenate(parts)
    outcome = Outcome(float(np.count_nonzero(reports["reason"] >= Reason.STALE)))
    outcome.expect(float(reports["command_age_s"].max()) < AGE_LIMIT_S, "a command became too old")
    return judge(outcome, reports)


def commands_lost(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: 1 to 30 % of the commands lost, some repeated, some swapped: the arm is never held, nothing goes back."""
    begin(stage, rng)
    drop = float(rng.uniform(0.01, 0.3))
    losses = {"seed": int(rng.integers(2**31)), "drop": drop, "repeat": 0.1, "swap": 0.1}
    stage.order("relay", losses)
    _wait_until_followed(stage)
    reports = stage.watch(3.0)
    counts = stage.order("relay", {"seed": 0, "drop": 0.0, "repeat": 0.0, "swap": 0.0})
    outcome = Outcome(_went_back(stage, reports))
    outcome.expect(counts["dropped"] > 0 and counts["passed"] > 10, f"the relay did nothing: {counts}")
    outcome.expect(not bool((reports["reason"] >= Reason.HOLD).any()), f"held at {100.0 * drop:.0f} % losses")
    return judge(outcome, reports)


def _wait_until_followed(stage: RosStage) -> None:
    """A relay that was put in anew has to be found by the others first."""
    for _ in range(50):
        reports = stage.watch(0.2)
        if len(reports) and bool((reports["reason"] < Reason.REFUSED).all()):
            return
    raise RuntimeError("no command comes through the relay")


def _went_back(stage: RosStage, reports: Array) -> float:
    """Counts how often an older decision was followed after a newer one."""
    moving = followed(reports)
    return float(np.count_nonzero(np.diff(stage.decided(moving)) < 0))


def partition(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: no command passes for 200 ms: the arm slows down at most, and is not held."""
    begin(stage, rng)
    stage.side.ring.skip()
    stage.order("partition", 0.2)
    time.sleep(0.8)
    reports = stage.side.ring.drain()
    outcome = Outcome(float(np.count_nonzero(reports["reason"] >= Reason.HOLD)))
    outcome.expect(float(reports["command_age_s"].max()) > 0.1, "nothing was withheld")
    outcome.expect(bool(reports["reason"][-1] < Reason.REFUSED), "not followed after the partition")
    return judge(outcome, reports)


def second_commander(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: another sender of whole commands: nothing of it is followed, and the first one goes on."""
    begin(stage, rng)
    stage.side.ring.skip()
    stage.order("intrude", _FOREIGN_STIFFNESS)
    time.sleep(1.0)
    reports = stage.side.ring.drain()
    stage.order("intrude", None)
    foreign = np.isclose(reports["proposed_stiffness"][:, 0], _FOREIGN_STIFFNESS)
    outcome = Outcome(float(np.count_nonzero(foreign)))
    stale = reports[reports["reason"] >= Reason.STALE]
    outcome.expect(not len(stale), f"the first sender was not followed in {len(stale)} ticks")
    return judge(outcome, reports)


def second_publisher(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: a second publisher of target_pose: soon nothing of that topic counts, and the arm is held."""
    stage.steady()
    stage.programs["policy"].signal(signal.SIGSTOP)
    try:
        time.sleep(1.2)  # whoever falls silent has the arm for another second
        stage.order("poses", 1)
        _wait_until_followed(stage)
        time.sleep(rng.uniform(0.0, 0.2))
        stage.side.ring.skip()
        since_ns = stage.order("poses", 2)["since_ns"]
        time.sleep(1.6)
        reports = stage.side.ring.drain()
    finally:
        stage.order("poses", 0)
        stage.programs["policy"].signal(signal.SIGCONT)
    after = reports[reports["stamp_ns"] > since_ns]
    changes = np.flatnonzero(np.diff(after["sequence"])) + 1
    last_ns = int(after["stamp_ns"][changes[-1]]) if len(changes) else since_ns
    outcome = Outcome(1e-6 * (last_ns - since_ns))
    held_ms = delay_ms(after, after["reason"] >= Reason.HOLD, last_ns)
    outcome.expect(held_ms <= _LAST_TARGET_MS + HELD_MS, f"held {held_ms:.0f} ms after the last target")
    return judge(outcome, after)
