"""The newest pictures of each camera with their times, and the one that belongs to an observation."""

from __future__ import annotations

import struct
from collections import deque

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from controllers.description.scene import CameraDescription
from data.errors import UserError
from robot_rl.envs.pictures import fitted
from ros_nodes.image_messages import picture_of
from ros_nodes.recorder_ears import Heard, parsed
from ros_nodes.wire import MalformedMessage

_KEPT = 64
"""Pictures in memory, two seconds of them: still in their serialised form."""
_PLAUSIBLE_S = (-0.01, 5.0)
"""Age of a picture at its arrival; another one means that its stamp is of another clock."""


def header_stamp_ns(raw: bytes) -> int:
    """Returns the stamp that a serialised message with a header begins with [ns of the sender's ROS clock].

    Raises MalformedMessage for less than a stamp.
    """
    if len(raw) < 12:
        raise MalformedMessage(f"expected a message that begins with a header, got {len(raw)} bytes")
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class Shelf:
    """The newest pictures of one camera."""

    def __init__(self, camera: CameraDescription, age_limit_s: float, patience_s: float = 0.5) -> None:
        """patience_s: how long after an observation's time a nearer picture is waited for."""
        self.camera, self._age_limit_s, self._patience_s = camera, age_limit_s, patience_s
        self._pictures: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self.foreign = 0
        """Pictures whose stamps are of another clock."""

    def put(self, heard: Heard) -> None:
        """Takes a picture in. When it was taken follows from its age at arrival, which both clocks agree on.

        Raises MalformedMessage where it has no stamp.
        """
        age_s = 1e-9 * (heard.arrived_ns - header_stamp_ns(heard.data))
        if not _PLAUSIBLE_S[0] <= age_s <= _PLAUSIBLE_S[1]:
            self.foreign += 1
            return
        self._pictures.append((heard.monotonic_ns - round(age_s * 1e9), heard.data))

    def sees(self, now_ns: int) -> bool:
        """Tells whether pictures have come lately."""
        return bool(self._pictures) and 1e-9 * (now_ns - self._pictures[-1][0]) < self._age_limit_s + self._patience_s

    def look(self, stamp_ns: int, now_ns: int) -> tuple[NDArray[np.uint8], float] | None:
        """Returns the newest picture taken no later than an observation, and its age then [s].

        A policy that acts sees no later one either. None while a nearer one may still be on its way. Raises UserError
        where it is older than the limit.
        """
        later = bool(self._pictures) and self._pictures[-1][0] > stamp_ns
        if not later and 1e-9 * (now_ns - stamp_ns) < self._patience_s:
            return None
        earlier = [item for item in self._pictures if item[0] <= stamp_ns]
        age_s = 1e-9 * (stamp_ns - earlier[-1][0]) if earlier else np.inf
        if age_s > self._age_limit_s:
            what = f"is {age_s:.3f} s old" if earlier else "is missing"
            clock = ": its pictures have stamps of another clock" if self.foreign and not earlier else ""
            raise UserError(
                f"the picture of camera {self.camera.name} {what} at an observation, at most {self._age_limit_s:g} s "
                f"are allowed{clock}: look after the camera, then record the episode again"
            )
        return decoded(earlier[-1][1], self.camera), age_s


def decoded(raw: bytes, camera: CameraDescription) -> NDArray[np.uint8]:
    """Returns a serialised sensor_msgs/Image as RGB (height_px, width_px, 3) of the size that the scene states.

    It is cut and scaled as those of an environment are. Raises MalformedMessage for an encoding that is no colour
    picture of 8 bits, and for a picture that is not whole.
    """
    try:
        picture = picture_of(parsed(raw, Image))
    except MalformedMessage as error:
        raise MalformedMessage(f"camera {camera.name}: {error}") from error
    return fitted(picture, camera.width_px, camera.height_px)
