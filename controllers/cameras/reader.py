"""Reads one camera in a thread of its own and keeps its newest frame at hand.

A thread and not a process: a frame of 640x480 costs it 0.6 ms of processor time, 1.8 ms with depth drawn into the
picture, that is 2 and 5 per cent of one core at 30 Hz, and no slowing of a busy thread beside it could be measured. A
process would have to hand every picture over through shared memory, and would be one more thing that can die. Whoever
holds the interpreter's lock for 300 ms, as a compiler may, makes cameras stale: the arm then holds.

Hand-over: the newest frame is one attribute, set in one step, which the interpreter makes atomic: no lock, no reader
ever waits, no writer either. A frame owns its arrays and they are read-only, so whoever has got one may keep it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controllers.cameras.base import Camera, CameraLost, EndOfRecording, Frame, NoFrame, StaleFrame
from controllers.cameras.watch import FrameState, FrameWatch
from data.errors import UserError

OnFrame = Callable[[Frame, bool], None]
"""Called for every frame in the reader's thread, with whether it is a sign of life; to return at once."""


@dataclass(frozen=True)
class RetryConfig:
    """How often a lost camera is tried again. Raises ValueError where a number is out of bounds."""

    attempts: int = 5
    """Starts within window_s, 0..1000; the camera then stays lost until somebody starts a new reader."""
    window_s: float = 60.0
    """Window of that budget [s], > 0."""
    pause_s: float = 0.5
    """Time before each of them [s], >= 0."""

    def __post_init__(self) -> None:
        if not (0 <= self.attempts <= 1000 and self.window_s > 0.0 and self.pause_s >= 0.0):
            raise ValueError(f"expected attempts 0..1000, window_s > 0 and pause_s >= 0, got {self}")


class CameraReader:
    """One camera's thread. Any thread may ask for the newest frame."""

    def __init__(
        self,
        camera: Camera,
        on_frame: OnFrame | None = None,
        retry: RetryConfig | None = None,
        watch: FrameWatch | None = None,
    ) -> None:
        """camera: not started; from now on it belongs to this reader's thread."""
        self.name = camera.name
        self.watch = watch or FrameWatch()
        self.losses = 0
        """How often the camera was lost or did not start."""
        self._camera, self._on_frame, self._retry = camera, on_frame, retry or RetryConfig()
        self._timeout_s = max(3.0 / camera.rate_hz, self.watch.hard_s)
        self._newest: Frame | None = None
        self._error: UserError | None = None
        self._arrived, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.name}", daemon=True)

    def start(self, timeout_s: float = 10.0) -> None:
        """Opens the camera and waits for its first frame. Raises what it complains of, NoFrame where it is mute."""
        self._thread.start()
        if not self._arrived.wait(timeout_s):
            error: UserError = NoFrame(
                f"camera {self.name} gave no frame within {timeout_s:g} s: unplug it and plug it in again"
            )
        elif self._newest is None and self._error is not None:
            error = self._error
        else:
            return
        self.close()
        raise error

    def newest(self, max_age_s: float | None = None) -> Frame:
        """Returns the newest frame; it is the caller's to keep, and read-only.

        max_age_s: the oldest that is of use, the watch's hard limit by default. Raises StaleFrame where it is older or
        the picture is frozen, CameraLost where the camera is gone for good, EndOfRecording after a recording's end.
        """
        max_age_s = self.watch.hard_s if max_age_s is None else max_age_s
        frame, now_ns = self._newest, time.monotonic_ns()
        if frame is not None and frame.age_s(now_ns) <= max_age_s and not self.watch.frozen:
            return frame
        if self._error is not None:
            raise self._error
        if frame is None:
            raise StaleFrame(f"camera {self.name} has given no frame yet: start the reader, wait for the first frame")
        if self.watch.frozen:
            raise StaleFrame(
                f"camera {self.name} shows the same picture for {self.watch.frozen_frames} frames and more: it is "
                "frozen; unplug it and plug it in again"
            )
        raise StaleFrame(
            f"camera {self.name}: the newest picture is {frame.age_s(now_ns) * 1e3:.0f} ms old, usable are at most "
            f"{max_age_s * 1e3:.0f} ms; see to its cable and to the load of this machine"
        )

    def last(self) -> Frame | None:
        """Returns the newest frame however old it is, None before the first; for records, never to act on."""
        return self._newest

    @property
    def state(self) -> FrameState:
        """How the camera is doing right now."""
        return self.watch.state(time.monotonic_ns())

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the camera's stamps, in sentences."""
        return self._camera.alarms

    @property
    def error(self) -> UserError | None:
        """Why the reader gave up, None while it goes on."""
        return self._error

    def close(self) -> None:
        """Ends the thread and lets go of the camera; may be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> CameraReader:
        self.start()
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()

    # In the reader's thread

    def _run(self) -> None:
        starts: deque[float] = deque(maxlen=self._retry.attempts or 1)
        try:
            while not self._stopping.is_set():
                try:
                    self._camera.start()
                    self.watch.begin_anew()
                    self._read_until_told()
                except EndOfRecording as end:
                    self._error = end
                    return
                except UserError as error:
                    self.losses += 1
                    if not self._may_try_again(starts, error):
                        return
                finally:
                    self._camera.close()
        except BaseException as error:
            self._error = CameraLost(f"camera {self.name}: its reader failed ({error!r}); please report it")
            raise
        finally:
            self._arrived.set()

    def _read_until_told(self) -> None:
        while not self._stopping.is_set():
            try:
                frame = self._camera.read(self._timeout_s)
            except NoFrame:
                continue
            alive = self.watch.see(frame)
            self._newest = frame
            self._arrived.set()
            if self._on_frame is not None:
                self._on_frame(frame, alive)

    def _may_try_again(self, starts: deque[float], error: UserError) -> bool:
        """Pauses before another start. Returns False, with the error kept, where the budget is used up."""
        if self._newest is None or self._retry.attempts == 0:
            self._error = error  # a camera that never worked is a mistake to be told at once, not a loss
            return False
        now_s = time.monotonic()
        if len(starts) == self._retry.attempts and now_s - starts[0] <= self._retry.window_s:
            self._error = CameraLost(
                f"{error}; {self._retry.attempts} starts within {self._retry.window_s:g} s did not bring it back"
            )
            return False
        starts.append(now_s)
        return not self._stopping.wait(self._retry.pause_s)
