"""Is this camera alive? Age, rate, jitter, lost frames, and a picture that stands still though its stamps go on."""

from __future__ import annotations

import math
import zlib
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from controllers.cameras.base import Frame

SOFT_S, HARD_S = 0.1, 0.3
"""Age of a frame beyond which it is late, and beyond which nobody may act on it [s]."""
FROZEN_FRAMES = 10
"""This many pictures in a row that are equal bit by bit are one and the same: the noise of a sensor makes real ones
differ, also in front of a scene at rest."""
_ROW_STEP = 4  # every fourth row is compared: a quarter of the work, and noise is in every row
_RATE_FRAMES = 30


class FrameState(IntEnum):
    """How a camera is doing, the best first."""

    FRESH = 0
    """Frames come, and they differ."""
    LATE = 1
    """The newest frame is older than the soft limit."""
    FROZEN = 2
    """Frames come, but it is always the same picture, or always the same stamp."""
    STALE = 3
    """The newest frame is older than the hard limit."""
    NONE = 4
    """There was no frame yet."""


@dataclass(frozen=True)
class FrameFigures:
    """What a FrameWatch has seen so far."""

    frames: int
    lost: int
    """Frames that the camera counted and that never arrived."""
    repeated: int
    """Frames whose picture equals that of the frame before."""
    rate_hz: float
    """Over the newest 30 frames, by their stamps; NaN before the second."""
    jitter_s: float
    """Standard deviation of the time between two stamps, over those frames [s]."""
    latency_s: float
    """From exposure to arrival of the newest frame [s]."""


class FrameWatch:
    """Looks at every frame of one camera. One thread shows it frames; any thread may ask.

    `see` returns whether a frame is a sign of life, which is what a heartbeat follows. A picture that repeats the one
    before is none, so that a frozen camera is silent from its first repeat on, and not only once it is called frozen.
    """

    def __init__(self, soft_s: float = SOFT_S, hard_s: float = HARD_S, frozen_frames: int = FROZEN_FRAMES) -> None:
        """Ages in seconds with 0 < soft_s <= hard_s; frozen_frames at least 2. Raises ValueError otherwise."""
        if not 0.0 < soft_s <= hard_s or frozen_frames < 2:
            raise ValueError(
                f"expected 0 < soft_s <= hard_s and frozen_frames >= 2, got {soft_s}, {hard_s}, {frozen_frames}"
            )
        self.soft_s, self.hard_s, self.frozen_frames = soft_s, hard_s, frozen_frames
        self._stamps_ns: deque[int] = deque(maxlen=_RATE_FRAMES)
        self._digest = -1
        self._same = self._standing = 1  # pictures, and stamps, in a row that do not differ
        self._number: int | None = None
        self._newest_ns: int | None = None
        self._figures = FrameFigures(0, 0, 0, math.nan, math.nan, math.nan)

    def see(self, frame: Frame) -> bool:
        """Takes a frame into account; returns whether it is a sign of life."""
        digest = zlib.crc32(np.ascontiguousarray(frame.color[::_ROW_STEP]).data)
        self._same = self._same + 1 if digest == self._digest else 1
        goes_on = self._newest_ns is None or frame.stamp_ns > self._newest_ns
        self._standing = 1 if goes_on else self._standing + 1
        before, self._digest = self._figures, digest
        gap = 0 if self._number is None else max(frame.number - self._number - 1, 0)
        self._number = frame.number
        if goes_on:
            self._stamps_ns.append(frame.stamp_ns)
            self._newest_ns = frame.stamp_ns
        rate_hz, jitter_s = self._pace()
        self._figures = FrameFigures(
            before.frames + 1,
            before.lost + gap,
            before.repeated + (self._same > 1),
            rate_hz,
            jitter_s,
            (frame.received_ns - frame.stamp_ns) * 1e-9,
        )
        return goes_on and self._same == 1

    @property
    def frozen(self) -> bool:
        """Whether the newest `frozen_frames` pictures are one and the same, or their stamps stand still."""
        return max(self._same, self._standing) >= self.frozen_frames

    @property
    def figures(self) -> FrameFigures:
        """What was seen so far."""
        return self._figures

    def age_s(self, now_ns: int) -> float:
        """Returns the age of the newest frame [s]; infinite before the first."""
        return math.inf if self._newest_ns is None else (now_ns - self._newest_ns) * 1e-9

    def state(self, now_ns: int) -> FrameState:
        """Returns how the camera is doing."""
        age_s = self.age_s(now_ns)
        if math.isinf(age_s):
            return FrameState.NONE
        if age_s > self.hard_s:
            return FrameState.STALE
        if self.frozen:
            return FrameState.FROZEN
        return FrameState.LATE if age_s > self.soft_s else FrameState.FRESH

    def begin_anew(self) -> None:
        """The camera was started again: its numbers begin anew, the gap until now counts as no loss."""
        self._number, self._same, self._standing = None, 1, 1
        self._digest = -1
        self._stamps_ns.clear()

    def _pace(self) -> tuple[float, float]:
        """Returns rate [Hz] and jitter [s]."""
        if len(self._stamps_ns) < 2:
            return math.nan, math.nan
        steps_s = np.diff(np.array(self._stamps_ns)) * 1e-9
        return float(1.0 / steps_s.mean()), float(steps_s.std())
