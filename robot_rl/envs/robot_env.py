"""The Gymnasium environment of every arm task, over any motor link."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.link import MotorLink
from controllers.robots.gazebo_arm import GazeboArm
from controllers.robots.mujoco_arm import MujocoArm
from controllers.types import Command, Source
from data.errors import UserError
from robot_rl.envs.acceptance import require_acceptable_actions, require_acceptable_reset
from robot_rl.envs.action_map import ActionMap
from robot_rl.envs.capabilities import Restorable, first_camera, tareable, with_pictures
from robot_rl.envs.execution import Execution, Interventions, before_the_drop
from robot_rl.envs.pictures import Look, NoPictures, Pictures
from robot_rl.envs.reset import AutomaticReset, ResetConfig, reset_info
from robot_rl.envs.sensing import sense_reports, spent_since
from robot_rl.tasks.base import Draw, Sensed, Task
from safety.reasons import Reason
from safety.reflex import Mode

Array = NDArray[np.float64]
Observation = dict[str, NDArray[Any]]

_OVER = frozenset(int(reason) for reason in Reason if reason >= Reason.LATCHED)
"""Reasons after which no command moves the arm until the next reset."""


class RobotEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One task on one arm. `step` takes the whole action vector of the task's ActionSpec in [-1, 1].

    info of `step`: `action_executed` (what the limiter let through, in action units), `success`, `violation` (of the
    task's force limits), `peak_force_n`, `force_n`, `q_rad`, `stamp_ns`, `reasons`, `held` (latched or
    blind: it is over); how it ran, `duration_s`, `interrupted`, `source`, `mode`; `tank_energy_j` at its end and
    `lowest_energy_j` (tank and spring together, at its lowest tick), NaN without a ledger; and the counts of
    `Interventions` so far.
    With cameras that run by the clock, see CameraPictures: `camera_age_s`, `camera_late`.
    info of `reset`: `reset_s`, `reset_attempts`, `reset_kind` (automatic | teleport), `reset_pull_n`, `reset_peak_n`,
    `reset_wiggles`, in lock-step `recoveries_automatic` and `recoveries_simulated` (latches ended so far without a
    person, and by a simulated one), `q_rad`, `stamp_ns`.
    What chance decided is `draw`, for the record only; a policy must not see it.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        task: Task,
        link: MotorLink,
        *,
        world: Any = None,
        teleport: Callable[[Pose], None] | None = None,
        pictures: Pictures | None = None,
        reset_config: ResetConfig | None = None,
    ) -> None:
        """world: the simulator behind the link (`place`, `reseed`, perhaps `render`), None on a bench.

        The wrist sensor is tared by the world or else by the link, whichever has a `tare`; one of them must.
        teleport: puts the tool at a pose without driving there, for benchmarks in simulation; None: automatic reset.
        pictures: what the observations' pictures come from; closed with the environment.
        Raises UserError where the task's limits would refuse its own actions or the commands of the reset.
        """
        if world is None and teleport is not None:
            raise UserError("a teleporting reset needs a simulator: leave it off on a robot")
        require_acceptable_actions(task)
        self._tare = tareable(world, link).tare
        self.task, self.link, self.world, self.teleport = task, link, world, teleport
        self.automatic_reset = AutomaticReset(link, task, reset_config)
        if teleport is None:
            require_acceptable_reset(task, self.automatic_reset.config)
        self._tick_hz = task.chain_config().rate_hz
        self._gripper_range_m = task.scene().tool.gripper_range_m
        size = task.action.size
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.pictures = pictures or NoPictures()
        self.cameras = self.pictures.cameras
        # Gymnasium types the space of a dict as Space[dict], which has no `spaces`.
        self.observation_space: spaces.Dict = with_pictures(task, self.cameras)  # type: ignore[assignment]
        self.source: int = Source.POLICY
        self.render_mode = "rgb_array"
        self._draw: Draw | None = None
        self._observed: Draw | None = None
        self._sensed: Sensed | None = None
        self._map: ActionMap | None = None
        self._previous = np.zeros(size)
        self._decisions = 0.0
        self._reached = 0
        self._interventions = Interventions()

    @property
    def draw(self) -> Draw:
        """What chance decided for this episode."""
        if self._draw is None:
            raise UserError("call reset() before the first step")
        return self._draw

    @property
    def observed_draw(self) -> Draw:
        """The draw without what is true but not observed: the only one that the task is given back."""
        if self._observed is None:
            raise UserError("call reset() before the first step")
        return self._observed

    @property
    def sensed(self) -> Sensed:
        """What the robot itself knew after the newest decision."""
        if self._sensed is None:
            raise UserError("call reset() before the first step")
        return self._sensed

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws an episode and drives there. options: {"draw": Draw} repeats a given one.

        Raises ResetFailedError when the arm cannot be brought to the start; the next reset tries again. Raises
        ResetRefused where the arm is latched and a person has to reset it first, StaleFrame or CameraLost where a
        camera shows nothing new.
        """
        super().reset(seed=seed)
        self.pictures.begin()  # an arm that cannot see does not move
        if self.world is not None and seed is not None:
            self.world.reseed(int(self.np_random.integers(2**31)))
        draw = (options or {}).get("draw") or self.task.draw(self.np_random)
        self._sensed = None  # a step after a reset that failed is refused
        result = self._reset_on_bench(draw) if self.teleport is None else self._reset_by_teleport(draw)
        self._draw, self._observed = draw, replace(draw, fixtures={}, info={})
        self._map = ActionMap(self.task.action, draw.T_base_goal, self._gripper_range_m)
        self.link.grant()  # every episode begins with the same budget, whatever the reset used
        self.link.step(0.05)
        self._previous = np.zeros(self.task.action.size)
        self._decisions, self._reached, self._interventions = 0.0, 0, Interventions()
        sensed = self._sensed = sense_reports(self.link.step(0.05), self._tick_hz)
        look = self.pictures.look()
        info = {**result, "q_rad": sensed.q_rad, "stamp_ns": sensed.stamp_ns, **look.info}
        return self._observation(sensed, look), info

    def _place(self, draw: Draw) -> None:
        """Puts an episode's simulated fixtures in place. From then on the tool leaves these, not the former ones."""
        for name, pose in draw.fixtures.items():
            self.world.place(name, pose)
        self._draw = draw

    def _reset_by_teleport(self, draw: Draw) -> dict[str, Any]:
        if self.teleport is None:
            raise UserError("no teleport was given: use the automatic reset")
        self._place(draw)
        self.teleport(draw.T_base_start)
        self.link.reset()
        self._tare()
        return reset_info(None, self.link)

    def _reset_on_bench(self, draw: Draw) -> dict[str, Any]:
        """The tool leaves the old fixture before the simulator moves it: no bench swaps a plate under a stuck peg."""
        if isinstance(self.world, MujocoArm | GazeboArm) and not np.isfinite(self.link.latest().q_rad).all():
            self.world.teleport(self.world.arm.home_rad)  # a simulation that diverged stays so by itself
        self.link.reset()
        self.link.grant()  # the reset has a budget of its own: the episode may have ended with an empty tank
        outcome = self.automatic_reset.run(
            draw,
            self.np_random,
            leaving=None if self._draw is None else self._draw.T_base_goal,
            when_free=None if self.world is None else self._place,
        )
        self._tare()
        return reset_info(outcome, self.link)

    def step(self, action: NDArray[np.floating]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Runs one decision, until its period is over or the reflex arbiter takes the arm.

        While the arbiter has the arm the action is passed over: the step lasts until the arm is given back, at most one
        period, and tells what the recovery did. An episode lasts max_steps periods, however often one is cut short.
        Raises UserError for an action of another size or with numbers that are not finite; nothing moves then.
        """
        proposed = self._checked(action)
        before = self._sensed
        if before is None or self._map is None:
            raise UserError("call reset() before the first step")
        target, whole = self._map.target(before, proposed.clip(-1.0, 1.0))
        if before.mode < Mode.REFLEX:
            self.link.send(self._command(self.task.clip_target(target, self.observed_draw), whole))
        else:
            whole = self._previous
        reports = self.link.step(1.0 / self.task.rate_hz, interruptible=True)
        self._sensed = sensed = replace(sense_reports(reports, self._tick_hz), reached_before=self._reached)
        execution = Execution.of(before, sensed, reports, self._tick_hz)
        led, told = before_the_drop(before, sensed, reports) if execution.interrupted else (sensed, reports[-1])
        executed = self._previous = self._map.executed(before, led, whole, told)
        self._interventions.add(reports, self._tick_hz)
        self._decisions += execution.duration_s * self.task.rate_hz if execution.cut_short else 1.0
        judgement = self.task.judge(sensed, self.observed_draw)
        self._reached = self._reached + 1 if judgement.reached else 0
        look = self.pictures.look()
        held = look.blind or not _OVER.isdisjoint(sensed.reasons)
        truncated = (held or self._decisions > self.task.max_steps - 0.5) and not judgement.terminated
        info = {
            "action_executed": executed.astype(np.float32),
            "success": judgement.success,
            "violation": self.task.violated(sensed),
            "peak_force_n": sensed.peak_force_n,
            "force_n": math.sqrt(sensed.wrench_tool[:3] @ sensed.wrench_tool[:3]),
            "q_rad": sensed.q_rad,
            "stamp_ns": sensed.stamp_ns,
            "reasons": sensed.reasons,
            "held": held,
            "tank_energy_j": sensed.tank_energy_j,
            "lowest_energy_j": sensed.lowest_energy_j,
            **spent_since(before, sensed),
            "granted": sensed.granted,
            "risk": sensed.risk,
            **execution.as_info(self.source),
            **self._interventions.as_info(),
            **look.info,
        }
        return self._observation(sensed, look), judgement.reward, judgement.terminated, truncated, info

    def _command(self, target: Pose, whole: Array) -> Command:
        spec = self.task.action
        return Command(
            target.position_m,
            target.quaternion_xyzw,
            spec.stiffness_of(whole),
            damping_ratio=spec.damping_ratio,
            gripper_m=math.nan if self._map is None else self._map.gripper_m(whole),
            duration_s=1.0 / self.task.rate_hz,
            source=self.source,
        )

    def _checked(self, action: NDArray[np.floating]) -> Array:
        proposed = np.asarray(action, dtype=np.float64)
        if proposed.shape != self.action_space.shape:
            names = ", ".join(self.task.action.names)
            raise UserError(f"expected an action of shape {self.action_space.shape} ({names}), got {proposed.shape}")
        if not np.isfinite(proposed).all():
            raise UserError(f"an action must be finite, got {proposed.tolist()}: the arm was not moved")
        return proposed

    def _observation(self, sensed: Sensed, look: Look) -> Observation:
        return {**self.task.observe(sensed, self.observed_draw, self._previous), **look.images}

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """State of the simulated world between two episodes: what the next reset starts from."""
        link = self._restorable_link()
        goal = np.full(7, np.nan)
        if self._draw is not None:
            goal = np.concatenate([self._draw.T_base_goal.position_m, self._draw.T_base_goal.quaternion_xyzw])
        return {**self.world.snapshot(), **link.snapshot(), "env.leaving_goal": goal}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts the simulated world back; call `reset` next."""
        link = self._restorable_link()
        link.restore(snapshot)
        self.world.restore(snapshot)
        goal = snapshot["env.leaving_goal"]
        self._draw = self._sensed = None
        if np.isfinite(goal).all():
            pose = Pose(goal[:3], goal[3:])
            self._draw = Draw({}, pose, pose)

    def _restorable_link(self) -> Restorable:
        if self.world is None or not isinstance(self.link, Restorable):
            raise UserError(
                "a robot on a bench cannot be put back into a former state; resume goes on from where it stands"
            )
        return self.link

    def render(self) -> NDArray[np.uint8]:
        """A picture (240, 320, 3) from the task's first camera."""
        if not hasattr(self.world, "render"):
            raise UserError("no simulator here to render: use the robot's cameras, or the simulated arm in lock-step")
        picture: NDArray[np.uint8] = self.world.render(first_camera(self.task), 320, 240)
        return picture

    def close(self) -> None:
        """Lets go of the cameras and ends torque control."""
        self.pictures.close()
        self.link.close()
