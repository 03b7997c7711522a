"""The Gymnasium environment of every arm task, over any motor link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.link import MotorLink
from controllers.types import Command, Source
from data.errors import UserError
from robot_rl.envs.reset import AutomaticReset, ResetConfig
from robot_rl.envs.sensing import sense_reports
from robot_rl.tasks.base import Draw, Sensed, Task

Array = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]


class RobotEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One task on one arm. `step` takes the whole action vector of the task's ActionSpec in [-1, 1].

    info of `step`: `action_executed` (what the limiter let through, in action units), `success`, `peak_force_n`, `q_rad`, `stamp_ns`, `reasons`.
    info of `reset`: `reset_s`, `reset_attempts`, `reset_kind` (automatic | teleport).
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        task: Task,
        link: MotorLink,
        *,
        world: Any = None,
        teleport: bool = False,
        images: bool = False,
        reset_config: ResetConfig | None = None,
    ) -> None:
        """world: the simulator behind the link (`place`, `tare`, `teleport`, `reseed`, `render`), None on a bench."""
        if teleport and world is None:
            raise UserError("a teleporting reset needs a simulator: use the automatic reset on a robot")
        self.task, self.link, self.world, self.teleport = task, link, world, teleport
        self.automatic_reset = AutomaticReset(link, task, reset_config)
        size = task.action.size
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.cameras = tuple(task.scene().cameras) if images else ()
        pictures = {
            f"image_{camera.name}": spaces.Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8) for camera in self.cameras
        }
        self.observation_space = spaces.Dict({**task.observation_space().spaces, **pictures})
        self.source = Source.POLICY
        self.render_mode = "rgb_array"
        self._draw: Draw | None = None
        self._sensed: Sensed | None = None
        self._previous = np.zeros(size)
        self._steps = 0

    @property
    def draw(self) -> Draw:
        """What chance decided for this episode."""
        if self._draw is None:
            raise UserError("call reset() before the first step")
        return self._draw

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Draws an episode and drives there. options: {"draw": Draw} repeats a given one."""
        super().reset(seed=seed)
        if self.world is not None and seed is not None:
            self.world.reseed(int(self.np_random.integers(2**31)))
        draw = (options or {}).get("draw") or self.task.draw(self.np_random)
        leaving, self._draw = self._draw, draw
        if self.teleport:
            self._place(draw)
            self.world.teleport_tool(draw.T_base_start)
            self.link.reset()
            result = {"reset_s": 0.0, "reset_attempts": 0, "reset_kind": "teleport", "reset_peak_n": 0.0}
        else:
            result = self._reset_on_bench(draw, leaving)
        self.link.step(0.05)
        self._previous = np.zeros(self.task.action.size)
        self._steps = 0
        self._sensed = sense_reports(self.link.step(0.05), 1000.0)
        return self._observation(), {**result, "q_rad": self._sensed.q_rad, "stamp_ns": self._sensed.stamp_ns, "draw": draw.info}

    def _place(self, draw: Draw) -> None:
        for name, pose in draw.fixtures.items():
            self.world.place(name, pose)

    def _reset_on_bench(self, draw: Draw, leaving: Draw | None) -> dict[str, Any]:
        """The tool leaves the old fixture before the simulator moves it: a bench does not swap a plate under a stuck peg."""
        self.link.reset()
        outcome = self.automatic_reset.run(
            draw,
            self.np_random,
            leaving=None if leaving is None else leaving.T_base_goal,
            when_free=None if self.world is None else self._place,
        )
        if self.world is not None:
            self.world.tare()
        return {
            "reset_s": outcome.duration_s,
            "reset_attempts": outcome.attempts,
            "reset_kind": "automatic",
            "reset_peak_n": outcome.pull_n,
        }

    def step(self, action: NDArray[np.floating]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Runs one decision. Raises UserError for an action of another size or with numbers that are not finite; nothing moves then."""
        proposed = np.asarray(action, dtype=np.float64)
        if proposed.shape != self.action_space.shape:
            raise UserError(f"expected an action of shape {self.action_space.shape} ({', '.join(self.task.action.names)}), got {proposed.shape}")
        if not np.isfinite(proposed).all():
            raise UserError(f"an action must be finite, got {proposed.tolist()}: the arm was not moved")
        if self._sensed is None:
            raise UserError("call reset() before the first step")
        before = self._sensed
        target, whole = self._target(before, np.clip(proposed, -1.0, 1.0))
        self.link.send(
            Command(
                target.position_m,
                target.quaternion_xyzw,
                self.task.action.stiffness_of(whole),
                damping_ratio=self.task.action.damping_ratio,
                duration_s=1.0 / self.task.rate_hz,
                source=self.source,
            )
        )
        self._sensed = sense_reports(self.link.step(1.0 / self.task.rate_hz), 1000.0)
        executed = self._executed(before, whole)
        self._previous = executed
        self._steps += 1
        judgement = self.task.judge(self._sensed, self.draw)
        truncated = self._steps >= self.task.max_steps and not judgement.terminated
        info = {
            "action_executed": executed.astype(np.float32),
            "success": judgement.success,
            "peak_force_n": self._sensed.peak_force_n,
            "force_n": float(np.linalg.norm(self._sensed.wrench_tool[:3])),
            "q_rad": self._sensed.q_rad,
            "stamp_ns": self._sensed.stamp_ns,
            "reasons": self._sensed.reasons,
        }
        return self._observation(), judgement.reward, judgement.terminated, truncated, info

    def _observation(self) -> Observation:
        if self._sensed is None:
            raise UserError("call reset() before the first step")
        observation: Observation = dict(self.task.observe(self._sensed, self.draw, self._previous))
        for camera in self.cameras:
            observation[f"image_{camera.name}"] = self.world.render(camera.name, camera.width_px, camera.height_px)
        return observation

    def _target(self, before: Sensed, action: Array) -> tuple[Pose, Array]:
        """Returns the target pose of an action in the tool frame, and the action without its inactive entries.

        Rotations that the task holds (inactive) return to the observed goal's; the others are increments of the measured ones.
        """
        spec = self.task.action
        mask = np.zeros(spec.size)
        mask[spec.active_index] = 1.0
        whole = action * mask
        position = before.T_base_tool.position_m + before.rotation_base_tool @ (whole[:3] * spec.translation_m)
        turn = rotation_vector(self.draw.T_base_goal.rotation.T @ before.rotation_base_tool) * mask[3:6] + whole[3:6] * spec.rotation_rad
        quaternion = self.draw.T_base_goal.compose(Pose(np.zeros(3), quaternion_of_vector(turn))).quaternion_xyzw
        return self.task.clip_target(Pose(position, quaternion), self.draw), whole

    def _executed(self, before: Sensed, proposed: Array) -> Array:
        """What the chain let through, in action units: from the executed reference, the inverse of `_target`."""
        spec = self.task.action
        if self._sensed is None:
            raise UserError("call reset() before the first step")
        reference = self._sensed.T_base_reference
        executed = proposed.copy()
        executed[:3] = before.rotation_base_tool.T @ (reference.position_m - before.T_base_tool.position_m) / spec.translation_m
        goal_R = self.draw.T_base_goal.rotation
        turn = rotation_vector(goal_R.T @ reference.rotation) - rotation_vector(goal_R.T @ before.rotation_base_tool)
        executed[3:6] = turn / spec.rotation_rad
        inactive = np.setdiff1d(np.arange(spec.size), spec.active_index)
        executed[inactive] = 0.0
        return np.clip(executed, -1.0, 1.0)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """State of the simulated world between two episodes: what the next reset starts from."""
        if self.world is None:
            raise UserError("a robot on a bench cannot be put back into a former state; resume goes on from where it stands")
        goal = np.full(7, np.nan)
        if self._draw is not None:
            goal = np.concatenate([self._draw.T_base_goal.position_m, self._draw.T_base_goal.quaternion_xyzw])
        return {**self.world.snapshot(), **self.link.snapshot(), "env.leaving_goal": goal}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts the simulated world back; call `reset` next."""
        self.world.restore(snapshot)
        self.link.restore(snapshot)
        goal = snapshot["env.leaving_goal"]
        self._draw = None
        if np.isfinite(goal).all():
            pose = Pose(goal[:3], goal[3:])
            self._draw = Draw({}, pose, pose)

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """A picture (240, 320, 3) from the task's first camera."""
        if self.world is None:
            raise UserError("no simulator to render: use the robot's cameras")
        picture: NDArray[np.uint8] = self.world.render(self.task.scene().cameras[0].name, 320, 240)
        return picture

    def close(self) -> None:
        """Ends torque control."""
        self.link.close()


def rotation_vector(R: Array) -> Array:
    """log3 of a rotation matrix (3, 3) whose angle is below pi: (3,) [rad]."""
    vector = 0.5 * np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    sine = float(np.linalg.norm(vector))
    if sine < 1e-9:
        return vector
    angle = float(np.arctan2(sine, 0.5 * (np.trace(R) - 1.0)))
    return vector * (angle / sine)


def quaternion_of_vector(w: Array) -> Array:
    """exp of a rotation vector (3,) as a unit quaternion (4,) xyzw."""
    angle = float(np.linalg.norm(w))
    scale = 0.5 if angle < 1e-9 else np.sin(0.5 * angle) / angle
    return np.append(w * scale, np.cos(0.5 * angle))
