"""An environment whose pictures come from cameras that run by the clock, on a bench without a simulator."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controllers.cameras.base import CameraError, StaleFrame
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.envs.pictures import CameraPictures, fitted
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion
from safety.supervision import Heartbeat
from tests.controllers.camera_tools import HandCamera, picture, until
from tests.robot_rl.test_env_bench import BenchLink

SCENE = PegInsertion().scene()


class WatchedLink(BenchLink):
    """A bench's link that notes the heartbeats of cameras."""

    def __init__(self) -> None:
        super().__init__()
        self.beats_ns: list[int] = []
        self.in_use = True
        self.closed = False

    def heartbeat(self, source: Heartbeat, in_use: bool = True, stamp_ns: int | None = None) -> None:
        assert source == Heartbeat.CAMERA and not self.closed
        self.in_use = in_use
        if stamp_ns is not None:
            self.beats_ns.append(stamp_ns)

    def close(self) -> None:
        self.closed = True


class Bench:
    """Two cameras before an arm."""

    def __init__(self) -> None:
        self.link = WatchedLink()
        self.side, self.wrist = HandCamera("side"), HandCamera("wrist")
        self.show()
        pictures = CameraPictures(self.link, [self.wrist, self.side], SCENE.cameras)
        self.env = RobotEnv(PegInsertion(), self.link, pictures=pictures)

    def show(self, color: NDArray[np.uint8] | None = None) -> None:
        before = len(self.link.beats_ns)
        for camera in (self.side, self.wrist):
            camera.show(color)
        if before:
            until(lambda: len(self.link.beats_ns) >= before + 2)

    def step(self) -> tuple[dict[str, NDArray[np.float32]], bool, dict[str, object]]:
        observation, _, _, truncated, info = self.env.step(np.zeros(self.env.task.action.size, np.float32))
        return observation, truncated, info


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.env.close()


def test_real_cameras_stand_behind_the_keys_of_the_simulated_ones(bench: Bench) -> None:
    simulated = make_env(PegInsertion(), images=True)
    assert bench.env.observation_space == simulated.observation_space
    simulated.close()
    shown = picture(5, 48, 80)
    bench.show(shown)
    observation, info = bench.env.reset(seed=0)
    assert bench.env.observation_space.contains(observation)
    np.testing.assert_array_equal(observation["image_side"], fitted(shown, 64, 64))
    assert 0.0 < info["camera_age_s"] < 0.3


def test_a_late_picture_is_counted_and_a_stale_one_ends_the_episode_as_held(bench: Bench) -> None:
    bench.show()
    bench.env.reset(seed=0)
    bench.show()
    _, truncated, info = bench.step()
    assert (truncated, info["held"], info["camera_late"]) == (False, False, 0)
    time.sleep(0.11)
    _, truncated, info = bench.step()
    assert (truncated, info["held"], info["camera_late"]) == (False, False, 1)
    time.sleep(0.2)
    observation, truncated, info = bench.step()
    assert (truncated, info["held"], info["camera_late"]) == (True, True, 2)
    assert isinstance(info["camera_age_s"], float) and info["camera_age_s"] > 0.3
    assert bench.env.observation_space.contains(observation)
    with pytest.raises(StaleFrame, match=r"the newest picture is \d+ ms old"):
        bench.env.reset(seed=1)
    tared = len(bench.link.tared_at_m)
    bench.show()
    bench.env.reset(seed=1)
    assert len(bench.link.tared_at_m) == tared + 1
    bench.show()
    assert bench.step()[2]["camera_late"] == 0


def test_a_frozen_picture_ends_the_episode_as_well(bench: Bench) -> None:
    bench.show()
    bench.env.reset(seed=0)
    for _ in range(10):
        bench.side.show(picture(3))
    bench.wrist.show()
    until(lambda: bench.env.pictures.look().blind)
    assert bench.step()[2]["held"] is True
    with pytest.raises(StaleFrame, match="camera side shows the same picture for 10 frames and more"):
        bench.env.reset(seed=1)


def test_the_heartbeat_is_the_newest_exposure_that_every_camera_has_reached(bench: Bench) -> None:
    until(lambda: len(bench.link.beats_ns) == 1)  # with the first frame of the second camera
    assert isinstance(bench.env.pictures, CameraPictures)
    newest = {name: reader.newest(5.0).stamp_ns for name, reader in bench.env.pictures.readers.items()}
    side_ns, wrist_ns = newest["side"], newest["wrist"]
    assert bench.link.beats_ns == [min(side_ns, wrist_ns)]
    for _ in range(5):
        bench.side.show()
    until(lambda: len(bench.link.beats_ns) == 6)
    assert max(bench.link.beats_ns) <= wrist_ns  # the wrist's camera has shown nothing new, so nothing is younger
    bench.wrist.show()
    until(lambda: bench.link.beats_ns[-1] > wrist_ns)


def test_a_frozen_camera_gives_no_beat(bench: Bench) -> None:
    bench.show(picture(9))
    beats = len(bench.link.beats_ns)
    for _ in range(5):
        bench.side.show(picture(9))
        bench.wrist.show(picture(9))
    time.sleep(0.1)
    assert len(bench.link.beats_ns) == beats


def test_close_ends_the_watch_before_the_link(bench: Bench) -> None:
    bench.env.close()
    assert bench.link.closed and not bench.link.in_use
    assert bench.side.closes == bench.wrist.closes == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="expected a link with heartbeats for cameras, got BenchLink without"):
        CameraPictures(BenchLink(), [HandCamera("side")], SCENE.cameras)
    with pytest.raises(UserError, match=r"cameras of the task's scene \(there: side, wrist\), each once, got above"):
        CameraPictures(WatchedLink(), [HandCamera("above")], SCENE.cameras)
    with pytest.raises(UserError, match="each once, got side, side"):
        CameraPictures(WatchedLink(), [HandCamera("side"), HandCamera("side")], SCENE.cameras)
    with pytest.raises(UserError, match="cameras run by the clock, lock-step does not"):
        make_env(PegInsertion(), cameras=[HandCamera("side")])


def test_a_camera_that_does_not_start_leaves_none_running() -> None:
    link, side, wrist = WatchedLink(), HandCamera("side"), HandCamera("wrist")
    side.show()
    wrist.refusals = [CameraError("camera wrist: no camera is connected")]
    with pytest.raises(CameraError, match="camera wrist: no camera is connected"):
        CameraPictures(link, [side, wrist], SCENE.cameras)
    assert side.closes == wrist.closes == 1 and not link.in_use


SIZES = st.integers(1, 40)


@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 255))
def test_fitting_changes_no_even_picture(height: int, width: int, new_height: int, new_width: int, level: int) -> None:
    result = fitted(np.full((height, width, 3), level, np.uint8), new_width, new_height)
    assert result.shape == (new_height, new_width, 3) and (result == level).all()


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_whole_blocks_become_their_mean(height: int, width: int, factor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 256, (height * factor, width * factor, 3), dtype=np.uint8)
    blocks = shown.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    assert np.abs(fitted(shown, width, height) - blocks).max() <= 1.0


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48)])
def test_the_middle_is_kept_and_the_margins_are_cut(height: int, width: int) -> None:
    shown = np.zeros((height, width, 3), np.uint8)
    shown[(height - 48) // 2 : (height + 48) // 2, (width - 48) // 2 : (width + 48) // 2] = 200
    assert (fitted(shown, 12, 12) == 200).all()
