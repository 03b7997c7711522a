"""What may stand behind an environment besides the arm: a sensor to tare, a memory to put back, cameras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.description.scene import CameraDescription
from controllers.link import MotorLink
from controllers.robots.rendering import RenderError
from data.errors import UserError
from robot_rl.tasks.base import Task


@runtime_checkable
class Tareable(Protocol):
    """A link, or a simulator, that can tare the wrist sensor."""

    def tare(self) -> None:
        """Takes the sensor's reading as zero; called in free space."""


@runtime_checkable
class Restorable(Protocol):
    """A link whose memory can be put back: that of a simulated arm in lock-step."""

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Returns the memory as arrays."""

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts it back."""


def with_pictures(task: Task, cameras: tuple[CameraDescription, ...]) -> spaces.Dict:
    """Returns the task's observation space with a picture `image_<name>` (height, width, 3) of each camera."""
    pictures = {
        f"image_{camera.name}": spaces.Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8)
        for camera in cameras
    }
    return spaces.Dict({**task.observation_space().spaces, **pictures})


def tareable(world: Any, link: MotorLink) -> Tareable:
    """Returns what tares the wrist sensor: the simulated world, else the link. Raises UserError if neither can."""
    for candidate in (world, link):
        if isinstance(candidate, Tareable):
            return candidate
    raise UserError(
        f"expected a link with a `tare` for the wrist sensor, got {type(link).__name__} without: the force of "
        "every episode would be off by the sensor's bias; give the link the method"
    )


def first_camera(task: Task) -> str:
    """Returns the name of the camera that pictures of a task are taken with. Raises RenderError if it has none."""
    cameras = task.scene().cameras
    if not cameras:
        raise RenderError(f"task {task.name} has no camera: give its scene one for pictures (Scene.cameras)")
    return str(cameras[0].name)
