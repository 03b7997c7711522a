"""F1, F2, F4-F6, F13, F15 and the supervisor, with every part a ROS program of its own."""

from __future__ import annotations

import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.bench.faults.judging import Outcome, delay_ms, judge_torque, motion_after_hold
from robot_rl.bench.faults.ros_stage import RosStage
from robot_rl.bench.faults.stage import MAX_TORQUE_NM
from safety.reasons import Reason

Array = NDArray[Any]
HELD_MS = 1002.0
"""Age at which commands end in a hold, and a loop's period or two."""
AGE_LIMIT_S = 0.25
_FOREIGN_STIFFNESS = 33.0
_MOVING_M_S = 0.05
_LAST_TARGET_MS = 250.0
"""A target is renewed for as long as it counts (target_duration_s), then it ages."""


def _begin(stage: RosStage, rng: np.random.Generator) -> None:
    """The arm follows, at a random place of its sweep."""
    stage.steady()
    time.sleep(rng.uniform(0.0, 0.5))


def _judge(outcome: Outcome, reports: Array) -> Outcome:
    outcome.motion_m = max(outcome.motion_m, motion_after_hold(reports))
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    outcome.expect(bool((np.diff(reports["tick"]) > 0).all()) and len(reports) > 0, "reports are missing")
    return outcome


def _followed(reports: Array) -> Array:
    """The reports in which a command is followed."""
    return reports[(reports["reason"] < Reason.REFUSED) & (reports["sequence"] >= 0)]


def _held_after(stage: RosStage, rng: np.random.Generator, program: str, number: signal.Signals) -> Outcome:
    """Sends a signal to a program; returns how long it took to the hold."""
    _begin(stage, rng)
    sent_ns = stage.programs[program].signal(number)
    reports = stage.watch(1.6)
    after = reports[reports["stamp_ns"] > sent_ns]
    return _judge(Outcome(delay_ms(after, after["reason"] >= Reason.HOLD, sent_ns)), after)


def stop_service(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The time from the call of the service to the latch."""
    _begin(stage, rng)
    stage.side.ring.skip()
    answer = stage.order("call", "stop")
    time.sleep(0.6)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > answer["called_ns"]]
    outcome = Outcome(delay_ms(after, after["latched"] == Reason.ESTOP, answer["called_ns"]))
    outcome.expect(bool(answer["success"]), f"the service answered: {answer['message']}")
    return _judge(outcome, after)


def policy_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F1: frozen within the age limit, held within a second."""
    _begin(stage, rng)
    killed_ns = stage.programs["policy"].signal(signal.SIGKILL)
    reports = stage.watch(1.6)
    after = reports[reports["stamp_ns"] > killed_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.STALE, killed_ns))
    held_ms = delay_ms(after, after["reason"] >= Reason.HOLD, killed_ns)
    outcome.expect(held_ms <= HELD_MS, f"held after {held_ms:.0f} ms")
    return _judge(outcome, after)


def policy_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F2: held while the policy sleeps; nothing that it had decided before is executed when it wakes."""
    _begin(stage, rng)
    policy = stage.programs["policy"]
    stopped_ns = policy.signal(signal.SIGSTOP)
    asleep = stage.watch(3.0)
    woken_ns = policy.signal(signal.SIGCONT)
    awake = stage.watch(1.2)
    asleep = asleep[asleep["stamp_ns"] > stopped_ns]
    followed = _followed(awake[awake["stamp_ns"] > woken_ns + 1_000_000])
    old = stage.decided(followed) < woken_ns
    outcome = Outcome(float(len(np.unique(followed["sequence"][old]))))
    held_ms = delay_ms(asleep, asleep["reason"] >= Reason.HOLD, stopped_ns)
    outcome.expect(held_ms <= HELD_MS, f"held after {held_ms:.0f} ms")
    outcome.expect(len(followed) > 0, "the policy that woke up is not followed again")
    _judge(outcome, asleep)
    judge_torque(outcome, awake, MAX_TORQUE_NM)
    return outcome


def controller_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The process that commands the motor process sleeps: held; when it wakes, no command is too old to be followed."""
    _begin(stage, rng)
    controller = stage.programs["controller"]
    stopped_ns = controller.signal(signal.SIGSTOP)
    reports = stage.watch(1.8)
    controller.signal(signal.SIGCONT)
    awake = stage.watch(0.5)
    after = reports[reports["stamp_ns"] > stopped_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.HOLD, stopped_ns))
    followed = _followed(awake)
    outcome.expect(
        not len(followed) or float(followed["command_age_s"].max()) <= AGE_LIMIT_S, "an old command moved it"
    )
    judge_torque(outcome, awake, MAX_TORQUE_NM)
    return _judge(outcome, after)


