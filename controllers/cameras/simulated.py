"""A camera of the simulated scene: what a real one there would see, behind the same protocol and at its own pace.

It draws in `read`, in the thread of whoever reads it: a simulated robot then has a camera where a real one has its
driver. It shows the scene for the joints of the newest tick report, its stamp is that report's, and like a real sensor
it has noise: no two pictures are equal, even of an arm at rest.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

from controllers.robots.rendering import RENDER_ERRORS, no_rendering  # isort: skip - chooses how MuJoCo draws
import mujoco
import numpy as np
from numpy.typing import NDArray

from controllers.cameras.base import CameraLost, DeviceInfo, Frame, Intrinsics, NoFrame
from controllers.cameras.config import CameraConfig
from controllers.cameras.scene_feed import SceneFeed, SceneState
from controllers.cameras.software import Painting
from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose
from controllers.description.scene import CameraDescription, Scene
from controllers.robots.mujoco_arm import MujocoArm
from data.errors import UserError

_NOISE_LEVELS = 2
"""Noise of one colour of one pixel: even between minus and plus this many of 255 levels."""


class SimulatedCamera:
    """Draws one camera of a scene. All calls come from one thread: a drawing context belongs to its thread."""

    def __init__(self, config: CameraConfig, arm: ArmDescription, scene: Scene, feed: SceneFeed, seed: int = 0) -> None:
        """config.name is a camera of the scene; size, rate and depth are those of the config.

        Raises UserError where the scene has no camera of that name.
        """
        self.name, self.rate_hz, self.config = config.name, config.rate_hz, config
        self._arm, self.feed, self._seed = arm, feed, seed
        self._camera = replace(camera_of(scene, config.name), width_px=config.width_px, height_px=config.height_px)
        self._scene = replace(scene, cameras=(self._camera,))  # MuJoCo draws no picture larger than its scene names
        self._world: MujocoArm | None = None
        self._renderer: mujoco.Renderer | None = None
        self._begin_ns = self._number = 0
        self._placed: dict[str, Pose] = {}
        self._rng = np.random.default_rng(seed)
        # random numbers for every picture would cost as much as the picture: a random cut of twice as many
        count = 2 * config.height_px * config.width_px * 3
        self._noise = self._rng.integers(0, 2 * _NOISE_LEVELS + 1, count, dtype=np.uint8)

    @property
    def description(self) -> DeviceInfo:
        """A camera without a device."""
        return DeviceInfo(self.name, "MuJoCo", f"mujoco-{self.name}")

    @property
    def alarms(self) -> tuple[str, ...]:
        """None: its stamps are those of the reports."""
        return ()

    def start(self) -> None:
        """Builds the scene and a place to draw it. Raises RenderError where nothing can be drawn."""
        config = self.config
        self._world = MujocoArm(self._arm, self._scene, seed=self._seed)
        self._placed = {}
        try:
            self._renderer = mujoco.Renderer(self._world.model, config.height_px, config.width_px)
        except RENDER_ERRORS as error:
            raise no_rendering(error) from error
        self._begin_ns, self._number = time.monotonic_ns(), 0

    def read(self, timeout_s: float) -> Frame:
        """Waits for the next exposure and draws it; an exposure that was missed is skipped, and its number with it."""
        if self._world is None:
            raise CameraLost(f"camera {self.name} is not started: call start() first")
        period_ns = 1e9 / self.rate_hz
        now_ns = time.monotonic_ns()
        number = max(self._number + 1, math.ceil((now_ns - self._begin_ns) / period_ns))
        wait_s = (self._begin_ns + number * period_ns - now_ns) * 1e-9
        if wait_s > timeout_s:
            time.sleep(timeout_s)
            raise NoFrame(f"camera {self.name} gave no frame within {timeout_s * 1e3:.0f} ms: wait for longer")
        time.sleep(max(wait_s, 0.0))
        self._number = number
        state = self.feed.state()
        color, depth = self.draw(state)
        unit_m = self.config.depth_unit_m if depth is not None else math.nan
        return Frame(color, number, state.stamp_ns, time.monotonic_ns(), self.intrinsics, None, depth, unit_m)

    def close(self) -> None:
        """Frees the drawing context and lets go of the feed."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._world = None
        self.feed.close()

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the drawn picture: square pixels, principal point in the middle."""
        width, height = self.config.width_px, self.config.height_px
        focal_px = 0.5 * height / math.tan(math.radians(0.5 * self._camera.fovy_deg))
        return Intrinsics(focal_px, focal_px, 0.5 * (width - 1), 0.5 * (height - 1))

    def draw(self, state: SceneState) -> tuple[NDArray[np.uint8], NDArray[np.uint16] | None]:
        """Returns colour (height, width, 3) with noise, and depth (height, width) in depth units if it is wanted.

        Raises CameraLost before `start`.
        """
        world, renderer = self._world, self._renderer
        if world is None or renderer is None:
            raise CameraLost(f"camera {self.name} is not started: call start() first")
        self._pose(world, state)
        renderer.update_scene(world.data, camera=self.name)
        color = self._with_noise(renderer.render())
        if not self.config.depth:
            return color, None
        renderer.enable_depth_rendering()
        units = renderer.render() / self.config.depth_unit_m
        renderer.disable_depth_rendering()
        return color, np.where(units <= np.iinfo(np.uint16).max, units, 0.0).astype(np.uint16)

    def _pose(self, world: MujocoArm, state: SceneState) -> None:
        """Puts arm, fingers and fixtures where the state says."""
        for name, pose in state.fixtures.items():
            if self._placed.get(name) is not pose:
                world.place(name, pose)
                self._placed[name] = pose
        world.data.qpos[: len(state.q_rad)] = state.q_rad
        if self._scene.tool.gripper_range_m is not None and math.isfinite(state.gripper_m):
            first = len(state.q_rad)
            world.data.qpos[first : first + 2] = 0.5 * state.gripper_m
        mujoco.mj_kinematics(world.model, world.data)
        mujoco.mj_camlight(world.model, world.data)

    def _with_noise(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        first = int(self._rng.integers(0, len(self._noise) - picture.size))
        noise = self._noise[first : first + picture.size].reshape(picture.shape)
        room = np.clip(picture, _NOISE_LEVELS, 255 - _NOISE_LEVELS)  # so that nothing wraps around
        return room - np.uint8(_NOISE_LEVELS) + noise


def camera_of(scene: Scene, name: str) -> CameraDescription:
    """Returns the scene's camera of that name. Raises UserError with the names that there are."""
    for camera in scene.cameras:
        if camera.name == name:
            return camera
    names = ", ".join(camera.name for camera in scene.cameras) or "none"
    raise UserError(f"expected a camera of the task's scene (there: {names}), got {name!r}; rename the camera")


class ScenePainter:
    """A simulated camera as the painter of a software device: its pictures then pass librealsense's own code."""

    def __init__(self, camera: SimulatedCamera) -> None:
        self._camera = camera

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the drawn picture."""
        return self._camera.intrinsics

    def open(self) -> None:
        """Builds the scene."""
        self._camera.start()

    def paint(self) -> Painting:
        """Draws the scene as it is now."""
        return Painting(*self._camera.draw(self._camera.feed.state()))

    def close(self) -> None:
        """Frees the drawing context."""
        self._camera.close()
