"""The RealSense driver on librealsense itself: its software device, and a file that its recorder wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.cameras.base import CameraError, CameraLost, EndOfRecording, Frame, NoFrame
from controllers.cameras.config import CameraConfig
from controllers.cameras.devices import info_of, modes_of
from controllers.cameras.library import load_realsense
from controllers.cameras.reader import CameraReader, RetryConfig
from controllers.cameras.realsense import RealSenseCamera
from controllers.cameras.software import Painting, SoftwareCamera, SoftwareDevice, TestPattern
from controllers.cameras.watch import FrameState
from data.errors import UserError
from tests.controllers.camera_tools import until

SMALL: dict[str, Any] = {"name": "side", "width_px": 160, "height_px": 120, "rate_hz": 60.0}


def device(serial: str, **settings: Any) -> SoftwareDevice:
    config = CameraConfig(**{**SMALL, **settings})
    return SoftwareDevice(config, TestPattern(config).intrinsics, serial)


def among(*devices: SoftwareDevice) -> Callable[[], list[Any]]:
    return lambda: [item for each in devices for item in each.query()]


def camera(serial: str, *devices: SoftwareDevice, **settings: Any) -> RealSenseCamera:
    return RealSenseCamera(CameraConfig(**{**SMALL, "source": f"serial:{serial}", **settings}), among(*devices))


@pytest.fixture
def started() -> Iterator[SoftwareCamera]:
    running = SoftwareCamera(CameraConfig(**SMALL, depth=True))
    running.start()
    yield running
    running.close()


def test_colour_and_depth_come_paired_aligned_and_as_copies(started: SoftwareCamera) -> None:
    frames = [started.read(1.0) for _ in range(90)]  # longer than the 39 frames after which an unset rate misleads
    assert [after.number - before.number for before, after in pairwise(frames)] == [1] * 89
    for frame in (frames[0], frames[-1]):
        assert frame.color.shape == (120, 160, 3) and not frame.color.flags.writeable
        depth_m = frame.depth_m()
        assert depth_m.shape == (120, 160)
        assert np.isnan(depth_m).mean() < 0.1 and np.nanmax(np.abs(depth_m - 1.0)) < 1e-3
        assert frame.hardware_ns is not None and frame.hardware_ns <= frame.stamp_ns <= frame.received_ns
    assert not np.array_equal(frames[0].color, frames[1].color)
    ramp = frames[-1].color[:, :, 0].mean(axis=0)
    assert ramp[0] < 30 and ramp[-1] > 220  # red grows to the right: nothing is mirrored or turned
    assert frames[-1].color[:, :, 1].mean(axis=1)[-1] > 220
    assert frames[-1].intrinsics.fx_px == pytest.approx(started.painter.intrinsics.fx_px, rel=1e-6)
    assert started.alarms == ()
    assert started.description.serial == "software" and started.description.name == "side"


def test_colour_alone_and_depth_unit() -> None:
    plain = SoftwareCamera(CameraConfig(**SMALL))
    plain.start()
    assert plain.read(1.0).depth is None
    plain.close()
    fine = SoftwareCamera(CameraConfig(**SMALL, depth=True, align=False, depth_unit_m=0.0001))
    fine.start()
    frame = fine.read(1.0)
    fine.close()
    assert frame.depth is not None and frame.depth_unit_m == pytest.approx(1e-4)
    assert frame.depth.max() == 10_000 and np.nanmax(frame.depth_m()) == pytest.approx(1.0, abs=1e-4)


def test_unplugged_in_the_middle_it_is_lost_and_plugged_in_it_goes_on() -> None:
    source = SoftwareCamera(CameraConfig(**SMALL))
    with CameraReader(source, retry=RetryConfig(attempts=50, pause_s=0.05)) as reader:
        until(lambda: reader.watch.figures.frames > 10)
        source.device.unplug()
        until(lambda: reader.state == FrameState.STALE)
        until(lambda: reader.losses >= 1)
        source.device.plug_in()
        until(lambda: reader.state == FrameState.FRESH)
        assert reader.newest(0.2).color.shape == (120, 160, 3)


def test_unplugged_the_driver_says_so_in_a_sentence(started: SoftwareCamera) -> None:
    started.read(1.0)
    started.device.unplug()
    with pytest.raises(CameraLost, match=r"^camera side \(software\) was unplugged: plug it in again$"):
        for _ in range(100):
            started.read(0.05)


def test_a_device_that_is_there_but_silent_is_lost_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = camera("1", device("1"))
    silent.start()
    with pytest.raises(NoFrame, match="camera side gave no frame within 20 ms"):
        silent.read(0.02)
    monkeypatch.setattr("controllers.cameras.realsense.SILENT_S", 0.05)
    time.sleep(0.05)
    with pytest.raises(
        CameraLost, match=r"camera side \(1\) is connected but has given nothing for 0\.\d s: plug it in"
    ):
        silent.read(0.02)
    silent.close()
    silent.close()
    with pytest.raises(CameraLost, match="is not started"):
        silent.read(0.02)


@pytest.mark.parametrize(
    ("serials", "settings", "message"),
    [
        ((), {}, "no camera is connected, expected serial number 1: plug it into a USB 3 port, look at udev's rules"),
        (("2", "3"), {}, "no camera with serial number 1, connected are 2, 3: .* or set source=serial:2"),
        (("1", "1"), {}, "2 connected cameras have serial number 1: unplug all but the one that is meant"),
        (("1",), {"width_px": 1000}, "has no color of 1000x120@60, it offers 160x120@60: choose one of these"),
        (("1",), {"rate_hz": 90.0}, "has no color of 160x120@90, it offers 160x120@60: choose one of these"),
        (("1",), {"depth": True}, "has no depth of 160x120@60, it offers none at all: choose one of these"),
    ],
)
def test_what_cannot_be_had_is_said_with_what_is_there(
    serials: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CameraError, match=f"camera side:? {message}"):
        camera("1", *(device(serial) for serial in serials), **settings).start()


def test_the_one_that_is_meant_is_taken() -> None:
    wanted, other = device("2"), device("1")
    reading = camera("2", other, wanted)
    reading.start()
    assert reading.description.serial == "2"
    pattern = TestPattern(CameraConfig(**SMALL))
    other.push(pattern.paint(), 1, time.monotonic_ns())
    with pytest.raises(NoFrame):
        reading.read(0.05)
    shown = pattern.paint()
    wanted.push(shown, 7, time.monotonic_ns())
    frame = reading.read(1.0)
    reading.close()
    assert frame.number == 7
    np.testing.assert_array_equal(frame.color, shown.color)


def test_exposure_is_set_in_the_sensor_s_own_unit_or_refused() -> None:
    rs, source = load_realsense(), device("1")
    sensor = source.device.query_sensors()[0]
    software = source.sensor("color")
    for option, most, usual in ((rs.option.exposure, 10_000.0, 166.0), (rs.option.enable_auto_exposure, 1.0, 1.0)):
        allowed = rs.option_range()  # whose constructor, in 2.59, takes step and default for each other
        allowed.min, allowed.max, allowed.step, allowed.default = most > 1.0, most, 1.0, usual
        software.add_option(option, allowed, True)
    automatic = camera("1", source)
    automatic.start()
    automatic.close()
    assert sensor.get_option(rs.option.enable_auto_exposure) == 1.0
    fixed = camera("1", source, exposure_ms=8.0)
    fixed.start()
    fixed.close()
    assert sensor.get_option(rs.option.enable_auto_exposure) == 0.0
    assert sensor.get_option(rs.option.exposure) == 80.0  # a colour sensor counts in 0.1 ms
    with pytest.raises(UserError, match=r"exposure_ms must be 0.1..1000 ms for this camera, got 0.05"):
        camera("1", source, exposure_ms=0.05).start()


def test_who_it_is_and_what_it_offers() -> None:
    both = device("12", depth=True)
    info = info_of(both.device)
    assert (info.serial, info.product) == ("12", "Software camera")
    assert [f"{mode.stream} {mode}" for mode in modes_of(both.device)] == ["color 160x120@60", "depth 160x120@60"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames of colour and depth, written by librealsense's own recorder."""
    rs, path = load_realsense(), tmp_path_factory.mktemp("recording") / "bench.db3"
    config = CameraConfig(**SMALL, depth=True)
    pattern = TestPattern(config)
    source = SoftwareDevice(config, pattern.intrinsics, "0815")
    recorder, begin_ns = rs.recorder(str(path), source.device), time.monotonic_ns()
    taken = rs.frame_queue(50)
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles()[0])
        sensor.start(taken)
    for number in range(1, 21):
        source.push(pattern.paint(), number, begin_ns + round(number * 1e9 / 60))
        time.sleep(1 / 60)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    return path


