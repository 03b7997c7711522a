"""What was shown, and the task that follows from it: boxes with margins, tolerances, scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_parts import (
    FARTHEST_HIGH_M,
    FARTHEST_LOW_M,
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
from safety import so3

Array = NDArray[np.float64]

START_MARGIN_M, START_MARGIN_RAD = 0.005, 0.03
"""The start box reaches this far beyond the starts that were shown [m], [rad]."""
WORKSPACE_MARGIN_M = 0.01
"""The workspace reaches this far beyond where the tool was led [m]."""
TILT_MARGIN_RAD, LEAST_TILT_RAD, MOST_TILT_RAD = 0.1, 0.2, 1.5
LEAST_PRESS_N, MOST_PRESS_N = 2.0, 9.0
"""A press below the first is noise [N]; above the second it would take a faster reference than is allowed."""
_DECISION_S, _ACCELERATION_M_S2 = 0.095, 10.0
_STIFFNESSES_N_M = (600.0, 800.0, 1000.0)
_LEAST_INCREMENT_M, _USUAL_INCREMENT_M = 0.005, 0.008


@dataclass
class Lesson:
    """Everything shown so far."""

    name: str
    text: str
    tool: TaughtTool
    plate: TaughtPlate | None = None
    max_steps: int = 100
    goal: Pose | None = None
    goal_spread_m: float = 0.0
    starts: list[Pose] = field(default_factory=list)
    visited_m: list[Array] = field(default_factory=list)
    """Corners of where the tool was led in the workspace's step, (3,) each."""
    waypoints: list[Pose] = field(default_factory=list)
    success: SuccessRule = field(default_factory=SuccessRule)

    def goal_pose(self) -> Pose:
        """Returns the goal, rounded as it is stored. Raises UserError before it was shown."""
        if self.goal is None:
            raise UserError("the goal was not shown yet")
        return TaughtPose.of(self.goal).pose

    def relative(self, pose: Pose) -> Pose:
        """Returns T_goal_x of T_base_x."""
        return self.goal_pose().inverse().compose(pose)

    def free_direction_goal(self) -> Vector:
        """Returns the axis of the goal, with its sign, that leads best from the goal to the starts."""
        middle = np.mean([self.relative(start).position_m for start in self.starts], axis=0)
        axis = int(np.argmax(np.abs(middle)))
        if abs(middle[axis]) < 0.002:
            return (0.0, 0.0, -1.0)
        x, y, z = (float(np.sign(middle[axis])) * (index == axis) + 0.0 for index in range(3))
        return (x, y, z)

    def start_box(self) -> StartBox:
        """Returns the box of all starts shown, widened by the margins, but never over half the way to the goal."""
        positions = np.array([self.relative(start).position_m for start in self.starts])
        turns = np.array([_turn(self.relative(start)) for start in self.starts])
        low, high = positions.min(axis=0) - START_MARGIN_M, positions.max(axis=0) + START_MARGIN_M
        free = np.array(self.free_direction_goal())
        axis = int(np.argmax(np.abs(free)))
        nearest_m = float((free[axis] * positions[:, axis]).min())
        margin_m = min(START_MARGIN_M, max(0.0, 0.5 * nearest_m))
        if free[axis] > 0.0:
            low[axis] = nearest_m - margin_m
        else:
            high[axis] = margin_m - nearest_m
        turn_low, turn_high = turns.min(axis=0) - START_MARGIN_RAD, turns.max(axis=0) + START_MARGIN_RAD
        return StartBox(_vector(low), _vector(high), _vector(turn_low), _vector(turn_high))

    def needed_m(self) -> Array:
        """Returns what the workspace must hold: goal, corners of the start box, way-points (n, 3), base frame [m]."""
        goal = self.goal_pose()
        corners = [goal.apply(corner) for corner in self.start_box().corners_m()]
        return np.array([goal.position_m, *corners, *(pose.position_m for pose in self.waypoints)])

    def workspace(self, reachable: Callable[[Array], bool] | None = None) -> Workspace:
        """Returns the box around all that it needs and where the tool was led, with a margin.

        It stays within the absolute bounds. reachable: tells whether the arm reaches a corner (3,); the box shrinks
        towards what it needs until it reaches all. Raises UserError where even that is out of bounds or reach.
        """
        needed = self.needed_m()
        inner_low, inner_high = needed.min(axis=0), needed.max(axis=0)
        if (inner_low < FARTHEST_LOW_M).any() or (inner_high > FARTHEST_HIGH_M).any():
            raise UserError(
                f"goal, starts and way-points span {_mm(inner_low)} .. {_mm(inner_high)} mm, a task may use "
                f"{_mm(np.array(FARTHEST_LOW_M))} .. {_mm(np.array(FARTHEST_HIGH_M))} mm: show them nearer to the arm"
            )
        shown = np.array([*needed, *self.visited_m])
        low = np.maximum(shown.min(axis=0) - WORKSPACE_MARGIN_M, FARTHEST_LOW_M)
        high = np.minimum(shown.max(axis=0) + WORKSPACE_MARGIN_M, FARTHEST_HIGH_M)
        for share in np.linspace(0.0, 1.0, 6):
            a, b = low + share * (inner_low - low), high + share * (inner_high - high)
            corners = [np.array(corner) for corner in product(*zip(a, b, strict=True))]
            if reachable is None or all(reachable(corner) for corner in corners):
                return Workspace(_vector(np.floor(a * 1e4) / 1e4), _vector(np.ceil(b * 1e4) / 1e4))
        raise UserError(
            "the arm does not reach all corners of the box around goal, starts and way-points: show them nearer"
        )

    def press(self, force_n: float) -> SuccessRule:
        """Returns the rule for a press with about this force [N]. Raises UserError for one that no policy can hold."""
        if not LEAST_PRESS_N <= force_n <= MOST_PRESS_N:
            raise UserError(f"a press must have {LEAST_PRESS_N:g} to {MOST_PRESS_N:g} N, felt were {force_n:.1f} N")
        bounds = (round(0.5 * force_n, 1), round(1.5 * force_n, 1))
        return replace(self.place(), force_n=bounds)

    def place(self) -> SuccessRule:
        """Returns the rule for being at the goal: three times the hand's own tremor, at least 3 mm and 0.1 rad."""
        return SuccessRule(round(max(0.003, 3.0 * self.goal_spread_m), 4), 0.1, None, decisions=3)

    def config(self, reachable: Callable[[Array], bool] | None = None) -> TaughtConfig:
        """Returns the task. Raises UserError for what does not fit."""
        box, free = self.start_box(), self.free_direction_goal()
        tilts = [box.largest_tilt_rad(), *(tilt_rad(self.relative(pose).quaternion_xyzw) for pose in self.waypoints)]
        action = action_for(self.success, free)
        speed_m_s = speed_for(math.hypot(*action.translation_m))
        return TaughtConfig(
            name=self.name,
            text=self.text,
            goal=TaughtPose.of(self.goal_pose()),
            starts=box,
            workspace=self.workspace(reachable),
            tool=self.tool,
            tilt_rad=round(min(MOST_TILT_RAD, max(LEAST_TILT_RAD, max(tilts) + TILT_MARGIN_RAD)), 3),
            free_direction_goal=free,
            waypoints=tuple(TaughtPose.of(pose) for pose in self.waypoints),
            success=self.success,
            limits=TaughtLimits(max_speed_m_s=speed_m_s),
            action=action,
            max_steps=self.max_steps,
            plate=self.plate,
        )


