"""F1, F2, F4, F13, F15 and the supervisor, with every part a ROS program of its own."""

from __future__ import annotations

import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.bench.faults.judging import Outcome, delay_ms, judge_torque, motion_after_hold
from robot_rl.bench.faults.ros_stage import RosStage, wait_for
from robot_rl.bench.faults.stage import MAX_TORQUE_NM
from safety.reasons import Reason
from safety.supervision import SupervisorState

Array = NDArray[Any]
HELD_MS = 1002.0
"""Age at which commands end in a hold, and a loop's period or two."""
AGE_LIMIT_S = 0.25
SOON_S, LATE_S = 0.9, 1.6
"""For how long a hold is watched that comes after 0.3 s, or after 1 s: its spring is let go within 0.3 s."""
_AGAIN_S, _PATIENT_S = 3.0, 10.0
"""Within this time of its cause's end an arm follows again [s]; a heartbeat must be back for 0.5 s first. On a machine
that others share, what has to be woken may take longer."""
_MOVING_M_S = 0.05
_SEED_STEP_NM = 1.0
"""An FR3 takes 1000 Nm/s."""


def begin(stage: RosStage, rng: np.random.Generator) -> None:
    """The arm follows, at a random place of its sweep."""
    stage.steady()
    time.sleep(rng.uniform(0.0, 0.5))


def judge(outcome: Outcome, reports: Array) -> Outcome:
    """Adds what holds for every fault: no motion after a hold, bounded torques, ticks in order."""
    outcome.motion_m = max(outcome.motion_m, motion_after_hold(reports))
    judge_torques(outcome, reports)
    outcome.expect(bool((np.diff(reports["tick"]) > 0).all()) and len(reports) > 0, "reports are missing")
    return outcome


def judge_torques(outcome: Outcome, reports: Array) -> None:
    """As `judge_torque`; where a program's reset seeds the controller in motion, a change of 1 Nm is let pass.

    The seed begins at the torque that was applied when the state was read, one tick before the newest.
    """
    seeds = np.flatnonzero((reports["sequence"][1:] < 0) & (reports["sequence"][:-1] >= 0)) + 1
    for part in np.split(reports, seeds):
        judge_torque(outcome, part, MAX_TORQUE_NM)
    for seed in seeds:
        step_nm = float(np.abs(np.diff(reports["tau_executed_nm"][seed - 1 : seed + 1], axis=0)).max())
        outcome.forbid(
            step_nm <= _SEED_STEP_NM, f"a torque changed by {step_nm:.2f} Nm where the controller started over"
        )


def followed(reports: Array) -> Array:
    """The reports in which a command is followed."""
    return reports[(reports["reason"] < Reason.REFUSED) & (reports["sequence"] >= 0)]


def held_after(stage: RosStage, program: str, number: signal.Signals, watched_s: float) -> Outcome:
    """Sends a signal to a program; returns how long it took to the hold."""
    stage.side.ring.skip()
    sent_ns = stage.programs[program].signal(number)
    time.sleep(watched_s)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > sent_ns]
    return judge(Outcome(delay_ms(after, after["reason"] >= Reason.HOLD, sent_ns)), after)


def _follows(reports: Array) -> bool:
    """Whether a command is followed in the newest report; not where a stall left none."""
    return len(reports) > 0 and bool(reports["reason"][-1] < Reason.REFUSED)


def expect_followed(stage: RosStage, outcome: Outcome, what: str) -> Array:
    """Waits until a command is followed again, and judges the reports until then, which are returned."""
    parts, until_s = [stage.watch(0.1)], time.monotonic() + (_AGAIN_S if stage.realtime else _PATIENT_S)
    while not _follows(parts[-1]) and time.monotonic() < until_s:
        parts.append(stage.watch(0.1))
    reports = np.concatenate(parts)
    moving = followed(reports)
    outcome.expect(len(moving) > 0, f"{what}, and the arm follows nothing")
    outcome.forbid(not len(moving) or float(moving["command_age_s"].max()) <= AGE_LIMIT_S, "an old command moved it")
    judge_torques(outcome, reports)
    return reports


