"""F11, F12, F15: tank, pump, restart, emergency stop."""

from __future__ import annotations

import numpy as np

from controllers.person import PersonSeat
from robot_rl.bench.faults.cases_robot import delivered_j, energy_j
from robot_rl.bench.faults.judging import Outcome, delay_ms, force_n, judge_torque, motion_after_hold
from robot_rl.bench.faults.stage import MAX_TORQUE_NM, Stage, pressing
from safety.reasons import Reason
from safety.supervision import Answer, ResetRefused

_SMALL_STEP_M = 0.25 * 1e-3 + 1e-6
"""The speed limit of the reference over one tick."""


def empty_tank(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F11: the tank runs dry while the tool presses: costly moves stop, the reference does not jump."""
    stage.clear()
    stage.link.send(pressing(0.05, duration_s=5.0, stiffness=np.array([rng.uniform(600.0, 1000.0)] * 3 + [60.0] * 3)))
    reports = stage.link.step(1.0)
    empty = reports["reason"] == Reason.TANK_EMPTY
    short = reports["reference_share"] < 1.0
    outcome = Outcome(0.0)
    outcome.expect(bool(empty.any() or short.any()), "the tank did not run dry")
    jumps = np.linalg.norm(np.diff(reports["executed_position_base_m"], axis=0), axis=1)
    forces = force_n(reports)
    begin = int(np.argmax(empty | short))
    outcome.measured = max(float(forces[begin:].max() - _wished_n(reports)), 0.0)
    outcome.expect(
        bool(jumps[begin:].max() <= 2.0 * _SMALL_STEP_M), f"the reference jumped by {jumps.max() * 1e3:.1f} mm"
    )
    outcome.forbid(bool(reports["tank_energy_j"].min() >= -1e-9), "the tank became negative")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def _wished_n(reports: np.ndarray) -> float:
    """The force that the whole leash would press with [N]."""
    return float(reports["proposed_stiffness"][-1, 2] * 0.02)


def pump(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F12: stiffness 100 and 3000 N/m in turn, a hundred times a second: never more than the budget."""
    stage.clear()
    budget_j, since = energy_j(stage.link.latest()), stage.desk.ticks
    parts = []
    for beat in range(100):
        stiff = 3000.0 if beat % 2 else 100.0
        aim = rng.uniform(-0.05, 0.05, 3)
        command = pressing(-0.08, stiffness=np.array([stiff] * 3 + [40.0] * 3), damping_ratio=0.1)
        stage.link.send(
            pressing(
                -0.08, stiffness=command.stiffness, damping_ratio=0.1, position_base_m=command.position_base_m + aim
            )
        )
        parts.append(stage.link.step(0.01))
    reports = np.concatenate(parts)
    outcome = Outcome(max(delivered_j(stage.desk.applied(since)) - budget_j, 0.0))
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def restart_in_motion(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F15: the controller starts over while the arm moves: reference where the arm is, the tank as it was."""
    stage.clear()
    stage.link.send(pressing(-0.2, duration_s=5.0))
    stage.link.step(rng.uniform(0.3, 0.5))
    before = stage.link.latest()
    spring_j, tank_j = before.spring_energy_j, before.tank_energy_j
    stage.link.reset()
    reports = stage.link.step(0.6)
    outcome = Outcome(max(float(reports["tank_energy_j"][0] - tank_j - spring_j), 0.0))
    offset = reports["executed_position_base_m"][-1] - reports["executed_position_base_m"][0]
    outcome.motion_m = float(np.linalg.norm(offset))
    speed_m_s = float(np.linalg.norm(before.twist_base[:3]))
    outcome.expect(speed_m_s > 0.05, f"the arm did not move, only {speed_m_s:.2f} m/s")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def emergency_stop(stage: Stage, rng: np.random.Generator) -> Outcome:
    """F15: pressed, released, pressed in motion: latched at the first press, left only by a person's reset."""
    stage.clear()
    stage.link.send(pressing(-0.2, duration_s=5.0))
    stage.link.step(rng.uniform(0.3, 0.5))
    with PersonSeat(stage.link.config.motor.name) as person:
        pressed_ns = stage.link.now_ns()
        person.estop(True)
        reports = stage.link.step(0.6)
        outcome = Outcome(delay_ms(reports, reports["latched"] == Reason.ESTOP, pressed_ns), motion_after_hold(reports))
        for pressed in (False, True, False):
            person.estop(pressed)
            stage.link.send(pressing(-0.2, duration_s=5.0))
            later = stage.link.step(0.1)
            outcome.forbid(bool((later["latched"] == Reason.ESTOP).all()), "a release of the button ended the latch")
            outcome.motion_m = max(outcome.motion_m, motion_after_hold(later))
        try:
            stage.link.reset()
            outcome.forbid(False, "a program ended the latch by itself")
        except ResetRefused:
            pass
        outcome.expect(person.hold_and_release(0.2) == Answer.TOO_SHORT, "a short press was taken for a reset")
        outcome.expect(person.ask_reset(0.6) == Answer.GRANTED, "a person's reset was not granted")
    stage.link.reset()
    outcome.expect(int(stage.link.latest().latched) == 0, "still latched after the reset")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome
