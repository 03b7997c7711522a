"""What a task is: one class that an environment runs on any backend."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.chain import ChainConfig
from controllers.description.geometry import Pose
from controllers.description.scene import Scene
from data.errors import UserError
from robot_rl.tasks.actions import ActionSpec
from robot_rl.tasks.resetting import ResetConfig

Array = NDArray[np.float64]
PEAK_WINDOW_TICKS = 3
"""Peaks are those of means over so many ticks: a real one lasts a few milliseconds, a single sample is noise."""


@dataclass(frozen=True, eq=False)
class Sensed:
    """What the robot itself knows at a decision: from its reports, never from the simulator."""

    stamp_ns: int
    T_base_tool: Pose
    rotation_base_tool: Array  # (3, 3), the same rotation as a matrix
    twist_base: Array  # (6,)
    wrench_tool: Array  # (6,) mean over the last 50 ms
    peak_force_n: float  # largest force of the last decision after a 3 ms mean
    peak_moment_nm: float  # likewise, about the control point
    T_base_reference: Pose  # the limited reference after the newest tick: where the spring pulls to
    q_rad: Array  # (7,)
    gripper_m: float
    reasons: frozenset[int]  # what the chain reported during the last decision
    tank_energy_j: float = math.nan  # in the energy tank; NaN while no passivity ledger runs
    lowest_energy_j: float = math.nan  # in tank and spring together, at its lowest tick of the last decision
    energy_spent_j: float = math.nan  # that left the tank since the episode began
    granted: float = 1.0  # smallest share of a move or torque that the ledger granted during the last decision
    risk: float = math.nan  # largest risk during the last decision; NaN while no safety critic runs
    mode: int = 0  # of the reflex arbiter after the last tick
    reached_before: int = 0  # decisions in a row, up to the one before, whose judgement said `reached`


@dataclass(frozen=True, eq=False)
class Draw:
    """What chance decides before an episode. Only `fixtures` knows the truth; nothing else may depend on it."""

    fixtures: dict[str, Pose]
    """True poses T_base_fixture; they go to the simulator and nowhere else."""
    T_base_goal: Pose
    """The goal as it is *observed*: origin and axes in which the task is stated."""
    T_base_start: Pose
    """Where the tool shall start."""
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """Outcome of one decision."""

    reward: float
    terminated: bool
    success: bool
    reached: bool = False
    """Whether this decision counts towards a success that takes several in a row: the environment counts, and tells
    the next decisions in `Sensed.reached_before`."""


@dataclass(frozen=True)
class CriticRecipe:
    """How the safety critic of a task is made from episodes of its scripted operator."""

    episodes: int
    """Episodes of each collection."""
    task_configs: tuple[Mapping[str, Any], ...] = (MappingProxyType({}),)
    """One collection for each of these settings of the task."""
    held_out: str = "default"
    """Variant of the task whose episodes calibrate it."""
    measured: tuple[Mapping[str, Any], ...] = ()
    """Settings of the task with which it is measured besides, after its gate."""
    held_out_configs: tuple[Mapping[str, Any], ...] = (MappingProxyType({}),)
    """One collection to calibrate it on for each of these settings."""
    critic_config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its training other than the default ones."""
    surface: tuple[float, ...] | None = None
    """Where hard things are, in `RiskCriticConfig.surface`; None: the critic sees no position."""


class Task(ABC):
    """A contact-rich job for an arm.

    Everything that a policy sees or a judge decides comes from `Sensed` and the observed goal: the draw that `observe`,
    `judge` and `clip_target` get has neither `fixtures` nor `info`. A task keeps nothing from one decision to the next,
    since neither a snapshot nor a repeated draw would bring it back.
    """

    name: ClassVar[str]
    text: ClassVar[str]
    """One line: what the robot shall do."""
    variants: ClassVar[tuple[str, ...]] = ("default",)
    rate_hz: float = 10.0
    max_steps: int = 100
    max_force_n: float = 30.0
    """A decision with a peak force above this is a violation [N]."""
    max_moment_nm: float = 3.0
    """A decision with a peak moment above this is a violation [Nm]."""

    action: ActionSpec
    agent_options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Settings per agent that this task was measured to learn well with, a variant may set its own; `agent_config` on
    the command line wins."""
    reflex_penalty: float = 0.1
    """Taken from the learned reward of a decision of which a reflex left the policy less than half; `reflex_penalty` on
    the command line wins. At 0 a policy may lean on its reflexes."""
    success_target: float = 0.95
    """Success rate in (0, 1] that counts as solved; a variant may set its own."""
    critic_recipe: CriticRecipe | None = None
    """How its safety critic is made; None where the operator's contacts hold nothing that a critic could foresee."""

    @abstractmethod
    def scene(self) -> Scene:
        """Tool, fixtures and cameras."""

    @abstractmethod
    def chain_config(self) -> ChainConfig:
        """Limits of the motor chain for this task."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Draw:
        """Draws an episode: where things are, where they seem to be, where the arm starts."""

    @abstractmethod
    def observation_space(self) -> spaces.Dict:
        """Bounds and shapes of `observe` (without images)."""

    @abstractmethod
    def observe(self, sensed: Sensed, draw: Draw, previous_action: Array) -> dict[str, NDArray[np.float32]]:
        """Returns what the policy sees."""

    @abstractmethod
    def judge(self, sensed: Sensed, draw: Draw) -> Judgement:
        """Returns reward and end of the decision just made."""

    def violated(self, sensed: Sensed) -> bool:
        """Tells whether the decision just made pressed or twisted harder than the task allows.

        What follows from it is for `judge` to say: by default nothing, the episode goes on.
        """
        return sensed.peak_force_n > self.max_force_n or sensed.peak_moment_nm > self.max_moment_nm

    def observed_tank(self, sensed: Sensed) -> dict[str, NDArray[np.float32]]:
        """Observation `tank` (1,): its energy as a share of the task's own budget, `tank_start_j` of `chain_config`.

        Where `safety_config.tank_start_j` sets another, an episode begins with that share instead of 1: the same number
        of joules looks the same to a policy whatever the budget is. Raises UserError where no ledger keeps books.
        """
        share = sensed.tank_energy_j / self.chain_config().ledger.tank_start_j
        if math.isnan(share):
            raise UserError(
                "task_config.observe_tank=true needs the passivity ledger: leave safety_config.ledger on, or at observe"
            )
        return {"tank": np.clip([share], -10.0, 10.0).astype(np.float32)}

    def reset_config(self) -> ResetConfig:
        """Returns the settings of the automatic reset; by default those that suit a shallow hole."""
        return ResetConfig()

    @property
    def judged_by_person(self) -> bool:
        """Whether only a person's key says that an episode has succeeded: `judge` then never does."""
        return False

    def reset_waypoints(self) -> tuple[Pose, ...]:
        """Returns a path around what stands in the way, through which the automatic reset drives; by default none."""
        return ()

    def clip_target(self, T_base_target: Pose, draw: Draw) -> Pose:
        """Keeps a policy's target within the task's bounds about the observed goal; by default anywhere."""
        return T_base_target

    def progress_m(self, sensed: Sensed, draw: Draw) -> float:
        """Returns how far the job has got [m], more as it gets on; by default minus the distance to the observed goal.

        For onlookers, such as the played person who takes over where nothing gets on; no policy or judge uses it.
        """
        return -float(np.linalg.norm(sensed.T_base_tool.position_m - draw.T_base_goal.position_m))

    def free_direction_goal(self) -> Array:
        """Unit vector (3,) in goal axes along which a jammed tool is pulled free; by default against the z axis."""
        return np.array([0.0, 0.0, -1.0])

    def operator(self, rng: np.random.Generator) -> Any:
        """Returns a scripted operator for this task, or raises UserError if nobody wrote one."""
        raise UserError(f"task {self.name} has no scripted operator: record demonstrations by teleoperation")
