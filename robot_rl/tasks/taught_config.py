"""Everything that makes a taught task, as it is stored: see docs/teach.md for what each number means to an operator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from data.errors import UserError
from robot_rl.tasks.actions import GRIPPER_NAME
from robot_rl.tasks.taught_parts import (
    StartBox,
    SuccessRule,
    TaughtAction,
    TaughtLimits,
    TaughtPlate,
    TaughtPose,
    Workspace,
    tilt_rad,
)
from robot_rl.tasks.taught_tool import TaughtTool, Vector

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class TaughtConfig:
    """One taught task. All parts must fit each other; raises UserError for what does not."""

    name: str
    """Name: small letters, digits and underscores."""
    text: str
    """One line: what the robot shall do."""
    goal: TaughtPose
    """Pose of the control point at the goal, base frame."""
    starts: StartBox
    """Where episodes start, in the frame of the goal."""
    workspace: Workspace
    """Box within which the control point stays, base frame."""
    tool: TaughtTool = field(default_factory=TaughtTool)
    """What is bolted to the flange."""
    tilt_rad: float = 0.35
    """Largest angle between the tool's z axis and that of the goal [rad], in (0, 1.5]."""
    free_direction_goal: Vector = (0.0, 0.0, -1.0)
    """Unit vector along which a jammed tool is pulled free, in the goal's axes."""
    waypoints: tuple[TaughtPose, ...] = ()
    """Path of the automatic reset around what stands in the way, from near the goal to near the starts, base frame."""
    success: SuccessRule = field(default_factory=SuccessRule)
    """When an episode has succeeded."""
    limits: TaughtLimits = field(default_factory=TaughtLimits)
    """Limits of the motor chain, and what counts as too hard."""
    action: TaughtAction = field(default_factory=TaughtAction)
    """What a policy may do in one decision."""
    max_steps: int = 100
    """Longest episode, in decisions of 0.1 s, >= 1."""
    plate: TaughtPlate | None = None
    """Something to touch in simulation; null: nothing."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(f"a task's name is made of small letters, digits and underscores, got {self.name!r}")
        if not self.text.strip() or "\n" in self.text:
            raise UserError(f"text must be one line that says what the robot shall do, got {self.text!r}")
        if not 0.0 < self.tilt_rad <= 1.5:
            raise UserError(f"tilt_rad must lie in (0, 1.5], got {self.tilt_rad}")
        if not np.isclose(np.linalg.norm(self.free_direction_goal), 1.0, atol=1e-3):
            raise UserError(f"free_direction_goal must be a unit vector, got {self.free_direction_goal}")
        if self.max_steps < max(1, self.success.decisions):
            raise UserError(f"max_steps must be at least 1 and success.decisions, got {self.max_steps}")
        self._require_room()
        self._require_strength()

    def _require_room(self) -> None:
        """Goal, starts and way-points lie in the workspace, and no start or way-point is tilted too far."""
        goal = self.goal.pose
        places = {"the goal": [goal.position_m], "a way-point": [np.array(p.position_m) for p in self.waypoints]}
        places["a corner of the start box"] = [goal.apply(corner) for corner in self.starts.corners_m()]
        for what, positions in places.items():
            for position in positions:
                if not self.workspace.holds(position):
                    raise UserError(
                        f"{what} at {np.round(position, 4).tolist()} m lies outside the workspace "
                        f"{list(self.workspace.low_base_m)} .. {list(self.workspace.high_base_m)} m: widen that"
                    )
        tilts = [self.starts.largest_tilt_rad()]
        tilts += [tilt_rad(goal.inverse().compose(waypoint.pose).quaternion_xyzw) for waypoint in self.waypoints]
        if max(tilts) > self.tilt_rad + 1e-3:
            raise UserError(
                f"a start or way-point is tilted by {max(tilts):.3g} rad, tilt_rad allows {self.tilt_rad:g}"
            )

    def _require_strength(self) -> None:
        """A policy can press as hard as success asks for, and has the gripper that it may move."""
        needed = 0.0 if self.success.force_n is None or self.success.operator else self.success.force_n[0]
        if self.action.push_n() < needed:
            raise UserError(
                f"success asks for {needed:g} N, a policy can push with {self.action.push_n():.3g} N at most: raise "
                "action.stiffness or action.translation_m"
            )
        if GRIPPER_NAME in self.action.active and self.tool.description().gripper_range_m is None:
            raise UserError(f"a policy may move the gripper, but the tool {self.tool.kind} has none")

    def path_m(self) -> float:
        """Length of the reset's longest way from the goal over the way-points to the middle of the starts [m]."""
        goal = self.goal.pose
        places = [goal.position_m, *(np.array(p.position_m) for p in self.waypoints), goal.apply(self.starts.middle_m)]
        return float(sum(np.linalg.norm(b - a) for a, b in pairwise(places)))
