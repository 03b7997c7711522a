"""A task's environment in real time: the simulated arm in a motor process, all the way to the episode store."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.cameras.base import StaleFrame
from controllers.person import PersonSeat
from controllers.realtime import ORDINARY
from controllers.robots.mujoco_arm import MujocoArm
from controllers.shared_memory_link import MotorProcessDied, SharedMemoryLink
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.cli.main import USER_ERROR, guarded
from robot_rl.envs.make import make_env
from robot_rl.envs.pictures import CameraPictures
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.options import Config
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.training.recording import record_episode
from robot_rl.training.workplace import ArmWorkplace
from safety.supervision import Answer, ResetRefused

"""Tests share their machine: a SCHED_FIFO loop would starve the others."""


class ShortInsertion(PegInsertion):
    max_steps = 8


class Gentle:
    """Acts as nobody would who wants to insert; may kill the motor process in the middle."""

    def __init__(self, kill_pid: int | None = None) -> None:
        self._kill_pid, self._steps = kill_pid, 0

    def reset(self) -> None:
        self._steps = 0

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        self._steps += 1
        if self._kill_pid is not None and self._steps == 4:
            os.kill(self._kill_pid, signal.SIGKILL)
        return np.array([0.2, -0.1, -0.1] + [0.0] * (size - 3), np.float32)


@pytest.fixture
def env() -> Iterator[RobotEnv]:
    env = make_env(ShortInsertion(), realtime=ORDINARY)
    yield env
    env.close()


def motor_pid(env: RobotEnv) -> int:
    assert isinstance(env.link, SharedMemoryLink)
    return env.link.status().pid


def test_episodes_are_recorded_and_a_killed_motor_process_costs_only_the_one_in_flight(
    env: RobotEnv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ArmWorkplace(env).store_spec("mujoco", {})
    with EpisodeStore.create(tmp_path / "episodes", spec) as store:

        def collect(operator: Gentle, seed: int) -> None:
            episode, _ = record_episode(env, operator, store.spec, seed)
            store.append(episode)
            assert len(episode) == 8

        def killed(started: list[Config]) -> int:
            collect(Gentle(motor_pid(env)), 2)
            return 0

        collect(Gentle(), 0)
        collect(Gentle(), 1)
        before = [episode.action_executed.tobytes() for episode in store]
        assert guarded(killed) == USER_ERROR
        complaint = capsys.readouterr().err
        assert complaint.count("\n") == 1 and "is dead (killed by SIGKILL); look at the arm" in complaint
        with pytest.raises(MotorProcessDied):
            env.step(np.zeros(env.task.action.size, np.float32))
    with EpisodeStore.open(tmp_path / "episodes", writable=True) as again:
        assert [episode.action_executed.tobytes() for episode in again] == before
        assert len(before) == 2


def test_the_reset_drives_there_tares_and_takes_a_seed(env: RobotEnv) -> None:
    _, info = env.reset(seed=3)
    assert info["reset_kind"] == "automatic" and info["reset_s"] > 0.5
    position_m = env.link.latest().position_base_m
    assert np.linalg.norm(position_m - env.draw.T_base_start.position_m) < 0.005
    with pytest.raises(UserError, match="no simulator here to render"):
        env.render()
    with pytest.raises(UserError, match="cannot be put back"):
        env.snapshot()


def test_after_a_stop_the_episode_is_over_and_a_reset_waits_for_a_person(env: RobotEnv) -> None:
    env.reset(seed=4)
    assert isinstance(env.link, SharedMemoryLink)
    env.link.estop()
    _, _, terminated, truncated, info = env.step(np.zeros(env.task.action.size, np.float32))
    assert (terminated, truncated, info["held"]) == (False, True, True)
    with pytest.raises(ResetRefused, match=r"stopped \(ESTOP\): a person must reset"):
        env.reset(seed=5)
    with PersonSeat(env.link.config.motor.name) as person:
        assert person.ask_reset(0.7) == Answer.GRANTED
    env.reset(seed=5)
    assert env.step(np.zeros(env.task.action.size, np.float32))[-1]["held"] is False


def test_pictures_are_recorded_in_real_time_and_show_the_arm_of_the_motor_process(tmp_path: Path) -> None:
    env, drawn = make_env(ShortInsertion(), realtime=ORDINARY, images=True), make_env(ShortInsertion(), images=True)
    try:
        with EpisodeStore.create(tmp_path / "episodes", ArmWorkplace(env).store_spec("mujoco", {})) as store:
            episode, _ = record_episode(env, Gentle(), store.spec, 0)
            store.append(episode)
            assert store.spec.cameras == ("side", "wrist")
        assert len(episode) == 8 and episode.observations["image_wrist"].shape == (9, 64, 64, 3)
        # the same joints and the same plate, drawn in lock-step, give the same picture but for the noise of a sensor
        assert isinstance(drawn.world, MujocoArm) and isinstance(env.pictures, CameraPictures)
        for name, pose in env.draw.fixtures.items():
            drawn.world.place(name, pose)
        env.link.step(0.3)
        drawn.world.teleport(env.link.latest().q_rad)
        for camera in ("side", "wrist"):
            seen = env.pictures.readers[camera].newest().color.astype(int)
            expected = np.clip(drawn.world.render(camera, 64, 64), 2, 253)
            assert np.mean(np.abs(seen - expected) > 2) < 0.02  # edges, while the arm still creeps
    finally:
        env.close()
        drawn.close()


def test_an_arm_whose_camera_is_lost_holds_and_the_episode_ends() -> None:
    env = make_env(ShortInsertion(), realtime=ORDINARY, images=True)
    try:
        env.reset(seed=0)
        assert isinstance(env.link, SharedMemoryLink) and isinstance(env.pictures, CameraPictures)
        env.step(np.zeros(env.task.action.size, np.float32))
        assert env.link.status().hold_reason == 0
        env.pictures.readers["wrist"].close()  # the other one goes on
        last = env.pictures.readers["wrist"].last()
        assert last is not None
        while env.link.status().hold_reason == 0:
            assert last.age_s(time.monotonic_ns()) < 0.5, "expected a hold 300 ms after the last exposure"
            time.sleep(0.005)
        assert last.age_s(time.monotonic_ns()) > 0.29
        assert "CAMERA" in env.link.status().late_heartbeats
        *_, truncated, info = env.step(np.zeros(env.task.action.size, np.float32))
        assert truncated and info["held"] and info["camera_age_s"] > 0.3
        with pytest.raises(StaleFrame, match="camera wrist: the newest picture is"):
            env.reset(seed=1)
    finally:
        env.close()
