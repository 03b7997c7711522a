"""Configuration of the recorder node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from robot_rl.options import Config, option

TOPICS = [
    *("motor/reports", "motor/command", "joint_states", "current_pose", "wrench", "safety_state", "robot_description"),
    *("target_pose", "target_joint", "target_wrench", "target_stiffness", "recorder/goal", "recorder/key"),
    "/diagnostics",
]
"""What is recorded unless told otherwise; the pictures of `cameras` come on top."""


@dataclass
class RecorderConfig(Config):
    """Listens to an arm: everything into bags, and episodes into a store."""

    out: str = option("runs/recorded", "Folder: `episodes.zarr` and `bags/` in it.")
    task: str = option("peg_insertion", "Task whose decisions are cut out of the tick reports.")
    variant: str = option("default", "Variant of the task.")
    task_config: dict[str, Any] = option({}, "Further settings of the task.")
    robot: str = option("mujoco", "Name of the arm, for the store's description.")
    topics: list[str] = option(TOPICS, "Topics to record, within the node's namespace unless they begin with `/`.")
    cameras: list[str] = option([""], "Pictures of episodes, each `<camera of the task's scene>=<topic of images>`.")
    bags: bool = option(True, "Whether a bag of all topics is kept.")
    image_age_limit_s: float = option(
        0.1, "An episode with a picture older than this at its observation is refused.", unit="s", low=0.005, high=5.0
    )
    queue_mb: float = option(
        1024.0, "Memory for what waits to be written; what does not fit is lost, counted and told.", unit="MB", low=1.0
    )
    flush_s: float = option(0.5, "A killed recorder loses at most this much of a bag.", unit="s", low=0.0, high=1.0)

    def camera_topics(self) -> dict[str, str]:
        """Returns the topic of each camera. Raises UserError for an entry of another form, or a camera named twice."""
        pairs = [entry.partition("=") for entry in self.cameras if entry]
        wrong = [name + sign + topic for name, sign, topic in pairs if not (name and topic)]
        if wrong or len({name for name, *_ in pairs}) < len(pairs):
            given = ", ".join(self.cameras)
            raise UserError(f"cameras needs entries such as side=camera/side/image_raw, each camera once, got {given}")
        return {name: topic for name, _, topic in pairs}
