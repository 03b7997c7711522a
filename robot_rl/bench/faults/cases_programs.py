"""Camera, hand, recorder and motor process stopped, killed or unplugged, each a program of its own."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.bench.faults.cases_ros import (
    AGE_LIMIT_S,
    SOON_S,
    begin,
    expect_followed,
    followed,
    held_after,
    judge,
    judge_torques,
)
from robot_rl.bench.faults.judging import Outcome, delay_ms
from robot_rl.bench.faults.ros_stage import RosStage, wait_for
from safety.reasons import Reason
from safety.supervision import Heartbeat

Array = NDArray[Any]
_FRESH_NS = 150_000_000
_START_S, _LEAVE_S = 60.0, 20.0
_WAKES_S = 1.0
"""For a program that slept and those that waited for it."""
_RESTS_M = 2e-3
"""Farther than this the arm must not go for a person who has let go of the stick."""
_STALL = "runs no tick"
"""What the controller node says of a motor process that stands still."""


def _begin_seeing(stage: RosStage, rng: np.random.Generator) -> None:
    """The arm follows, and would be held without the camera."""
    side = stage.side
    wait_for(lambda: time.monotonic_ns() - side.heard_ns(Heartbeat.CAMERA) < _FRESH_NS, "the camera", _START_S)
    begin(stage, rng)


def camera_unplugged(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """F4: the camera's device is unplugged under its node, and plugged in again: held for as long as it is away."""
    stage.restart_dead()
    _begin_seeing(stage, rng)
    stage.side.ring.skip()
    camera = stage.programs["camera"]
    unplugged_ns = int(camera.ask("unplug"))
    time.sleep(SOON_S)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > unplugged_ns]
    held = after["reason"] >= Reason.HOLD
    outcome = Outcome(delay_ms(after, held, unplugged_ns))
    outcome.expect(bool(held[int(np.argmax(held)) :].all()), "it went on without the camera")
    camera.ask("plug in")
    expect_followed(stage, outcome, "the camera is back")
    camera.end()  # of one driver's life no more than five losses a minute are forgiven
    return judge(outcome, after)


def camera_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The camera node sleeps: held; followed again when it shows new pictures."""
    stage.restart_dead()
    _begin_seeing(stage, rng)
    outcome = held_after(stage, "camera", signal.SIGSTOP, SOON_S)
    stage.programs["camera"].signal(signal.SIGCONT)
    expect_followed(stage, outcome, "the camera is awake")
    return outcome


def camera_killed(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The camera node is gone: held, until somebody starts it again."""
    stage.restart_dead()
    _begin_seeing(stage, rng)
    return held_after(stage, "camera", signal.SIGKILL, SOON_S)


def hand_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The teleoperation node sleeps with its dead-man held: held; the stick of before moves nothing when it wakes."""
    typist = stage.typist
    if typist is None:
        raise RuntimeError("this stage has no person at a keyboard")
    stage.steady()
    typist.hold("ad"[int(rng.integers(2))])
    time.sleep(rng.uniform(0.5, 1.0))
    stage.side.ring.skip()
    teleop = stage.programs["teleop"]
    stopped_ns = teleop.signal(signal.SIGSTOP)
    typist.hold("")
    time.sleep(SOON_S)
    reports = stage.side.ring.drain()
    after = reports[reports["stamp_ns"] > stopped_ns]
    outcome = Outcome(delay_ms(after, after["reason"] >= Reason.HOLD, stopped_ns))
    teleop.signal(signal.SIGCONT)
    awake = expect_followed(stage, outcome, "the hand is awake")
    moved_m = float(np.linalg.norm(np.ptp(awake["position_base_m"], axis=0)))
    outcome.expect(moved_m < _RESTS_M, f"the stick was let go, and the arm moved by {1000.0 * moved_m:.1f} mm")
    return judge(outcome, after)


def recorder_stopped_and_woken(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The recorder sleeps during an episode: awake, it holds nobody up; what it has is whole, or it says what is not.

    While it sleeps the arm usually goes on. Now and then it is held, see docs/faults.md.
    """
    begin(stage, rng)

    def begins() -> bool:
        stage.order("goal")  # again each time: the first may come before the recorder hears it
        return bool(stage.order("call", "recorder/start")["success"])

    wait_for(begins, "an episode that begins", _START_S)
    recorder = stage.programs["recorder"]
    recorder.signal(signal.SIGSTOP)
    asleep = stage.watch(float(rng.uniform(0.5, 2.5)))
    recorder.signal(signal.SIGCONT)
    told = stage.order("call", "recorder/success")
    waking = stage.watch(_WAKES_S)
    awake = stage.watch(0.5)
    outcome = Outcome(float(np.count_nonzero(awake["reason"] >= Reason.HOLD)))
    words = str(told["message"])
    expected = ("stored:",) if told["success"] else ("lost", "missing")
    outcome.expect(any(part in words for part in expected), f"the recorder said: {words}")
    return judge(outcome, np.concatenate([asleep, waking, awake]))


def motor_naps(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The motor process sleeps for less than it may: no command of before is followed when it wakes."""
    begin(stage, rng)
    stage.side.ring.skip()
    os.kill(stage.motor_pid, signal.SIGSTOP)
    time.sleep(rng.uniform(0.26, 0.4))
    woken_ns = time.monotonic_ns()
    os.kill(stage.motor_pid, signal.SIGCONT)
    reports = stage.watch(1.0)
    awake = reports[reports["stamp_ns"] > woken_ns]
    moving = followed(awake)
    outcome = Outcome(float(np.count_nonzero(moving["command_age_s"] > AGE_LIMIT_S)))
    judge(outcome, awake)
    expect_followed(stage, outcome, "the motor process is awake")
    return outcome


def motor_stalls(stage: RosStage, rng: np.random.Generator) -> Outcome:
    """The motor process sleeps on: the controller node says so and ends, and leaves no motor process behind."""
    begin(stage, rng)
    controller = stage.programs["controller"]
    before = controller.said.count(_STALL)
    stopped_ns = time.monotonic_ns()
    os.kill(stage.motor_pid, signal.SIGSTOP)
    wait_for(lambda: controller.said.count(_STALL) > before, "a word of the controller node", _START_S)
    outcome = Outcome(1e-6 * (time.monotonic_ns() - stopped_ns))
    stage.side.ring.skip()
    os.kill(stage.motor_pid, signal.SIGCONT)
    wait_for(lambda: not (controller.alive or stage.motor_lives), "the end of controller and motor process", _LEAVE_S)
    awake = stage.side.ring.drain()
    moving = followed(awake)
    outcome.forbid(not len(moving) or float(moving["command_age_s"].max()) <= AGE_LIMIT_S, "an old command moved it")
    if len(awake):
        judge_torques(outcome, awake)
    return outcome
