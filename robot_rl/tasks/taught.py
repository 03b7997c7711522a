"""A task that was taught by hand: goal, starts, workspace and success come from a file instead of from code.

What is touched is not modelled: a real arm has the real thing, a simulation perhaps a plate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.chain import ChainConfig
from controllers.description.geometry import Pose, look_at
from controllers.description.scene import CameraDescription, Scene
from data.errors import UserError
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.actions import POSE_NAMES, ActionSpec
from robot_rl.tasks.base import Draw, Judgement, Sensed, Task
from robot_rl.tasks.resetting import ResetConfig
from robot_rl.tasks.taught_config import TaughtConfig
from safety import so3
from safety.reference_limiter import ReferenceLimiterConfig
from safety.watch import WatchConfig

Array = NDArray[np.float64]

STATE_NAMES = (
    *("x", "y", "z", "rx", "ry", "rz"),  # tool in the goal frame
    *("vx", "vy", "vz", "wx", "wy", "wz"),  # goal axes
    *("fx", "fy", "fz", "mx", "my", "mz"),  # external wrench about the control point, tool axes
    # limited reference after the newest tick minus measured pose: goal axes, tool axes
    *("ex", "ey", "ez", "erx", "ery", "erz"),
    *(f"previous_{name}" for name in POSE_NAMES),
    "reached",  # share of the decisions in a row that success takes
)
_ACCELERATION_M_S2, _TURN_RAD_S, _TURN_RAD_S2 = 10.0, 2.0, 50.0
"""Of the reference: the largest increment shall be reached within a decision of 0.1 s."""
_STIFFEST = (1000.0, 1000.0, 1000.0, 60.0, 60.0, 60.0)


@dataclass(frozen=True)
class TaughtSettings:
    """What `task_config.<key>` may say about a taught task besides its file."""

    operator_noise: float = 0.15
    """Motor noise of the scripted operator, in action units."""
    observe_tank: bool = False
    """Let the policy see how much energy is in the tank: observation `tank`."""
    max_steps: int | None = None
    """Longest episode in decisions; null: that of the file."""


class TaughtTask(Task):
    """Bring the tool to the taught goal, sparse reward: 1 at success, which may take several decisions in a row."""

    name = "taught"
    text = "a task that was taught by hand"

    def __init__(self, config: TaughtConfig, variant: str = "default", **changes: Any) -> None:
        known = list(TaughtSettings.__dataclass_fields__)
        for key in changes:
            if key not in known:
                raise UserError(f"a taught task has no setting {key!r}; {expected_names(key, known)}")
        self.config, self.settings = config, replace(TaughtSettings(), **as_declared(TaughtSettings, changes))
        self.name, self.text = config.name, config.text  # type: ignore[misc]  # one class, as many tasks as files
        self.max_steps = config.max_steps if self.settings.max_steps is None else self.settings.max_steps
        if self.max_steps < 1 or not 0.0 <= self.settings.operator_noise < 1.0:
            raise UserError("max_steps must be at least 1 and operator_noise in [0, 1)")
        self.max_force_n, self.max_moment_nm = config.limits.max_force_n, config.limits.max_moment_nm
        self.action = ActionSpec(
            translation_m=config.action.translation_m,
            rotation_rad=config.action.rotation_rad,
            stiffness=config.action.stiffness,
            active=config.action.active,
        )
        self._goal = config.goal.pose

    @cached_property
    def state_scale(self) -> Array:
        """What the state (31,) is multiplied with, to be about +-1: position and turn by how far the starts lie."""
        starts, action = self.config.starts, self.config.action
        far_m = np.maximum(np.abs([starts.position_min_m, starts.position_max_m]).max(axis=0), 0.005)
        far_rad = np.maximum(np.abs([starts.turn_min_rad, starts.turn_max_rad]).max(axis=0), 0.05)
        push_n = max(4.0, action.push_n())
        return 1.0 / np.concatenate(
            [
                *(far_m, far_rad),
                [0.05, 0.05, 0.05, 0.2, 0.2, 0.2],
                [push_n, push_n, push_n, 0.2, 0.2, 0.2],
                *(action.translation_m, [2.0 * action.rotation_rad] * 3),
                np.ones(len(POSE_NAMES) + 1),
            ]
        )

    def scene(self) -> Scene:
        """The tool, a plate where the file declares one, and a camera that looks at the goal from the side."""
        plate = self.config.plate
        middle = self._goal.position_m
        side = look_at(middle + np.array([0.30, -0.28, 0.16]), middle + np.array([0.0, 0.0, 0.03]))
        return Scene(
            tool=self.config.tool.description(),
            fixtures=() if plate is None else (plate.fixture(),),
            cameras=(CameraDescription(name="side", T_base_camera=side),),
        )

    def chain_config(self) -> ChainConfig:
        """The taught workspace, a cone about the goal's z axis, and the limits of the file."""
        config, limits = self.config, self.config.limits
        x, y, z = self._goal.rotation[:, 2].tolist()
        limiter = ReferenceLimiterConfig(
            box_min_base_m=config.workspace.low_base_m,
            box_max_base_m=config.workspace.high_base_m,
            cone_axis_base=(x, y, z),
            cone_angle_rad=config.tilt_rad,
            max_jump_m=max(0.5, config.workspace.diagonal_m()),
            max_speed_m_s=limits.max_speed_m_s,
            max_acceleration_m_s2=_ACCELERATION_M_S2,
            max_angular_speed_rad_s=_TURN_RAD_S,
            max_angular_acceleration_rad_s2=_TURN_RAD_S2,
            leash=(limits.leash_m,) * 3 + (limits.leash_rad,) * 3,
            stiffness_max=_STIFFEST,
        )
        return ChainConfig(
            limiter=limiter, watch=WatchConfig(max_force_n=limits.stop_force_n, max_moment_nm=limits.stop_moment_nm)
        )

    def draw(self, rng: np.random.Generator) -> Draw:
        """The goal is where it was taught; the start is drawn from its box."""
        return Draw({}, self._goal, self._goal.compose(self.config.starts.draw(rng)))

    def observation_space(self) -> spaces.Dict:
        """One vector `state`, see STATE_NAMES; about +-1, bounded at +-10. Perhaps `tank`, 1: the task's own budget."""
        sizes = {"state": len(STATE_NAMES)} | ({"tank": 1} if self.settings.observe_tank else {})
        return spaces.Dict({name: spaces.Box(-10.0, 10.0, (size,), np.float32) for name, size in sizes.items()})

    def observe(self, sensed: Sensed, draw: Draw, previous_action: Array) -> dict[str, NDArray[np.float32]]:
        """Pose, twist, wrench, spring state, previous action and progress, in the axes of the goal."""
        goal_R = draw.T_base_goal.rotation
        state = np.concatenate(
            [
                goal_R.T @ (sensed.T_base_tool.position_m - draw.T_base_goal.position_m),
                _rotation_vector(goal_R.T @ sensed.rotation_base_tool),
                goal_R.T @ sensed.twist_base[:3],
                goal_R.T @ sensed.twist_base[3:],
                sensed.wrench_tool,
                goal_R.T @ (sensed.T_base_reference.position_m - sensed.T_base_tool.position_m),
                _rotation_vector(sensed.rotation_base_tool.T @ sensed.T_base_reference.rotation),
                previous_action[:6],
                [self._count(sensed, draw) / self.config.success.decisions],
            ]
        )
        observation = {"state": np.clip(state * self.state_scale, -10.0, 10.0).astype(np.float32)}
        return observation | (self.observed_tank(sensed) if self.settings.observe_tank else {})

    def reached(self, sensed: Sensed, draw: Draw) -> bool:
        """Whether pose and force are as success asks for, at the end of this decision."""
        rule = self.config.success
        if rule.operator:
            return False
        distance_m, angle_rad = draw.T_base_goal.distance(sensed.T_base_tool)
        force_n = float(np.linalg.norm(sensed.wrench_tool[:3]))
        return (
            (rule.distance_m is None or distance_m <= rule.distance_m)
            and (rule.angle_rad is None or angle_rad <= rule.angle_rad)
            and (rule.force_n is None or rule.force_n[0] <= force_n <= rule.force_n[1])
        )

    def _count(self, sensed: Sensed, draw: Draw) -> int:
        """Decisions in a row, this one included, at whose end all was as success asks for."""
        return min(sensed.reached_before + 1, self.config.success.decisions) if self.reached(sensed, draw) else 0

    def judge(self, sensed: Sensed, draw: Draw) -> Judgement:
        """Success: all held at the end of so many decisions in a row. Never, where only a person's key says so."""
        count = self._count(sensed, draw)
        success = count >= self.config.success.decisions
        return Judgement(1.0 if success else 0.0, success, success, reached=count > 0)

    @property
    def judged_by_person(self) -> bool:
        """As the file says."""
        return self.config.success.operator

    def reset_config(self) -> ResetConfig:
        """A lift that the starts allow, and as much time as the way over the way-points takes."""
        away_m = float(np.array(self.config.free_direction_goal) @ self.config.starts.middle_m)
        return ResetConfig(
            lift_m=min(0.008, max(0.002, 0.5 * away_m)),
            timeout_s=8.0
            + 2.0 * len(self.config.waypoints)
            + 3.0 * self.config.path_m() / self.config.limits.max_speed_m_s,
        )

    def reset_waypoints(self) -> tuple[Pose, ...]:
        """Those that were taught."""
        return tuple(waypoint.pose for waypoint in self.config.waypoints)

    def clip_target(self, T_base_target: Pose, draw: Draw) -> Pose:
        """Keeps targets in the workspace."""
        box = self.config.workspace
        return Pose(T_base_target.position_m.clip(box.low_base_m, box.high_base_m), T_base_target.quaternion_xyzw)

    def free_direction_goal(self) -> Array:
        """The one of the file."""
        return np.array(self.config.free_direction_goal)

    def operator(self, rng: np.random.Generator) -> Any:
        """One who goes straight to the goal with a trembling hand, and presses as success asks for."""
        from robot_rl.operators.straight_operator import StraightOperator

        return StraightOperator(rng, self.config, self.state_scale, self.settings.operator_noise)


def _rotation_vector(R: Array) -> Array:
    """Rotation vector (3,) [rad] of a rotation matrix (3, 3)."""
    return np.array(so3.log(so3.from_matrix(np.ascontiguousarray(R))))


def taught_class(config: TaughtConfig) -> type[TaughtTask]:
    """Returns a class of this task alone, made as others are: `kind(variant, **settings)`."""

    class Taught(TaughtTask):
        name = config.name
        text = config.text

        def __init__(self, variant: str = "default", **changes: Any) -> None:
            super().__init__(config, variant, **changes)

    return Taught
