"""Makes episodes of what is heard, and puts them into the store: begin, verdict, discard. One thread uses it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from std_msgs.msg import UInt8MultiArray

from controllers.description.geometry import Pose
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.tasks.base import Task
from robot_rl.training.reported_episode import ReportedEpisode
from ros_nodes.arm_messages import pose_of
from ros_nodes.recorder_ears import Heard, parsed
from ros_nodes.recorder_images import Shelf
from ros_nodes.wire import MalformedMessage, unpack
from safety.reasons import Reason

BASE_FRAME = "base"
_BEFORE_TICKS, _NEEDED_TICKS = 60, 50
"""Reports kept from before an episode: the wrench of its first observation is the mean over the second number."""
_SILENCE_S = 0.5


class Desk:
    """The episodes of one arm."""

    def __init__(self, task: Task, store: EpisodeStore, shelves: Mapping[str, Shelf], notes: Mapping[str, Any]) -> None:
        """shelves: by camera. notes: kept in the info of every episode."""
        self._task, self._store, self._shelves, self._notes = task, store, dict(shelves), dict(notes)
        self._recent: deque[NDArray[Any]] = deque()
        self._heard_s = -np.inf
        self._newest: Any = None
        self._same_clock = True
        self._goal = fixed_goal(task)
        self._episode: ReportedEpisode | None = None
        self.lost_reports = self.malformed = self.refused = 0
        self.last = "no episode yet"
        """What became of the newest episode."""
        self.count = len(store)
        self._blocked: str | None = None

    @property
    def recording(self) -> bool:
        """Whether an episode is in progress."""
        return self._episode is not None

    @property
    def steps(self) -> int:
        """Returns the decisions of the episode in progress."""
        return self._episode.steps if self._episode else 0

    @property
    def heard_until_ns(self) -> int:
        """Returns the time of the newest tick report, on the motor's clock."""
        return 0 if self._newest is None else int(self._newest["stamp_ns"])

    # What is heard

    def take_goal(self, heard: Heard) -> None:
        """The goal as it is observed, of the episodes to come."""
        try:
            self._goal = Pose(*pose_of(parsed(heard.data, PoseStamped), BASE_FRAME))
        except MalformedMessage:
            self.malformed += 1

    def take_picture(self, camera: str, heard: Heard) -> None:
        """A picture of one of the cameras."""
        try:
            self._shelves[camera].put(heard)
        except MalformedMessage:
            self.malformed += 1
            return
        self._go_on(lambda episode: episode.settle())

    def take_reports(self, heard: Heard) -> None:
        """A batch of tick reports."""
        try:
            parcel = unpack("report", parsed(heard.data, UInt8MultiArray))
        except MalformedMessage:
            self.malformed += 1
            return
        reports = parcel.records
        gaps = np.diff(
            reports["tick"], prepend=reports["tick"][0] - 1 if self._newest is None else self._newest["tick"]
        )
        if (gaps < 1).any():
            self._recent.clear()  # the motor process started over
        else:
            self.lost_reports += int(gaps.sum()) - len(gaps)
        self._newest, self._same_clock = reports[-1], parcel.same_clock
        self._heard_s = time.monotonic()
        self._recent.append(reports)
        while sum(map(len, self._recent)) - len(self._recent[0]) >= _BEFORE_TICKS:
            self._recent.popleft()
        self._go_on(lambda episode: episode.add(reports))

    def _go_on(self, work: Any) -> None:
        """Lets the episode in progress have something; stores it once the task has ended it."""
        episode = self._episode
        if episode is None:
            return
        try:
            work(episode)
            if episode.over:
                episode.settle()
                if episode.settled:
                    self._keep(episode, None)
        except UserError as error:
            self._refuse(str(error))

    # What a person, or a program, says

    def start(self) -> str:
        """Begins an episode; returns words. Raises UserError where none can begin."""
        if self._blocked is not None:
            raise UserError(self._blocked)
        if self._episode is not None:
            raise UserError("an episode is in progress: end it by success, failure or discard first")
        if time.monotonic() - self._heard_s > _SILENCE_S or sum(map(len, self._recent)) < _NEEDED_TICKS:
            raise UserError("no tick reports come on motor/reports: start the controller node in this namespace first")
        if self._goal is None:
            raise UserError(
                f"task {self._task.name} has another goal each time: whoever resets the arm publishes the observed one "
                "on recorder/goal (geometry_msgs/PoseStamped, frame base), and then asks for an episode"
            )
        if self._newest["reason"] >= Reason.LATCHED:
            raise UserError("the arm is latched: reset it, then record")
        if self._shelves and not self._same_clock:
            raise UserError("the motor process runs on another machine, whose clock says nothing about pictures here")
        blind = [name for name, shelf in self._shelves.items() if not shelf.sees(time.monotonic_ns())]
        if blind:
            raise UserError(f"no pictures of camera {', '.join(blind)} come: start the camera, see its topic")
        reports = np.concatenate(self._recent)
        self._episode = ReportedEpisode(self._task, self._store.spec, self._goal, reports, self._look)
        self.last = f"episode {self.count} in progress"
        return f"episode {self.count} begins"

    def end(self, verdict: bool | None) -> str:
        """Ends the episode in progress and stores it; returns words. Raises UserError where it is not kept."""
        episode = self._episode
        if episode is None:
            raise UserError(f"no episode is in progress ({self.last})")
        try:
            return self._keep(episode, verdict)
        except UserError as error:
            self._refuse(str(error))
            raise

    def discard(self) -> str:
        """Drops the episode in progress; returns words. Raises UserError where there is none."""
        if self._episode is None:
            raise UserError(f"no episode is in progress ({self.last})")
        self._episode, self.last = None, f"episode {self.count} discarded"
        return self.last

    def block(self, why: str) -> str:
        """Nothing is recorded any more: the episode in progress is dropped, none begins; returns words."""
        self._blocked = why
        if self._episode is not None:
            self._refuse(why)
        return self.last

    def _keep(self, episode: ReportedEpisode, verdict: bool | None) -> str:
        finished = episode.finish(verdict, self._notes)
        try:
            number = self._store.append(finished)  # on the disk when this returns
        except OSError as error:
            raise UserError(f"the store could not be written ({error}): look after the disk") from error
        self._episode, self.count = None, number + 1
        outcome = "success" if finished.success else "no success"
        self.last = f"episode {number} stored: {len(finished)} steps, {outcome}"
        return self.last

    def _refuse(self, why: str) -> None:
        self._episode = None
        self.refused += 1
        self.last = f"episode {self.count} not kept: {why}"

    def _look(self, stamp_ns: int, last: bool) -> tuple[dict[str, Any], dict[str, float]] | None:
        now_ns = 2**62 if last else int(self._newest["stamp_ns"])
        found = {name: shelf.look(stamp_ns, now_ns) for name, shelf in self._shelves.items()}
        if any(item is None for item in found.values()):
            return None
        seen = {name: item for name, item in found.items() if item is not None}
        return (
            {f"image_{name}": picture for name, (picture, _) in seen.items()},
            {name: age_s for name, (_, age_s) in seen.items()},
        )


def fixed_goal(task: Task) -> Pose | None:
    """Returns the goal of a task that always has the same one, such as a taught one; None where chance decides."""
    goals = [task.draw(np.random.default_rng(seed)).T_base_goal for seed in range(3)]
    same = all(max(goals[0].distance(other)) < 1e-9 for other in goals[1:])
    return goals[0] if same else None