def stop_service(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The time from the call of the service to the latch."""
    begin(stage, rng)
    stage.side.ring.skip()
    answer = stage.order("call", "stop")
    time.sleep(SOON_S)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > answer["called_ns"]]
    outcome = Outcome(delay_ms(after, after["latched"] == Reason.ESTOP, answer["called_ns"]))
    outcome.expect(bool(answer["success"]), f"the service answered: {answer['message']}")
    return judge(outcome, after)


def policy_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F1: frozen within the age limit, held within a second."""
    begin(stage, rng)
    stage.side.ring.skip()
    killed_ns = stage.programs["policy"].signal(signal.SIGKILL)
    time.sleep(1.6)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > killed_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.STALE, killed_ns))
    held_ms = delay_ms(after, after["reason"] >= Reason.HOLD, killed_ns)
    outcome.expect(held_ms <= HELD_MS, f"held after {held_ms:.0f} ms")
    return judge(outcome, after)


def policy_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F2: held while the policy sleeps; nothing that it had decided before is executed when it wakes."""
    begin(stage, rng)
    policy = stage.programs["policy"]
    stopped_ns = policy.signal(signal.SIGSTOP)
    asleep = stage.watch(3.0)
    woken_ns = policy.signal(signal.SIGCONT)
    awake = stage.watch(1.2)
    asleep = asleep[asleep["stamp_ns"] > stopped_ns]
    moving = followed(awake[awake["stamp_ns"] > woken_ns + 1_000_000])
    old = stage.decided(moving) < woken_ns
    outcome = Outcome(float(len(np.unique(moving["sequence"][old]))))
    held_ms = delay_ms(asleep, asleep["reason"] >= Reason.HOLD, stopped_ns)
    outcome.expect(held_ms <= HELD_MS, f"held after {held_ms:.0f} ms")
    outcome.expect(len(moving) > 0, "the policy that woke up is not followed again")
    judge(outcome, asleep)
    judge_torques(outcome, awake)
    return outcome


def controller_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The process that commands the motor process sleeps: held; when it wakes, no command is too old to be followed."""
    begin(stage, rng)
    outcome = held_after(stage, "controller", signal.SIGSTOP, LATE_S)
    stage.programs["controller"].signal(signal.SIGCONT)
    awake = stage.watch(0.5)
    moving = followed(awake)
    outcome.forbid(not len(moving) or float(moving["command_age_s"].max()) <= AGE_LIMIT_S, "an old command moved it")
    judge_torques(outcome, awake)
    return outcome


def controller_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Nobody commands the motor process any more."""
    begin(stage, rng)
    return held_after(stage, "controller", signal.SIGKILL, LATE_S)


def supervisor_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Nobody sits at the buttons any more."""
    begin(stage, rng)
    return held_after(stage, "supervisor", signal.SIGKILL, SOON_S)


def supervisor_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Held while whoever sits at the buttons sleeps; followed again afterwards."""
    begin(stage, rng)
    outcome = held_after(stage, "supervisor", signal.SIGSTOP, SOON_S)
    stage.programs["supervisor"].signal(signal.SIGCONT)
    expect_followed(stage, outcome, "the supervisor is awake")
    return outcome


def beats_stop(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F4: a camera's signs of life over topics, then none."""
    begin(stage, rng)
    stage.order("camera", True)
    seen = stage.watch(rng.uniform(0.4, 0.6))
    stage.side.ring.skip()
    last_ns = stage.order("camera", False)["last_ns"]
    time.sleep(0.7)
    reports = stage.side.ring.drain()
    stage.order("forget_camera")
    after = reports[reports["stamp_ns"] > last_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.HOLD, last_ns))
    outcome.expect(bool((seen["reason"] < Reason.HOLD).all()), "held while there were frames")
    outcome.expect(outcome.measured > 250.0, "held before its limit of 300 ms")
    return judge(outcome, after)


