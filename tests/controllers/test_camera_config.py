"""Settings of a camera: each mistake in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from controllers.cameras.base import Frame
from controllers.cameras.config import CameraConfig, require_different
from controllers.cameras.make import make_camera
from controllers.cameras.realsense import RealSenseCamera
from data.errors import UserError
from tests.controllers.camera_tools import LENS, frame


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "my camera"}, "a camera's name must be letters, digits, '_' or '-', got 'my camera'; rename it"),
        (
            {"source": "usb"},
            "camera a: source must be one of serial:<number>, file:<path>, software, mujoco, got 'usb'",
        ),
        ({"source": "serial:"}, "camera a: source must be one of .* got 'serial:'"),
        ({"width_px": 0}, "camera a: width_px must be 1..8192 px, got 0"),
        ({"height_px": 9000}, "camera a: height_px must be 1..8192 px, got 9000"),
        ({"rate_hz": float("nan")}, "camera a: rate_hz must be 1..300 Hz, got nan"),
        ({"rate_hz": "30"}, "camera a: rate_hz must be 1..300 Hz, got 30"),
        ({"depth_unit_m": 1.0}, "camera a: depth_unit_m must be 1e-06..0.01 m, got 1.0"),
        ({"delay_s": 1.0}, "camera a: delay_s must be 0..0.2 s, got 1.0"),
        ({"exposure_ms": 0.0}, "camera a: exposure_ms must be above 0 and at most 1000 ms, got 0.0; leave it out"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CameraConfig(**{"name": "a", **wrong})


def test_a_source_says_what_it_is() -> None:
    assert CameraConfig(name="a", source="serial:0123").serial == "0123"
    recording = CameraConfig(name="a", source="file:~/a:b.db3")
    assert recording.file is not None and recording.file.name == "a:b.db3" and recording.serial is None
    assert CameraConfig(name="a").kind == "software" and CameraConfig(name="a").file is None


def test_one_device_serves_one_name() -> None:
    first, second = (CameraConfig(name=name, source="serial:7") for name in ("side", "wrist"))
    with pytest.raises(UserError, match="cameras side and wrist both ask for serial 7: one device serves one of them"):
        require_different([first, second])
    with pytest.raises(UserError, match="two cameras are named side: give each a name of its own"):
        require_different([first, CameraConfig(name="side")])
    require_different([first, CameraConfig(name="wrist"), CameraConfig(name="above")])


def test_a_simulated_camera_needs_its_scene() -> None:
    with pytest.raises(UserError, match="source=mujoco draws a simulated scene, and there is none here"):
        make_camera(CameraConfig(name="a", source="mujoco"))
    assert isinstance(make_camera(CameraConfig(name="a", source="serial:1")), RealSenseCamera)


def test_a_frame_owns_what_it_shows() -> None:
    shown = frame(1, 10)
    with pytest.raises(ValueError, match="read-only"):
        shown.color[0, 0, 0] = 1
    with pytest.raises(ValueError, match="this frame has no depth"):
        shown.depth_m()
    assert shown.age_s(10 + 2_000_000_000) == 2.0
    with pytest.raises(ValueError, match="color needs"):
        Frame(np.zeros((4, 4), np.uint8), 1, 0, 0, LENS)
    with pytest.raises(ValueError, match="depth needs"):
        Frame(shown.color, 1, 0, 0, LENS, None, np.zeros((6, 8), np.uint16))
    deep = Frame(shown.color, 1, 0, 0, LENS, None, np.array([[0, 500]], np.uint16), 0.001)
    np.testing.assert_array_equal(deep.depth_m(), np.array([[np.nan, 0.5]], np.float32))
