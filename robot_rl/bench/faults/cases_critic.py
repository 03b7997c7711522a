"""F13, F14, F19: the critic's answers, the recovery's, and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.shared_memory.block import SharedBlock
from controllers.shared_memory.mailbox import MailboxWriter
from data.errors import UserError
from robot_rl.bench.critics import made_up_weights
from robot_rl.bench.faults.arm import Error
from robot_rl.bench.faults.judging import Outcome, delay_ms, first, force_n, judge_torque, motion_after_hold
from robot_rl.bench.faults.stage import MAX_TORQUE_NM, Stage, pressing
from safety.reasons import Reason
from safety.risk_critic import RiskCriticConfig
from safety.risk_weights import CRITIC_WEIGHTS, WeightsRefusal

Weights = NDArray[Any]


def adopt(stage: Stage, weights: Weights) -> None:
    """Hands weights over; they come into use as the stage is cleared."""
    weights["version"] = stage.link.status().critic_version + 1
    stage.link.load_critic(weights)


def critic_that_answers_nothing(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F13: an answer that is no number is certain risk: the command is dropped, and the arm holds in the end."""
    weights = made_up_weights(RiskCriticConfig())
    for name in ("first", "second", "risk_head"):  # finite numbers, which are let through, whose products are not
        weights[name] = 3e38 * rng.choice([-1.0, 1.0], weights[name].shape)
    adopt(stage, weights)
    stage.clear()
    stage.link.send(pressing(duration_s=5.0))
    reports = stage.link.step(1.2)
    begin = first(reports["sequence"] == stage.link.latest().sequence)
    began_ns = int(reports["stamp_ns"][min(begin, len(reports) - 1)])
    outcome = Outcome(delay_ms(reports, reports["reason"] >= Reason.REFLEX, began_ns), motion_after_hold(reports))
    ends = (Reason.RISK_HOLD, Reason.RISK_STOP)  # the repeats before count: every third hold is a stop
    outcome.expect(bool(np.isin(reports["reason"], ends).any()), "the arm did not hold in the end")
    outcome.expect(bool((reports["risk"][begin:] == 1.0).all()), "an answer of the critic was a number")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def critic_that_sees_nothing(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F13: a critic that always answers 0 cannot be told from a good one; the limits still trip."""
    adopt(stage, made_up_weights(RiskCriticConfig(), risk=1e-9))
    stage.press(0.5)
    stage.desk.order(Error.SATURATION, 10_000, 80.0, int(rng.integers(3)))
    ordered_ns = stage.link.now_ns()
    reports = stage.link.step(0.8)
    stage.desk.order(Error.NONE)
    outcome = Outcome(
        delay_ms(reports, reports["latched"] == Reason.FORCE_TRIP, ordered_ns), motion_after_hold(reports)
    )
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def adversarial_recovery(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F14: a recovery that presses into the wall, under a lasting risk: held in time, latched the third time."""
    weights = made_up_weights(RiskCriticConfig(), risk=0.99)
    weights["recovery_bias"] = rng.uniform(5.0, 10.0, 4)  # down, sideways, as stiff as it may
    adopt(stage, weights)
    outcome, longest, latches = Outcome(0.0), 0, set()
    for attempt in range(3):
        if attempt == 0:
            stage.clear()
        else:
            stage.start_over()
        stage.link.send(pressing(duration_s=5.0))
        reports = stage.link.step(1.3)
        longest = max(longest, int(np.count_nonzero(reports["reason"] == Reason.REFLEX)))
        outcome.motion_m = max(outcome.motion_m, motion_after_hold(reports))
        outcome.expect(bool((reports["reason"] >= Reason.RISK_HOLD).any()), "the arm did not hold")
        outcome.expect(float(force_n(reports).max()) < 30.0, f"pressed with {force_n(reports).max():.0f} N")
        latches.add(int(reports["latched"][-1]))
        judge_torque(outcome, reports, MAX_TORQUE_NM)
    # the third of these, or an earlier one where the repeat before left a hold
    outcome.expect(Reason.RISK_STOP in latches, f"latched with {sorted(latches)} within three holds")
    outcome.measured = float(longest)
    stage.quiet()
    return outcome


def bad_weights(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F19: weights with NaN, of an old version, with a flipped byte: refused at the reset, the old ones stay."""
    adopt(stage, made_up_weights(RiskCriticConfig()))
    stage.clear()
    before = stage.link.status()
    with_nan = made_up_weights(RiskCriticConfig(), version=before.critic_version + 1)
    with_nan["second"][0, rng.integers(64), rng.integers(64)] = rng.choice([np.nan, np.inf])
    old = made_up_weights(RiskCriticConfig(), version=0)
    outcome = Outcome(0.0)
    for weights in (with_nan, old):
        try:
            stage.link.load_critic(weights)
            outcome.forbid(False, "the parent's side let bad weights through")
        except UserError:
            pass
    cases = ((with_nan, False, WeightsRefusal.NOT_FINITE), (old, False, WeightsRefusal.OLDER))
    good = made_up_weights(RiskCriticConfig(), version=before.critic_version + 1)
    for count, (weights, flip, verdict) in enumerate((*cases, (good, True, WeightsRefusal.DAMAGED)), 1):
        _write_weights(stage, weights, int(rng.integers(1, CRITIC_WEIGHTS.itemsize)) if flip else 0)
        stage.start_over()
        status = stage.link.status()
        outcome.expect(status.critic_refusal == verdict, f"answered {status.critic_refusal!r}, not {verdict!r}")
        outcome.expect(status.critic_refused == before.critic_refused + count, "the refusal was not counted")
        outcome.measured += float(status.critic_version != before.critic_version)
    stage.link.send(pressing(duration_s=5.0))
    reports = stage.link.step(0.2)
    outcome.forbid(bool(np.isfinite(reports["risk"]).all()), "the old weights are no longer in use")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def _write_weights(stage: Stage, weights: Weights, flipped: int) -> None:
    """Writes weights into the shared block past all checks of the parent's side, and flips a byte of them."""
    block = SharedBlock.attach(stage.link.config.motor.name, command=False)
    memory = block.region("critic")
    writer = MailboxWriter(memory, CRITIC_WEIGHTS)
    number = writer.begin()
    payload = bytearray(weights.tobytes())
    writer.fill(number, bytes(payload))
    writer.commit(number)
    writer.release()
    if flipped:
        where = bytes(memory).rindex(payload) + flipped
        memory[where] ^= 0xFF
    memory.release()
    block.close()