def test_a_recording_is_played_to_its_end_and_can_be_played_again(recording: Path) -> None:
    playing = RealSenseCamera(CameraConfig(**SMALL, source=f"file:{recording}", depth=True))
    for _ in range(2):
        playing.start()
        frames: list[Frame] = []
        with pytest.raises(EndOfRecording, match=r"camera side: the recording .*bench\.db3 has been played to its end"):
            while True:
                frames.append(playing.read(0.5))
        playing.close()
        assert 15 <= len(frames) <= 20 and frames[-1].number == 20
        assert playing.description.serial == "0815"
        assert np.nanmax(np.abs(frames[-1].depth_m() - 1.0)) < 1e-3
        assert all(frame.stamp_ns == frame.received_ns for frame in frames)


def test_what_is_no_recording_is_refused(recording: Path, tmp_path: Path) -> None:
    def start(path: Path, **settings: Any) -> None:
        RealSenseCamera(CameraConfig(**{**SMALL, "source": f"file:{path}", **settings})).start()

    with pytest.raises(CameraError, match=r"expected a recording of librealsense \(.db3\) at .*none.db3, found none"):
        start(tmp_path / "none.db3")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(CameraError, match=r"at .*old.bag, found a file of another kind: record one"):
        start(tmp_path / "old.bag")
    (tmp_path / "torn.db3").write_bytes(b"x" * 5000)
    with pytest.raises(CameraError, match="torn.db3 is no recording that can be played .* record it anew"):
        start(tmp_path / "torn.db3")
    with pytest.raises(CameraError, match="has no color of 640x120@60, it offers 160x120@60"):
        start(recording, width_px=640)


def test_a_frozen_device_gives_no_beat() -> None:
    class Frozen(TestPattern):
        def paint(self) -> Painting:
            self.held = getattr(self, "held", None) or super().paint()
            return self.held

    config, beats = CameraConfig(**SMALL), list[bool]()
    with CameraReader(SoftwareCamera(config, Frozen(config)), lambda frame, alive: beats.append(alive)) as reader:
        until(lambda: len(beats) > 15)
        assert reader.state == FrameState.FROZEN
    assert sum(beats) == 1
