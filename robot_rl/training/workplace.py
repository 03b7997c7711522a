"""Where an agent works: an arm task or any Gymnasium environment, as flat vectors and actions in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.types import Source
from data.episode import Episode
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec
from robot_rl.envs.featuriser import Featuriser
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import make_env
from robot_rl.envs.reset import ResetLeftError
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task
from robot_rl.training.settings import StopRequested

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What one step of a workplace gave."""

    obs: F32
    """(obs_size,) features after the step."""
    reward: float
    terminated: bool
    truncated: bool
    executed: F32
    """(action_size,) what was really executed, in the policy's units."""
    success: bool
    info: dict[str, Any] = field(default_factory=dict)


class Workplace(Protocol):
    """An environment as an agent sees it."""

    featuriser: Featuriser
    """Turns observations into the vectors that a policy sees."""
    obs_size: int
    action_names: tuple[str, ...]
    rate_hz: float | None
    """Decisions a second on a robot; None where time means nothing."""
    restorable: bool
    """Whether `snapshot` and `restore` bring back the very same continuation."""
    observation: dict[str, NDArray[Any]]
    """The newest observation as episode stores keep it."""

    def reset(self, seed: int) -> tuple[F32, dict[str, Any]]:
        """Begins the episode of this seed. Raises StopRequested if it is left (`leave_resets`)."""

    def leave_resets(self, wished: Callable[[], bool]) -> None:
        """A reset that waits for a person asks `wished` meanwhile, and gives up where that is true."""

    def step(self, action: F32, source: int) -> Outcome:
        """Carries out a policy's action (action_size,)."""

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """State of the world between two episodes, as arrays."""

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts the world back."""

    def demonstrations(self, episode: Episode) -> tuple[F32, F32]:
        """Returns features (T + 1, obs_size) and executed actions (T, action_size) of a recorded episode."""

    def whole_action(self, action: F32) -> F32:
        """Returns a policy's action (action_size,) as episode stores keep it."""

    def store_spec(self, robot: str, config: dict[str, Any]) -> StoreSpec:
        """Returns the description of a store for episodes of this workplace."""

    def check_store(self, spec: StoreSpec) -> None:
        """Raises UserError if a store's episodes do not fit."""

    def close(self) -> None:
        """Lets go of the robot or simulator."""


class ArmWorkplace:
    """A task on an arm, restricted to its active action columns, with a short memory in front of the policy.

    Policies see the task's vectors, in the order of its observation space; pictures of cameras are recorded only.
    """

    def __init__(self, env: RobotEnv, history: int = 0, restorable: bool | None = None) -> None:
        """restorable: false where the arm cannot be put back, as one in real time; None: where there is a simulator."""
        self.env = env
        self.restorable = env.world is not None if restorable is None else restorable
        self.featuriser = Featuriser(vector_sizes(env.task), history)
        self.obs_size = self.featuriser.size
        spec = env.task.action
        self.columns = spec.active_index
        self.action_names = tuple(spec.names[i] for i in self.columns)
        self.rate_hz: float | None = env.task.rate_hz
        self.observation: dict[str, NDArray[Any]] = {}

    def reset(self, seed: int) -> tuple[F32, dict[str, Any]]:
        """Automatic reset, then the first features."""
        try:
            self.observation, info = self.env.reset(seed=seed)
        except ResetLeftError:
            raise StopRequested from None
        return self.featuriser.reset(self.observation), info

    def leave_resets(self, wished: Callable[[], bool]) -> None:
        """A reset that waits for a person who holds the arm asks it."""
        self.env.automatic_reset.leave = wished

    def step(self, action: F32, source: int = Source.POLICY) -> Outcome:
        """One decision."""
        self.env.source = source
        self.observation, reward, terminated, truncated, info = self.env.step(self.env.task.action.expand(action))
        executed = info["action_executed"][self.columns]
        features = self.featuriser.step(self.observation)
        return Outcome(features, reward, terminated, truncated, executed, info["success"], info)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """State of simulator, link and leaving goal."""
        return self.env.snapshot()

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts simulator, link and leaving goal back."""
        self.env.restore(snapshot)

    def demonstrations(self, episode: Episode) -> tuple[F32, F32]:
        """Features and the active columns of the executed actions."""
        return self.featuriser.episode(episode.observations), episode.action_executed[:, self.columns]

    def whole_action(self, action: F32) -> F32:
        """All columns of the arm's actions, 0 where the task holds them."""
        return self.env.task.action.expand(action).astype(np.float32)

    def store_spec(self, robot: str, config: dict[str, Any]) -> StoreSpec:
        """Returns the description of a store for this task's episodes."""
        task = self.env.task
        observations = {
            key: ArraySpec(tuple(space.shape or ()), np.dtype(space.dtype).name)
            for key, space in self.env.observation_space.spaces.items()
        }
        cameras = tuple(camera.name for camera in self.env.cameras)
        return StoreSpec(task.name, task.text, robot, task.rate_hz, observations, task.action.names, cameras, config)

    def check_store(self, spec: StoreSpec) -> None:
        """Task, action columns and the observations that the policy needs must fit."""
        spec.require(task=self.env.task.name, action_names=self.env.task.action.names, observations=self._needed())

    def _needed(self) -> dict[str, ArraySpec]:
        known = self.env.observation_space.spaces
        return {
            key: ArraySpec(tuple(known[key].shape or ()), np.dtype(known[key].dtype).name)
            for key in self.featuriser.keys
        }

    def close(self) -> None:
        """Ends torque control."""
        self.env.close()


