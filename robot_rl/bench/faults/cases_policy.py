"""F1, F2, F3, F16: the policy dies, sleeps, lies."""

from __future__ import annotations

import signal
import struct
import time
from typing import Any

import numpy as np

from controllers.shared_memory.block import BlockError, SharedBlock
from controllers.shared_memory.layout import HEADER, REGIONS
from controllers.types import COMMAND, Command
from robot_rl.bench.faults.judging import (
    Outcome,
    delay_ms,
    first,
    force_n,
    judge_force,
    judge_torque,
    motion_after_hold,
)
from robot_rl.bench.faults.policy import DECISION
from robot_rl.bench.faults.stage import MAX_TORQUE_NM, PolicyStage, Stage, pressing
from safety.reasons import Reason


def killed_in_contact(stage: PolicyStage, rng: np.random.Generator) -> Outcome:
    """F1: frozen within the age limit, held within a second, and the arm does not press harder."""
    before = stage.watch(rng.uniform(0.1, 0.2))
    killed_ns = stage.signal(signal.SIGKILL)
    reports = stage.watch(1.6)
    after = reports[reports["stamp_ns"] > killed_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.STALE, killed_ns), motion_after_hold(after))
    held_ms = delay_ms(after, after["reason"] >= Reason.HOLD, killed_ns)
    outcome.expect(held_ms <= 1002.0, f"held after {held_ms:.0f} ms")
    outcome.expect(bool((force_n(before) > 5.0).all()), "the tool was not in contact before")
    judge_force(outcome, after, float(force_n(before).mean()))
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def stopped_and_woken(stage: PolicyStage, rng: np.random.Generator) -> Outcome:
    """F2: held while the policy sleeps; nothing that it had decided before is executed when it wakes."""
    time.sleep(rng.uniform(0.3, 0.4))
    stopped_ns = stage.signal(signal.SIGSTOP)
    asleep = stage.watch(3.0)
    woken_ns = stage.signal(signal.SIGCONT)
    reports = np.concatenate([asleep, stage.watch(1.2)])  # its heartbeat must be back for half a second
    decided = np.fromfile(stage.decisions, DECISION)
    made_ns = dict(zip(decided["sequence"].tolist(), decided["decided_ns"].tolist(), strict=True))
    asleep = reports[reports["stamp_ns"] > stopped_ns]
    followed = reports[reports["stamp_ns"] > woken_ns + 1_000_000]
    moving = np.unique(followed["sequence"][followed["reason"] < Reason.REFUSED])
    outcome = Outcome(
        float(sum(made_ns.get(int(number), 0) < woken_ns for number in moving)), motion_after_hold(asleep)
    )
    held_ms = delay_ms(asleep, asleep["reason"] >= Reason.HOLD, stopped_ns)
    outcome.expect(held_ms <= 1002.0, f"held after {held_ms:.0f} ms")
    outcome.expect(len(moving) > 0, "the policy that woke up is not followed again")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def _bad_commands(rng: np.random.Generator) -> list[Command]:
    """Commands that no check may let through."""
    good = pressing()
    bad = []
    for name in ("position_base_m", "quaternion_base_xyzw", "stiffness", "feedforward_wrench_base"):
        for value in (np.nan, np.inf, -np.inf, 1e9):
            field = getattr(good, name).copy()
            field[rng.integers(len(field))] = value
            bad.append(pressing(**{name: field}))
    bad += [pressing(**{name: value}) for name in ("damping_ratio", "duration_s") for value in (np.nan, 1e9, -1.0)]
    bad.append(pressing(quaternion_base_xyzw=good.quaternion_base_xyzw * 1.1))
    bad.append(pressing(stiffness=np.full(6, 1e6)))
    bad.append(pressing(position_base_m=good.position_base_m + np.array([1.0, 0.0, 0.0])))
    return bad


