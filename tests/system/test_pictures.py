"""Where nothing can be drawn: one line where pictures were asked for, and all else goes on without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.command_line import QUICKSTART, typed

pytestmark = pytest.mark.slow
BLIND = """
from dataclasses import replace
from robot_rl.tasks.peg_insertion import PegInsertion

class Blind(PegInsertion):
    name = "blind"

    def scene(self):
        return replace(super().scene(), cameras=())
"""


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MUJOCO_EGL_DEVICE_ID", "77", "rendering is not available (The MUJOCO_EGL_DEVICE_ID environment variable"),
        ("MUJOCO_GL", "nonsense", "MuJoCo does not load with MUJOCO_GL=nonsense (invalid value for"),
    ],
)
def test_pictures_without_a_rendering_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    line = "collect task=peg_insertion images=true episodes=1 out=demos.zarr"
    assert typed(line, tmp_path, status=2).complaint.startswith(expected)
    found = typed("doctor --json", tmp_path, status=1 if name == "MUJOCO_GL" else 0).figures["checks"]["rendering"]
    assert found["status"] == ("fail" if name == "MUJOCO_GL" else "warn")
    assert found["cure"]


def test_a_task_without_a_camera_is_trained_and_measured_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(BLIND)
    done = typed(QUICKSTART + " task=own:Blind", tmp_path)
    said = "no pictures: task blind has no camera: give its scene one for pictures (Scene.cameras)"
    assert said in done.out.splitlines()
    assert done.out.splitlines()[-1] == "report:  runs/q/report.html"
    assert json.loads((tmp_path / "runs/q/strips/captions.json").read_text()) == {"missing": said}
    assert said in (tmp_path / "runs/q/report.html").read_text()
    figures = typed("bench env task=own:Blind seconds=0.5 robot=mujoco --json", tmp_path).figures
    assert (figures["image_steps_per_s"], figures["image_missing"]) == (None, said.removeprefix("no pictures: "))
