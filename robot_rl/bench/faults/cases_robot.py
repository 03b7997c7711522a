"""F4, F7, F8, F9, F10, F17, F20: camera, drive, loop, sensor and surroundings."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from controllers.arm_model import ArmModel, ModelTerms
from controllers.description.fr3 import fr3
from controllers.description.tool import square_peg_tool
from controllers.motor_child import MotorProcessDied
from robot_rl.bench.faults.arm import PACKETS_UNTIL_BRAKE, Error
from robot_rl.bench.faults.judging import (
    Outcome,
    delay_ms,
    first,
    judge_torque,
    motion_after_hold,
)
from robot_rl.bench.faults.stage import MAX_TORQUE_NM, Stage, pressing
from safety.reasons import Reason
from safety.supervision import Heartbeat


def lost_packets(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F7: 1..25 torques do not arrive. Energy stays within its budget; from 20 on the drive brakes and all stops."""
    count = int(rng.integers(1, 26))
    stage.press(0.4)
    since = stage.desk.ticks
    budget_j = energy_j(stage.link.latest())
    stage.link.send(pressing(duration_s=5.0))
    stage.link.step(0.02)
    stage.desk.order(Error.LOST_PACKETS, count)
    outcome, ordered_ns = Outcome(0.0), stage.link.now_ns()
    try:
        reports = stage.link.step(0.3)
        outcome.expect(count < PACKETS_UNTIL_BRAKE, f"{count} lost packets, and the loop went on")
        judge_torque(outcome, reports, MAX_TORQUE_NM)
    except MotorProcessDied as error:
        outcome.expect("has braked" in str(error), str(error))
        outcome.expect(count >= PACKETS_UNTIL_BRAKE, f"{count} lost packets ended the loop: {error}")
        took_ms = (stage.link.now_ns() - ordered_ns) * 1e-6
        outcome.expect(took_ms < 500.0, f"the end was told after {took_ms:.0f} ms")
    outcome.measured = max(delivered_j(stage.desk.applied(since)) - budget_j, 0.0)
    if count >= PACKETS_UNTIL_BRAKE:
        stage.reopen()
    return outcome


def energy_j(report: Any) -> float:
    """What tank and spring hold [J]."""
    return float(report.tank_energy_j + report.spring_energy_j)


def delivered_j(applied: Any) -> float:
    """Largest energy that the drive has delivered so far [J]: sum of tau^T dq, from what it really applied."""
    if len(applied) < 2:
        return 0.0
    work = np.einsum("ti,ti->t", applied["tau_nm"][1:], np.diff(applied["q_rad"], axis=0))
    return float(np.cumsum(work).max())