def action_for(rule: SuccessRule, free_direction_goal: Vector) -> TaughtAction:
    """Returns increments of 5 mm, and one that presses as hard as asked, at the least stiffness that keeps it small."""
    if rule.operator or rule.force_n is None or rule.force_n[0] == 0.0:
        return TaughtAction()
    axis = int(np.argmax(np.abs(free_direction_goal)))
    for stiffness in _STIFFNESSES_N_M:
        increment_m = max(_LEAST_INCREMENT_M, round(1.1 * rule.force_n[1] / stiffness, 4))
        if increment_m <= _USUAL_INCREMENT_M:
            break  # a larger one means a faster reference, and so a harder landing
    x, y, z = (increment_m if index == axis else _LEAST_INCREMENT_M for index in range(3))
    return TaughtAction((x, y, z), stiffness=(stiffness,) * 3 + (30.0,) * 3)


def speed_for(distance_m: float) -> float:
    """Returns the speed limit [m/s] under which a reference makes an increment within a decision, at least 0.1.

    From d / v + v / a = T: v = (a T - sqrt((a T)^2 - 4 a d)) / 2.
    """
    reach = _ACCELERATION_M_S2 * _DECISION_S
    root = reach**2 - 4.0 * _ACCELERATION_M_S2 * distance_m
    if root < 0.0:
        raise UserError(f"no speed limit makes an increment of {distance_m:.3g} m within a decision")
    return max(0.1, math.ceil(500.0 * (reach - math.sqrt(root))) / 1000.0)


def _turn(pose: Pose) -> Array:
    return np.array(so3.log(so3.from_matrix(np.ascontiguousarray(pose.rotation))))


def _vector(values: Array) -> Vector:
    x, y, z = (round(float(value), 4) + 0.0 for value in values)
    return (x, y, z)


def _mm(values: Array) -> str:
    return "[" + ", ".join(f"{1e3 * value:.0f}" for value in values) + "]"