def vector_sizes(task: Task) -> dict[str, int]:
    """Returns the width of each observation of a task. Raises UserError for what is no vector of floats."""
    sizes = {}
    for key, space in task.observation_space().spaces.items():
        vector = isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
        if not vector:
            wanted = f"task {task.name}: policies take vectors of floats, observation {key!r} is {space}"
            raise UserError(f"{wanted}: flatten it in `observe`; pictures come from the cameras of `scene`")
        sizes[key] = int(np.prod(space.shape or ()))
    return sizes


def make_workplace(
    task: str,
    *,
    variant: str = "default",
    env_id: str | None = None,
    robot: str = "mujoco",
    robot_config: Mapping[str, Any] | None = None,
    seed: int = 0,
    history: int = 0,
    images: bool = False,
    record_images: bool = False,
    realtime: bool = False,
    task_config: Mapping[str, Any] | None = None,
    safety_config: Mapping[str, Any] | None = None,
    flights: Path | None = None,
) -> Workplace:
    """Returns the workplace of a task by name; `task=gym` takes any Gymnasium environment by its id.

    record_images: observations hold the cameras' pictures as well, for episode stores; policies see vectors.
    realtime: run the arm at the pace of the clock in a motor process, see make_env.
    flights: folder for the flight recorder's files, see make_env.
    images: would let policies see the pictures. Raises UserError: no command learns from them.
    """
    if images:
        learn = "learned from in a program by DiffusionConfig(encoder=conv), see docs/learning.md"
        raise UserError(
            f"images=true: pictures are recorded by `robot-rl collect images=true` and {learn}; "
            "pretrain and finetune use vectors: leave images off"
        )
    if task == "gym":
        from robot_rl.training.gym_workplace import GymWorkplace

        if env_id is None:
            raise UserError("task=gym needs env_id=<id of gymnasium.make> or env_id=<Module:Id>")
        return GymWorkplace(env_id, history=history, options=task_config or {})
    if env_id is not None:
        raise UserError(f"env_id goes with task=gym, got task={task}")
    layers = layers_from(safety_config or {})
    made = make_task(task, variant, task_config)
    if robot == "fr3" and record_images:
        raise UserError("images=true with robot=fr3: start camera nodes and a controller node, and give robot=ros")
    env = make_env(
        made,
        robot=robot,
        robot_config=robot_config,
        seed=seed,
        images=record_images,
        realtime=realtime,
        layers=layers,
        flights=flights,
    )
    return ArmWorkplace(env, history)