def critic_answers_nothing(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F13: weights whose answers are no numbers, loaded over topics: certain risk, the command is dropped."""
    begin(stage, rng)
    stage.side.ring.skip()
    stage.programs["policy"].ask("critic blind")
    time.sleep(1.2)
    reports = stage.side.ring.drain()
    _calm_critic(stage)
    certain = reports["risk"] == 1.0
    first = int(np.argmax((reports["sequence"] < 0).cumsum().astype(bool) & (reports["sequence"] >= 0)))
    began_ns = int(reports["stamp_ns"][first])
    outcome = Outcome(delay_ms(reports[first:], reports["reason"][first:] >= Reason.REFLEX, began_ns))
    outcome.expect(bool(certain.any()), "the critic's answers were numbers")
    return judge(outcome, reports)


def _calm_critic(stage: RosStage) -> None:
    """Another critic's weights; until they are there, every third hold is a stop, which takes a person."""
    for _ in range(10):
        stage.order("call", "reset")
        if stage.programs["policy"].ask("critic calm").isdigit():
            return
    raise RuntimeError("the critic's weights cannot be replaced")


def restart_in_motion(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F15: the controller starts over while the arm moves: reference where the arm is, no energy made."""
    begin(stage, rng)
    stage.side.ring.skip()
    _wait_until_moving(stage)
    answer = stage.programs["policy"].ask("restart")
    reports = stage.side.ring.drain()
    outcome = Outcome(float("inf"))
    outcome.expect(answer.isdigit(), answer)
    first = int(np.argmax(reports["sequence"] < 0))  # from here on no command is followed
    outcome.expect(first > 0, "the controller did not start over")
    before, after = reports[max(first - 1, 0)], reports[first]
    outcome.measured = max(float(after["tank_energy_j"] - before["tank_energy_j"] - before["spring_energy_j"]), 0.0)
    offset_m = float(np.linalg.norm(after["executed_position_base_m"] - after["position_base_m"]))
    outcome.expect(offset_m < 1e-3, f"the reference began {1000.0 * offset_m:.1f} mm beside the arm")
    speed_m_s = float(np.linalg.norm(before["twist_base"][:3]))
    outcome.expect(speed_m_s > 0.5 * _MOVING_M_S, f"the arm did not move, only {speed_m_s:.2f} m/s")
    judge_torques(outcome, reports)
    return outcome


def _wait_until_moving(stage: RosStage) -> None:
    """Until the arm has set out from a turning point: it goes on for a while, also if the order takes its time."""
    turned = False
    for _ in range(5000):
        newest = stage.side.ring.newest()
        speed_m_s = 0.0 if newest is None else float(np.linalg.norm(newest["twist_base"][0, :3]))
        if turned and speed_m_s > _MOVING_M_S:
            return
        turned |= speed_m_s < 0.5 * _MOVING_M_S
        time.sleep(0.002)
    raise RuntimeError("the arm does not move")


def emergency_stop(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F15: pressed, released, pressed, released by the service: latched from the first press to a person's reset."""
    begin(stage, rng)
    stage.side.ring.skip()
    pressed_ns = stage.order("call", "stop")["called_ns"]
    time.sleep(0.3)
    for button in ("release", "stop", "release"):
        stage.order("call", button)
        time.sleep(0.2)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > pressed_ns]
    outcome = Outcome(delay_ms(after, after["latched"] == Reason.ESTOP, pressed_ns))
    first = int(np.argmax(after["latched"] == Reason.ESTOP))
    outcome.forbid(bool((after["latched"][first:] == Reason.ESTOP).all()), "a release of the button ended the latch")
    answer = stage.order("call", "reset")
    outcome.expect(bool(answer["success"]), f"the reset was answered: {answer['message']}")
    free = SupervisorState.PROTECTIVE_STOP
    wait_for(lambda: stage.side.status().supervisor < free, "the end of the latch after a person's reset", _PATIENT_S)
    outcome.forbid(not stage.watch(0.2)["latched"].any(), "ticks are latched after a person's reset")
    return judge(outcome, after)