def controller_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Nobody commands the motor process any more."""
    return _held_after(stage, rng, "controller", signal.SIGKILL)


def supervisor_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Nobody sits at the buttons any more."""
    return _held_after(stage, rng, "supervisor", signal.SIGKILL)


def supervisor_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """Held while whoever sits at the buttons sleeps; followed again afterwards."""
    outcome = _held_after(stage, rng, "supervisor", signal.SIGSTOP)
    stage.programs["supervisor"].signal(signal.SIGCONT)
    reports = stage.watch(1.2)
    outcome.expect(bool(reports["reason"][-1] < Reason.REFUSED), "it is awake, and the arm is not")
    return outcome


def camera_stops(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F4: a camera's signs of life over topics, then none."""
    _begin(stage, rng)
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
    return _judge(outcome, after)


def wall_clock_steps(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F5: the wall clock of all programs jumps by an hour, to and fro; no age notices."""
    _begin(stage, rng)
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
    return _judge(outcome, reports)


def commands_lost(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: 1 to 30 % of the commands lost, some repeated, some swapped: the arm is never held, nothing goes back."""
    _begin(stage, rng)
    drop = float(rng.uniform(0.01, 0.3))
    losses = {"seed": int(rng.integers(2**31)), "drop": drop, "repeat": 0.1, "swap": 0.1}
    stage.order("relay", losses)
    _wait_until_followed(stage)
    reports = stage.watch(3.0)
    counts = stage.order("relay", {"seed": 0, "drop": 0.0, "repeat": 0.0, "swap": 0.0})
    outcome = Outcome(_went_back(stage, reports))
    outcome.expect(counts["dropped"] > 0 and counts["passed"] > 10, f"the relay did nothing: {counts}")
    outcome.expect(not bool((reports["reason"] >= Reason.HOLD).any()), f"held at {100.0 * drop:.0f} % losses")
    return _judge(outcome, reports)


def _wait_until_followed(stage: RosStage) -> None:
    """A relay that was put in anew has to be found by the others first."""
    for _ in range(50):
        reports = stage.watch(0.2)
        if bool((reports["reason"] < Reason.REFUSED).all()):
            return
    raise RuntimeError("no command comes through the relay")


def _went_back(stage: RosStage, reports: Array) -> float:
    """Counts how often an older decision was followed after a newer one."""
    followed = _followed(reports)
    return float(np.count_nonzero(np.diff(stage.decided(followed)) < 0))


def partition(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: no command passes for 200 ms: the arm slows down at most, and is not held."""
    _begin(stage, rng)
    stage.side.ring.skip()
    stage.order("partition", 0.2)
    time.sleep(0.8)
    reports = stage.side.ring.drain()
    outcome = Outcome(float(np.count_nonzero(reports["reason"] >= Reason.HOLD)))
    outcome.expect(float(reports["command_age_s"].max()) > 0.1, "nothing was withheld")
    outcome.expect(bool(reports["reason"][-1] < Reason.REFUSED), "not followed after the partition")
    return _judge(outcome, reports)


def second_commander(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: another sender of whole commands: nothing of it is followed, and the first one goes on."""
    _begin(stage, rng)
    stage.side.ring.skip()
    stage.order("intrude", _FOREIGN_STIFFNESS)
    time.sleep(1.0)
    reports = stage.side.ring.drain()
    stage.order("intrude", None)
    foreign = np.isclose(reports["proposed_stiffness"][:, 0], _FOREIGN_STIFFNESS)
    outcome = Outcome(float(np.count_nonzero(foreign)))
    outcome.expect(not bool((reports["reason"] >= Reason.STALE).any()), "the first sender was no longer followed")
    return _judge(outcome, reports)


def second_publisher(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F6: a second publisher of target_pose: soon nothing of that topic counts, and the arm is held."""
    stage.steady()
    stage.programs["policy"].signal(signal.SIGSTOP)  # so that target_pose has the arm
    try:
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
    return _judge(outcome, after)


def critic_answers_nothing(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F13: weights whose answers are no numbers, loaded over topics: certain risk, the command is dropped."""
    _begin(stage, rng)
    stage.side.ring.skip()
    stage.programs["policy"].ask("critic blind")
    time.sleep(1.2)
    reports = stage.side.ring.drain()
    _calm_critic(stage)
    certain = reports["risk"] == 1.0
    begin = int(np.argmax(certain))
    began_ns = int(reports["stamp_ns"][begin])
    outcome = Outcome(delay_ms(reports[begin:], reports["reason"][begin:] >= Reason.REFLEX, began_ns))
    outcome.expect(bool(certain.any()), "the critic's answers were numbers")
    return _judge(outcome, reports)


def _calm_critic(stage: RosStage) -> None:
    """Another critic's weights; until they are there, every third hold is a stop, which takes a person."""
    for _ in range(10):
        stage.order("call", "reset")
        if stage.programs["policy"].ask("critic calm").isdigit():
            return
    raise RuntimeError("the critic's weights cannot be replaced")


def restart_in_motion(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F15: the controller starts over while the arm moves: reference where the arm is, no energy made."""
    _begin(stage, rng)
    stage.side.ring.skip()
    _wait_until_moving(stage)
    answer = stage.programs["policy"].ask("restart")
    reports = stage.side.ring.drain()
    outcome = Outcome(float("inf"))
    outcome.expect(answer.isdigit(), answer)
    begin = int(np.argmax(reports["sequence"] < 0))  # from here on no command is followed
    outcome.expect(begin > 0, "the controller did not start over")
    before, after = reports[max(begin - 1, 0)], reports[begin]
    outcome.measured = max(float(after["tank_energy_j"] - before["tank_energy_j"] - before["spring_energy_j"]), 0.0)
    offset_m = float(np.linalg.norm(after["executed_position_base_m"] - after["position_base_m"]))
    outcome.expect(offset_m < 1e-3, f"the reference began {1000.0 * offset_m:.1f} mm beside the arm")
    speed_m_s = float(np.linalg.norm(before["twist_base"][:3]))
    outcome.expect(speed_m_s > 0.5 * _MOVING_M_S, f"the arm did not move, only {speed_m_s:.2f} m/s")
    judge_torque(outcome, reports, MAX_TORQUE_NM)
    return outcome


def _wait_until_moving(stage: RosStage) -> None:
    for _ in range(2000):
        newest = stage.side.ring.newest()
        if newest is not None and np.linalg.norm(newest["twist_base"][0, :3]) > _MOVING_M_S:
            return
        time.sleep(0.002)
    raise RuntimeError("the arm does not move")


def emergency_stop(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F15: pressed, released, pressed, released by the service: latched from the first press to a person's reset."""
    _begin(stage, rng)
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
    outcome.expect(bool((after["latched"][first:] == Reason.ESTOP).all()), "a release of the button ended the latch")
    answer = stage.order("call", "reset")
    outcome.expect(bool(answer["success"]), f"the reset was answered: {answer['message']}")
    time.sleep(0.5)
    outcome.expect(int(stage.watch(0.2)["latched"][-1]) == 0, "still latched after a person's reset")
    return _judge(outcome, after)