def overrun(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F8: a tick takes 2..10 ms: counted, the torque is held meanwhile and goes on from there."""
    stage.press(0.4)
    before, late_ms = stage.link.status().overruns, float(rng.uniform(2.0, 10.0))
    stage.desk.order(Error.OVERRUN, 1, late_ms * 1e-3)
    reports = stage.link.step(0.1)
    outcome = Outcome(float(np.diff(reports["stamp_ns"]).max()) * 1e-6 - late_ms)
    outcome.expect(stage.link.status().overruns > before, "the overrun was not counted")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def too_many_overruns(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F8: five late ticks within a second: the supervisor holds the arm."""
    stage.press(0.4)
    for _ in range(4):
        stage.desk.order(Error.OVERRUN, 1, float(rng.uniform(0.004, 0.010)))
        stage.link.step(0.08)
    stage.desk.order(Error.OVERRUN, 1, 0.004)
    reports = stage.link.step(0.45)
    late = first(np.diff(reports["stamp_ns"]) > 3_000_000) + 1
    since_ns = int(reports["stamp_ns"][min(late, len(reports) - 1)])
    held = reports["reason"] == Reason.HEARTBEAT
    outcome = Outcome(delay_ms(reports, held, since_ns), motion_after_hold(reports))
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def stuck_sensor(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F9: the wrench stands still: soft hold."""
    contact = stage.press(0.5)
    stage.desk.order(Error.STUCK, 10_000)
    ordered_ns = stage.link.now_ns()
    reports = stage.link.step(0.8)
    outcome = Outcome(
        delay_ms(reports, reports["reason"] == Reason.SENSOR_STUCK, ordered_ns), motion_after_hold(reports)
    )
    outcome.expect(int(reports["latched"][-1]) == 0, "a sensor that stands still must not latch")
    stage.desk.order(Error.NONE)
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    truth = stage.desk.applied(stage.desk.ticks - 700)["force_n"]
    outcome.expect(bool(truth[-100:].mean() <= contact.force_n + 2.0), "the arm pressed harder, unseen")
    return outcome


def saturated_sensor(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F9: one axis shows its end of range: it counts as force, and trips."""
    stage.press(0.5)
    stage.desk.order(Error.SATURATION, 10_000, float(rng.choice([-1.0, 1.0]) * 80.0), int(rng.integers(3)))
    ordered_ns = stage.link.now_ns()
    reports = stage.link.step(0.8)
    outcome = Outcome(
        delay_ms(reports, reports["latched"] == Reason.FORCE_TRIP, ordered_ns), motion_after_hold(reports)
    )
    stage.desk.order(Error.NONE)
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def spike(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F9: one sample of 65..85 N is ignored."""
    contact = stage.press(0.5)
    stage.desk.order(Error.SATURATION, 1, float(rng.uniform(65.0, 85.0)), int(rng.integers(3)))
    reports = stage.link.step(0.2)
    outcome = Outcome(float(np.count_nonzero(reports["reason"] >= Reason.HOLD)))
    seen_n = np.linalg.norm(reports["wrench_tool"][:, :3], axis=1).max()
    outcome.expect(bool(seen_n > 64.0), f"the sample was not seen, only {seen_n:.0f} N")
    outcome.expect(bool((reports["sequence"] == contact.sequence).all()), "the command was dropped")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def biased_sensor(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F9: a step of 10 N, or a wrong sign, changes no torque: the law follows poses, not forces."""
    stage.press(0.6)
    quiet = stage.link.step(0.1)
    if rng.random() < 0.5:
        stage.desk.order(Error.BIAS, 10_000, float(rng.choice([-10.0, 10.0])), int(rng.integers(3)))
    else:
        stage.desk.order(Error.SIGN_FLIP, 10_000)
    reports = stage.link.step(0.3)
    stage.desk.order(Error.NONE)
    change = reports["tau_executed_nm"].mean(axis=0) - quiet["tau_executed_nm"].mean(axis=0)
    outcome = Outcome(float(np.abs(change).max()))
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def pushed(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F10: a wall moves into an arm that is stiff and pushes back: 60 N trip if they are reached, 80 N never are."""
    stage.press(
        0.5, stiffness=np.array([1000.0] * 3 + [60.0] * 3), damping_ratio=2.0, feedforward_wrench_base=_PUSH_BACK
    )
    since = stage.desk.ticks
    stage.desk.order(Error.PUSH, _PUSH_TICKS, 0.1)
    reports = stage.link.step(2.6)
    over = np.linalg.norm(reports["wrench_tool"][:, :3], axis=1) > 60.0
    outcome = Outcome(0.0, motion_after_hold(reports[_PUSH_TICKS + 1200 :]))
    if over.any():
        outcome.measured = delay_ms(reports, reports["latched"] != 0, int(reports["stamp_ns"][np.argmax(over)]))
    peak_n = float(stage.desk.applied(since)["force_n"].max())
    outcome.expect(peak_n < 80.0, f"peak force {peak_n:.0f} N")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


_PUSH_TICKS, _PUSH_BACK = 400, np.array([0.0, 0.0, -20.0, 0.0, 0.0, 0.0])


def undeclared_payload(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F17: 0.7 kg more than declared, in free space: the arm sags by no more than its spring says, and holds."""
    stage.clear()
    stage.link.send(pressing(-0.05, duration_s=5.0))
    before = stage.link.step(1.5)[-1]
    stage.desk.order(Error.PAYLOAD, 10_000, 0.7)
    reports = stage.link.step(1.0)
    stage.desk.order(Error.NONE)
    sag_m = before["position_base_m"][2] - reports["position_base_m"][-1, 2]
    outcome = Outcome(float(sag_m) * 1000.0)
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


SINGULAR = 0.02
"""Smallest singular value of the Jacobian below which an arm counts as singular."""


def camera_that_stops(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F4: frames at 30 Hz, then none: the arm holds; once they are back, and another command, it follows again."""
    stage.press(0.3)
    seen = []
    for _ in range(int(rng.integers(8, 16))):
        stage.link.heartbeat(Heartbeat.CAMERA)
        last_ns = time.monotonic_ns()
        seen.append(stage.link.step(1.0 / 30.0))
    reports = stage.link.step(0.6)
    outcome = Outcome(delay_ms(reports, reports["reason"] == Reason.HEARTBEAT, last_ns), motion_after_hold(reports))
    outcome.expect(bool((np.concatenate(seen)["reason"] < Reason.HOLD).all()), "held while there were frames")
    outcome.expect(outcome.measured > 250.0, "held before its limit of 300 ms")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    for _ in range(20):
        stage.link.heartbeat(Heartbeat.CAMERA)
        stage.link.step(1.0 / 30.0)
    stage.link.send(pressing(duration_s=5.0))
    stage.link.heartbeat(Heartbeat.CAMERA)
    again = stage.link.step(0.1)
    outcome.expect(bool(again["reason"][-1] < Reason.REFUSED), "frames are back, and the arm is not")
    stage.link.heartbeat(Heartbeat.CAMERA, in_use=False)
    return outcome


def joint_limit(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F20: driven towards a joint limit, or out of the singular, stretched arm: speeds stay within their limits."""
    arm = fr3()
    q = arm.home_rad.copy()
    stretched = rng.random() < 0.5
    if not stretched:
        joint = int(rng.choice([3, 5]))
        q[joint] = arm.upper_rad[joint] - 0.1 if joint == 5 else arm.upper_rad[joint] - 0.15
    else:
        q[:] = [0.0, 1.2, 0.0, rng.uniform(-0.5, -0.44), 0.0, 1.5, 0.785]
    stage.clear()
    stage.link.teleport(q)
    stage.link.reset()
    here = stage.link.latest()
    aim = here.position_base_m + rng.uniform([0.1, -0.1, -0.1], [0.3, 0.1, 0.3])
    stage.link.send(pressing(position_base_m=aim, quaternion_base_xyzw=here.quaternion_base_xyzw, duration_s=5.0))
    reports = stage.link.step(1.5)
    share = np.abs(reports["qd_rad_s"]) / arm.max_velocity_rad_s
    margin = np.minimum(reports["q_rad"] - arm.lower_rad, arm.upper_rad - reports["q_rad"]).min()
    outcome = Outcome(float(share.max()))
    outcome.expect(not stretched or smallest_singular_value(q) < SINGULAR, "the stretched arm is not singular")
    outcome.forbid(bool(margin > 0.0), f"a joint passed its limit by {-margin:.3f} rad")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def smallest_singular_value(q_rad: Any) -> float:
    """Of the Jacobian of the tool, at joint positions (7,)."""
    model, terms = ArmModel(fr3(), square_peg_tool()), ModelTerms()
    model.terms(q_rad, np.zeros(7), terms)
    return float(np.linalg.svd(terms.jacobian, compute_uv=False)[-1])
