"""Cameras of a simulated arm in a motor process: they follow its reports as a real camera follows the light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from controllers.cameras.base import Camera
from controllers.cameras.config import CameraConfig
from controllers.cameras.motor_feed import MotorFeed
from controllers.cameras.simulated import SimulatedCamera
from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose
from controllers.description.scene import Scene
from controllers.link import MotorLink
from controllers.robots.gazebo_arm import GazeboArm
from controllers.robots.mujoco_arm import MujocoArm
from controllers.shared_memory_link import SharedMemoryLink
from robot_rl.envs.pictures import CameraPictures, DrawnPictures, Pictures


class FollowedMotor:
    """The simulator in a motor process, as an environment's world; its cameras are told where fixtures are placed."""

    def __init__(self, link: SharedMemoryLink, arm: ArmDescription, scene: Scene, rate_hz: float = 30.0) -> None:
        """rate_hz: of each camera."""
        self._link = link
        self._feeds = [MotorFeed(link.config.motor.name) for _ in scene.cameras]
        configs = [
            CameraConfig(
                name=item.name, source="mujoco", width_px=item.width_px, height_px=item.height_px, rate_hz=rate_hz
            )
            for item in scene.cameras
        ]
        self.cameras = [
            SimulatedCamera(config, arm, scene, feed) for config, feed in zip(configs, self._feeds, strict=True)
        ]

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Moves a movable fixture, for the arm and for the cameras."""
        self._link.place(fixture, T_base_fixture)
        for feed in self._feeds:
            feed.place(fixture, T_base_fixture)

    def teleport(self, q_rad: Sequence[float] | NDArray[np.float64]) -> None:
        """Sets the joints (7,) [rad] at rest."""
        self._link.teleport(q_rad)

    def tare(self) -> None:
        """Tares the wrist sensor; in free space only."""
        self._link.tare()

    def reseed(self, seed: int) -> None:
        """Restarts the random numbers of the wrist sensor."""
        self._link.reseed(seed)


SimulatedWorld = MujocoArm | GazeboArm | SharedMemoryLink | FollowedMotor


def pictures_of(
    world: SimulatedWorld, link: MotorLink, arm: ArmDescription, scene: Scene, cameras: Sequence[Camera]
) -> tuple[SimulatedWorld, Pictures]:
    """Returns the world from now on, and what an environment sees of it.

    In lock-step the world draws; in real time there are these cameras, not started yet, or, without any, those of the
    scene that follow the motor process.
    """
    if isinstance(world, MujocoArm):
        return world, DrawnPictures(world, scene.cameras)
    if not cameras and isinstance(world, SharedMemoryLink):
        world = FollowedMotor(world, arm, scene)
        cameras = world.cameras
    return world, CameraPictures(link, cameras, scene.cameras)
