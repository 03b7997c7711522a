"""Where the pictures of an observation come from: drawn by the simulator, or from cameras that run by the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from controllers.cameras.base import Camera, Frame, StaleFrame
from controllers.cameras.reader import CameraReader, OnFrame
from controllers.cameras.watch import HARD_S, SOFT_S, FrameState
from controllers.description.scene import CameraDescription
from controllers.link import MotorLink
from data.errors import UserError
from safety.supervision import Heartbeat

Picture = NDArray[np.uint8]
_PATIENCE_S = 1.0


class Look(NamedTuple):
    """One look at the scene."""

    images: dict[str, Picture]
    """`image_<camera>`: (height, width, 3)."""
    info: dict[str, Any]
    """For the info of a step."""
    blind: bool
    """Whether a picture is too old to act on: the episode is then over."""


class Pictures(Protocol):
    """What an environment sees with."""

    cameras: tuple[CameraDescription, ...]
    """Name and size of each picture."""

    def begin(self) -> None:
        """A new episode. Raises StaleFrame or CameraLost where nothing can be seen: nothing shall move then."""

    def look(self) -> Look:
        """Returns the newest pictures."""

    def close(self) -> None:
        """Lets go of the cameras; may be called twice."""


class NoPictures:
    """A blind environment."""

    cameras: tuple[CameraDescription, ...] = ()

    def begin(self) -> None:
        """Nothing to do."""

    def look(self) -> Look:
        """Returns no picture."""
        return Look({}, {}, False)

    def close(self) -> None:
        """Nothing to do."""


class DrawnPictures(NoPictures):
    """The simulator draws at the moment it is asked: no picture is ever old."""

    def __init__(self, world: Any, cameras: Sequence[CameraDescription]) -> None:
        self._world, self.cameras = world, tuple(cameras)

    def look(self) -> Look:
        """Returns what each camera sees now."""
        drawn = {
            f"image_{item.name}": self._world.render(item.name, item.width_px, item.height_px) for item in self.cameras
        }
        return Look(drawn, {}, False)


@runtime_checkable
class Watchful(Protocol):
    """A link whose motor holds when cameras give no sign of life; any thread may call it."""

    def heartbeat(self, source: Heartbeat, in_use: bool = True, stamp_ns: int | None = None) -> None:
        """A sign of life, given at stamp_ns of the motor's clock; in_use false: it is watched no longer."""


class CameraPictures:
    """Cameras that run by the clock, each in a thread of its own.

    A picture is cut to the size that the task's scene states, see `fitted`. One that is older than 100 ms is counted
    (`camera_late`), one older than 300 ms ends the episode, and beside that the motor holds by itself: the newest
    exposure that every camera has reached is the heartbeat Heartbeat.CAMERA.
    """

    def __init__(self, link: MotorLink, cameras: Sequence[Camera], described: Sequence[CameraDescription]) -> None:
        """cameras: not started; described: those of the task's scene. Waits until each has given a frame.

        Raises UserError for a camera that the scene does not know, for a link without heartbeats, and for what a camera
        complains of.
        """
        if not isinstance(link, Watchful):
            raise UserError(
                f"expected a link with heartbeats for cameras, got {type(link).__name__} without: nothing would stop "
                "an arm whose camera was unplugged; give the link the method `heartbeat`"
            )
        self.cameras = _matched(cameras, described)
        self._link = link
        self._seen_ns: dict[str, int] = {}
        self._late = 0
        self.readers = {camera.name: CameraReader(camera, self._beat_for(camera.name)) for camera in cameras}
        try:
            for reader in self.readers.values():
                reader.start()
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """See Pictures.begin; a camera that was starved, as by a compiler in this process, is given a second."""
        self._late = 0
        deadline_s = time.monotonic() + _PATIENCE_S
        for reader in self.readers.values():
            while reader.state >= FrameState.FROZEN and reader.error is None and time.monotonic() < deadline_s:
                time.sleep(0.01)
            reader.newest(HARD_S)

    def look(self) -> Look:
        """Returns the newest picture of each camera, and the age of the oldest of them.

        Blind, they are the last there were: an observation that ends an episode, and that nobody acts on.
        """
        frames = {name: self._last(name) for name in self.readers}
        now_ns = time.monotonic_ns()
        age_s = max(frame.age_s(now_ns) for frame in frames.values())
        frozen = any(reader.watch.frozen for reader in self.readers.values())
        self._late += age_s > SOFT_S
        images = {
            f"image_{item.name}": fitted(frames[item.name].color, item.width_px, item.height_px)
            for item in self.cameras
        }
        return Look(images, {"camera_age_s": age_s, "camera_late": self._late}, frozen or age_s > HARD_S)

    def close(self) -> None:
        """Ends the threads; the motor then watches no camera."""
        for reader in self.readers.values():
            reader.close()
        if self.readers and isinstance(self._link, Watchful):
            self._link.heartbeat(Heartbeat.CAMERA, in_use=False)
        self.readers = {}

    def _last(self, name: str) -> Frame:
        frame = self.readers[name].last()
        if frame is None:
            raise StaleFrame(f"camera {name} has given no frame yet: wait for the first")
        return frame

    def _beat_for(self, name: str) -> OnFrame:
        """Returns what a reader calls for every frame of a camera, in the reader's thread."""

        def beat(frame: Frame, alive: bool) -> None:
            if not alive:
                return
            self._seen_ns[name] = frame.stamp_ns
            seen = list(self._seen_ns.values())
            if len(seen) == len(self.cameras) and isinstance(self._link, Watchful):
                self._link.heartbeat(Heartbeat.CAMERA, stamp_ns=min(seen))

        return beat


def fitted(picture: Picture, width_px: int, height_px: int) -> Picture:
    """Returns a picture (h, w, 3) as (height_px, width_px, 3).

    The largest part about the middle that has the wished proportions is kept; each new pixel is the mean over the area
    that it covers there.
    """
    height, width = picture.shape[:2]
    scale = min(width / width_px, height / height_px)
    margin_x, margin_y = 0.5 * (width - scale * width_px), 0.5 * (height - scale * height_px)
    box = (margin_x, margin_y, width - margin_x, height - margin_y)
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.array(image.resize((width_px, height_px), Image.Resampling.BOX, box=box))


def _matched(cameras: Sequence[Camera], described: Sequence[CameraDescription]) -> tuple[CameraDescription, ...]:
    """Returns the scene's description of each camera, in the scene's order."""
    names = [camera.name for camera in cameras]
    known = [item.name for item in described]
    unknown = sorted(set(names) - set(known))
    if unknown or len(set(names)) != len(names) or not names:
        raise UserError(
            f"expected one or more cameras of the task's scene (there: {', '.join(known) or 'none'}), each once, got "
            f"{', '.join(names) or 'none'}: give each the name that the scene has for it"
        )
    return tuple(item for item in described if item.name in names)
