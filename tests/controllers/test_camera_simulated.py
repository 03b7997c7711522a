"""The camera of a simulated scene: it shows where the arm is, at its own pace, with noise, like a real one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.cameras.base import CameraLost, NoFrame
from controllers.cameras.config import CameraConfig
from controllers.cameras.make import make_camera
from controllers.cameras.motor_feed import MotorFeed
from controllers.cameras.reader import CameraReader
from controllers.cameras.scene_feed import SceneState
from controllers.cameras.simulated import ScenePainter, SimulatedCamera
from controllers.cameras.software import SoftwareCamera
from controllers.description.fixtures import square_hole_plate
from controllers.description.fr3 import fr3
from controllers.description.geometry import Pose, look_at
from controllers.description.scene import CameraDescription, Scene
from controllers.description.tool import square_peg_tool
from controllers.robots.mujoco_arm import MujocoArm
from data.errors import UserError
from tests.controllers.camera_tools import until

PLATE = np.array([0.45, 0.0, 0.12])
SIDE = look_at(PLATE + np.array([0.22, -0.20, 0.12]), PLATE + np.array([0.0, 0.0, 0.02]))
SCENE = Scene(
    tool=square_peg_tool(),
    fixtures=(replace(square_hole_plate(0.022, T_base_fixture=Pose(PLATE)), movable=True),),
    cameras=(CameraDescription(name="side", T_base_camera=SIDE, fovy_deg=50.0),),
)
SETTINGS: dict[str, Any] = {"name": "side", "source": "mujoco", "width_px": 96, "height_px": 72}


class HandFeed:
    """An arm that stands where a test puts it."""

    def __init__(self) -> None:
        self.q_rad: NDArray[np.float64] = np.array(fr3().home_rad)
        self.fixtures: dict[str, Pose] = {}
        self.closed = 0

    def state(self) -> SceneState:
        return SceneState(time.monotonic_ns(), self.q_rad, fixtures=self.fixtures)

    def close(self) -> None:
        self.closed += 1


def simulated(feed: HandFeed, **settings: Any) -> SimulatedCamera:
    return SimulatedCamera(CameraConfig(**{**SETTINGS, **settings}), fr3(), SCENE, feed)


def test_it_shows_what_the_simulator_draws_for_the_same_joints_but_for_the_noise() -> None:
    feed, world = HandFeed(), MujocoArm(fr3(), SCENE)
    camera = simulated(feed)
    camera.start()
    for bend_rad in (0.0, 0.2):
        feed.q_rad = np.array(fr3().home_rad) + bend_rad
        world.teleport(feed.q_rad)
        drawn = world.render("side", 96, 72).astype(int)
        difference = camera.read(1.0).color.astype(int) - np.clip(drawn, 2, 253)
        assert np.abs(difference).max() <= 2 and difference.std() > 1.0
    before = camera.read(1.0).color.astype(int)
    feed.fixtures = {"plate": Pose(PLATE + np.array([0.0, 0.06, 0.0]))}
    assert np.abs(camera.read(1.0).color.astype(int) - before).max() > 50
    camera.close()
    world.stop()


def test_frames_keep_its_pace_and_an_exposure_that_was_missed_is_a_gap() -> None:
    slow, quick = simulated(HandFeed(), rate_hz=1.0), simulated(HandFeed(), rate_hz=50.0)
    slow.start()
    with pytest.raises(NoFrame, match="camera side gave no frame within 1 ms"):
        slow.read(0.001)
    slow.close()
    begin_ns = time.monotonic_ns()
    quick.start()
    first = quick.read(1.0)
    time.sleep(0.1)
    later = quick.read(1.0)
    quick.close()
    assert later.number - first.number >= 5
    for frame in (first, later):  # no exposure comes before its turn
        assert frame.stamp_ns - begin_ns >= (frame.number / 50.0) * 1e9 - 1


def test_depth_is_the_distance_along_the_optical_axis() -> None:
    camera = simulated(HandFeed(), depth=True, width_px=97, height_px=73, depth_unit_m=0.0001)
    camera.start()
    frame = camera.read(1.0)
    camera.close()
    model = MujocoArm(fr3(), SCENE)
    direction = np.ascontiguousarray(SIDE.rotation[:, 2])
    met = np.zeros(1, np.int32)
    distance_m = mujoco.mj_ray(model.model, model.data, SIDE.position_m, direction, None, 1, -1, met)
    assert frame.depth_m()[36, 48] == pytest.approx(distance_m, abs=0.003)
    focal_px = 0.5 * 73 / np.tan(np.deg2rad(25.0))
    assert (frame.intrinsics.fx_px, frame.intrinsics.cx_px, frame.intrinsics.cy_px) == (focal_px, 48.0, 36.0)


def test_it_can_be_seen_through_the_driver_of_a_real_camera() -> None:
    feed = HandFeed()
    seen = SoftwareCamera(CameraConfig(**{**SETTINGS, "source": "software"}), ScenePainter(simulated(feed)))
    with CameraReader(seen) as reader:
        until(lambda: reader.watch.figures.frames > 10)
        frame = reader.newest(1.0)
        assert frame.hardware_ns is not None and reader.watch.figures.repeated == 0
    world = MujocoArm(fr3(), SCENE)
    assert np.abs(frame.color.astype(int) - world.render("side", 96, 72).astype(int)).max() <= 4
    assert feed.closed == 1
    world.stop()


def test_a_scene_that_cannot_be_followed_is_told_at_the_start() -> None:
    feed = MotorFeed("nobody-runs-this")
    painter = ScenePainter(SimulatedCamera(CameraConfig(**SETTINGS), fr3(), SCENE, feed))
    seen = SoftwareCamera(CameraConfig(**{**SETTINGS, "source": "software"}), painter)
    with pytest.raises(CameraLost, match="no motor process named .nobody-runs-this. runs"):
        CameraReader(seen).start()


def test_a_larger_picture_than_the_scene_s_own_is_drawn() -> None:
    camera = simulated(HandFeed(), width_px=800, height_px=600)
    camera.start()
    assert camera.read(2.0).color.shape == (600, 800, 3)
    camera.close()
    with pytest.raises(CameraLost, match="camera side is not started"):
        camera.read(0.1)


def test_an_unknown_camera_and_an_absent_motor_are_told() -> None:
    with pytest.raises(
        UserError, match=r"a camera of the task's scene \(there: side\), got 'wrist'; rename the camera"
    ):
        simulated(HandFeed(), name="wrist")
    feed = MotorFeed("nobody-runs-this")
    lonely = make_camera(CameraConfig(**SETTINGS), arm=fr3(), scene=SCENE, feed=feed)
    with pytest.raises(CameraLost, match="has nothing to show: no motor process named 'nobody-runs-this' runs"):
        CameraReader(lonely).start()