def nonsense_commands(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F3: refused in the first tick that can see it, counted, the last good command goes on ageing."""
    contact = stage.press(0.5)
    outcome, worst_ticks, expected = Outcome(0.0), 0, int(stage.link.latest().refused)
    bad = _bad_commands(rng)
    for index in rng.choice(len(bad), 5, replace=False):
        stage.link.send(bad[index])
        sent_ns = stage.link.now_ns()
        reports = stage.link.step(0.012)
        expected += 1
        later = reports[reports["stamp_ns"] > sent_ns]
        worst_ticks = max(worst_ticks, 1 + first(later["refused"] >= expected))
        outcome.expect(int(reports["refused"][-1]) == expected, f"refused {reports['refused'][-1]}, not {expected}")
        outcome.forbid(bool((reports["sequence"] == contact.sequence).all()), "a bad command was followed")
        judge_torque(outcome, reports, MAX_TORQUE_NM)
    outcome.measured = float(worst_ticks)
    _spoil_the_mailbox(stage, rng, outcome, contact.sequence)
    _another_version(stage, outcome)
    return outcome


def _spoil_the_mailbox(stage: Stage, rng: np.random.Generator, outcome: Outcome, followed: int) -> None:
    """Random bytes and a record of another size, written over the commands in the shared block."""
    block = SharedBlock.attach(stage.link.config.motor.name, command=False)
    memory = block.region("commands")
    refused = int(stage.link.latest().refused)
    saved = bytes(memory)
    head = struct.unpack_from("q", memory, 0)[0]
    for size in (COMMAND.itemsize, COMMAND.itemsize // 2, REGIONS["commands"][1] - 64):
        memory[64 : 64 + size] = rng.bytes(size)
        struct.pack_into("q", memory, 0, head + 1)
        reports = stage.link.step(0.005)
        outcome.forbid(bool((reports["sequence"] == followed).all()), "random bytes were followed")
        judge_torque(outcome, reports, MAX_TORQUE_NM)
        memory[:] = saved
    outcome.forbid(int(stage.link.latest().refused) == refused, "a torn record was taken for a command")
    memory.release()
    block.close()


def _another_version(stage: Stage, outcome: Outcome) -> None:
    """A block whose layout is another version's is not attached to."""
    name = stage.link.config.motor.name
    block = SharedBlock.attach(name, command=False)
    memory = block.region("header")
    fields: Any = HEADER.fields
    offset = fields["layout"][1]
    layout = bytes(memory[offset : offset + 16])
    memory[offset : offset + 16] = b"0" * 16
    try:
        SharedBlock.attach(name, command=False).close()
        outcome.forbid(False, "a block of another version was attached to")
    except BlockError:
        pass
    memory[offset : offset + 16] = layout
    memory.release()
    block.close()


def far_targets(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F16: a metre is refused; what is accepted is approached no faster than the speed limit."""
    stage.clear()
    stage.link.send(pressing(-0.05, duration_s=5.0))
    stage.link.step(0.5)
    refused = int(stage.link.latest().refused)
    direction = rng.normal(size=3)
    direction *= [1.0, 1.0, 0.0]
    direction /= np.linalg.norm(direction)
    stage.link.send(pressing(position_base_m=stage.link.latest().position_base_m + direction))
    stage.link.step(0.05)
    half_turn = np.array([0.0, 1.0, 0.0, 0.0])  # tool down, turned by pi about z
    stage.link.send(pressing(-0.05, quaternion_base_xyzw=half_turn))
    stage.link.step(0.05)
    outcome = Outcome(0.0)
    outcome.expect(int(stage.link.latest().refused) == refused + 2, "a metre, or half a turn, was not refused")
    here = stage.link.latest().position_base_m
    stage.link.send(pressing(position_base_m=here + 0.25 * direction, duration_s=3.0))
    reports = stage.link.step(1.0)
    moved = np.linalg.norm(np.diff(reports["executed_position_base_m"], axis=0), axis=1)
    outcome.measured = float(moved.max() * 1000.0)
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome
