"""The thread that reads a camera: newest frame, losses, retries, and no old picture for a new one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from controllers.cameras.base import CameraError, CameraLost, EndOfRecording, Frame, NoFrame, StaleFrame
from controllers.cameras.reader import CameraReader, RetryConfig
from controllers.cameras.watch import FrameState
from tests.controllers.camera_tools import HandCamera, picture, until

QUICK = RetryConfig(attempts=2, window_s=60.0, pause_s=0.0)


@pytest.fixture
def camera() -> HandCamera:
    return HandCamera()


@pytest.fixture
def reader(camera: HandCamera) -> Iterator[CameraReader]:
    with_reader = CameraReader(camera, retry=QUICK)
    yield with_reader
    with_reader.close()


def test_the_newest_frame_is_at_hand_and_every_frame_is_told(camera: HandCamera) -> None:
    told: list[tuple[Frame, bool]] = []
    reader = CameraReader(camera, lambda frame, alive: told.append((frame, alive)))
    camera.show()
    reader.start()
    for _ in range(20):
        camera.show()
    until(lambda: len(told) == 21)
    newest = reader.newest()
    assert newest is told[-1][0] and newest.number == 21
    assert all(alive for _, alive in told)
    assert [after.number - before.number for (before, _), (after, _) in pairwise(told)] == [1] * 20
    assert reader.state == FrameState.FRESH and reader.watch.figures.lost == 0
    reader.close()
    reader.close()
    assert camera.closes == 1


def test_an_old_picture_is_refused_but_can_be_looked_at(camera: HandCamera, reader: CameraReader) -> None:
    camera.show()
    reader.start()
    assert reader.newest(0.2).number == 1
    time.sleep(0.21)
    with pytest.raises(
        StaleFrame, match=r"camera hand: the newest picture is \d{3,} ms old, usable are at most 200 ms"
    ):
        reader.newest(0.2)
    camera.show()
    until(lambda: (last := reader.last()) is not None and last.number == 2)
    assert reader.newest().number == 2  # 300 ms by default
    until(lambda: reader.state == FrameState.STALE)
    with pytest.raises(StaleFrame, match="usable are at most 300 ms; see to its cable"):
        reader.newest()
    last = reader.last()
    assert last is not None and last.number == 2


def test_a_frozen_picture_is_refused_though_its_stamps_are_fresh(camera: HandCamera) -> None:
    beats: list[bool] = []
    reader = CameraReader(camera, lambda frame, alive: beats.append(alive))
    for _ in range(12):
        camera.show(picture(1))
    reader.start()
    until(lambda: len(beats) == 12)
    assert beats == [True] + [False] * 11
    with pytest.raises(StaleFrame, match="camera hand shows the same picture for 10 frames and more: it is frozen"):
        reader.newest()
    assert reader.state == FrameState.FROZEN
    camera.show(picture(2))
    until(lambda: len(beats) == 13)
    assert beats[-1] and reader.newest().number == 13
    reader.close()


def test_a_camera_unplugged_in_the_middle_is_tried_again_and_goes_on(camera: HandCamera, reader: CameraReader) -> None:
    camera.show()
    reader.start()
    camera.refusals = [CameraLost("camera hand: no camera is connected")]
    camera.unplug()
    until(lambda: camera.starts == 3)  # the first, one refused, one that works
    camera.show()
    until(lambda: reader.newest().number == 2)
    assert (reader.losses, reader.error) == (2, None)
    assert camera.closes == 2


def test_a_budget_of_retries_ends_and_says_why(camera: HandCamera, reader: CameraReader) -> None:
    camera.show()
    reader.start()
    for _ in range(3):
        camera.unplug()
    until(lambda: reader.error is not None)
    time.sleep(0.31)
    with pytest.raises(CameraLost, match="was unplugged: plug it in again; 2 starts within 60 s did not bring it back"):
        reader.newest()
    assert camera.starts == 3 and camera.closes == 3


def test_a_camera_that_never_worked_is_told_at_once(camera: HandCamera, reader: CameraReader) -> None:
    camera.refusals = [CameraError("camera hand: no camera with serial number 5, connected are 4")]
    with pytest.raises(CameraError, match="no camera with serial number 5, connected are 4"):
        reader.start()
    assert (camera.starts, camera.closes) == (1, 1)


def test_a_mute_camera_does_not_start(camera: HandCamera, reader: CameraReader) -> None:
    with pytest.raises(NoFrame, match="camera hand gave no frame within 0.4 s"):
        reader.start(timeout_s=0.4)
    assert camera.closes == 1


def test_the_end_of_a_recording_is_no_loss(camera: HandCamera, reader: CameraReader) -> None:
    camera.show(age_s=0.25)
    camera.fail(EndOfRecording("camera hand: the recording has been played to its end"))
    reader.start()
    until(lambda: reader.error is not None)
    until(lambda: reader.state == FrameState.STALE)
    with pytest.raises(EndOfRecording, match="played to its end"):
        reader.newest()
    assert reader.losses == 0 and camera.starts == 1


def test_before_the_first_frame_there_is_none(camera: HandCamera) -> None:
    reader = CameraReader(camera)
    assert reader.last() is None and reader.state == FrameState.NONE
    with pytest.raises(StaleFrame, match="camera hand has given no frame yet"):
        reader.newest()
    with pytest.raises(ValueError, match="expected attempts 0..1000"):
        RetryConfig(attempts=-1)
