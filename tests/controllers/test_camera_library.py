"""The driver is an extra: without it, one sentence says what to install."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from controllers.cameras.base import CameraError
from controllers.cameras.library import load_realsense


@pytest.fixture
def anew() -> Iterator[None]:
    load_realsense.cache_clear()
    yield
    load_realsense.cache_clear()


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, anew: None) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)  # as Python itself marks a module that must not be found
    with pytest.raises(CameraError, match=r"no driver for RealSense cameras is installed: pip install .*\[realsense\]"):
        load_realsense()


@pytest.mark.parametrize("module", ["robot_rl.cli.main", "controllers.motor_process", "controllers.cameras.reader"])
def test_nobody_loads_the_driver_without_need(module: str) -> None:
    program = f"import sys, {module}; sys.exit('pyrealsense2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
