"""`robot-rl cameras` and `robot-rl bench camera`."""

from __future__ import annotations

from typing import Any

import pytest

from controllers.cameras.config import CameraConfig
from controllers.cameras.software import SoftwareDevice, TestPattern
from robot_rl.bench import camera as bench
from robot_rl.cli.cameras import run
from robot_rl.cli.main import main
from robot_rl.config_cameras import BenchCameraConfig, CamerasConfig
from robot_rl.doctor_hardware import check_cameras


def connected(*serials: str) -> list[SoftwareDevice]:
    config = CameraConfig(name="a", width_px=64, height_px=48, depth=True)
    return [SoftwareDevice(config, TestPattern(config).intrinsics, serial) for serial in serials]


@pytest.mark.parametrize(
    ("serials", "asked", "ok", "said"),
    [
        ((), None, True, "no camera is connected: plug one into a USB 3 port"),
        ((), "12", False, "12 is not connected: plug it into a USB 3 port, and look at udev's rules for it"),
        (("12", "13"), None, True, "2 connected"),
        (("12", "13"), "12", True, "12 is connected"),
        (("12", "13"), "14", False, "14 is not connected: plug it into a USB 3 port, and look at udev's rules for it"),
        (("12", "12"), "12", False, "2 cameras have serial number 12: unplug all but the one that is meant"),
    ],
)
def test_the_list_and_its_verdict(
    serials: tuple[str, ...], asked: str | None, ok: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = connected(*serials)
    figures = run(CamerasConfig(serial=asked), lambda: [item for each in devices for item in each.query()])
    lines = capsys.readouterr().out.splitlines()
    assert (figures["ok"], lines[-1]) == (ok, said)
    assert [camera["serial"] for camera in figures["cameras"]] == list(serials)
    for camera in figures["cameras"]:
        assert camera["modes"] == {"color": ["64x48@30"], "depth": ["64x48@30"]}
    assert len(lines) == 1 + 3 * len(serials)


def test_the_command_without_a_camera(capsys: pytest.CaptureFixture[str]) -> None:
    """No test machine has the camera of this serial number."""
    assert main(["cameras", "no-such-serial", "--json"]) == 1
    assert '"ok": false' in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("depth", [False, True])
def test_the_bench_measures_the_driver(depth: bool) -> None:
    config = BenchCameraConfig(seconds=1.0, width_px=160, height_px=120, depth=depth)
    figures: dict[str, Any] = bench.run(config)
    if figures["camera_driver_max_ms"] > 100.0:  # the machine stalled: one of the two without
        figures = bench.run(config)
    assert 0.0 < figures["camera_driver_p50_ms"] <= figures["camera_driver_p99_ms"] <= figures["camera_driver_max_ms"]
    assert figures["camera_driver_rate_hz"] == pytest.approx(30.0, rel=0.2)
    assert figures["camera_frames_lost"] <= 3
    assert 0.0 < figures["camera_reader_ms_per_frame"] < 33.0


def test_the_doctor_knows_whether_the_driver_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_cameras().status == "ok" and "pyrealsense2" in check_cameras().text
    assert check_cameras(installed=False).text.startswith("no driver for RealSense cameras (needed only for them")
