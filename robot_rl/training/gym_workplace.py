"""Any Gymnasium environment with Box spaces, so that others can compare this learner with theirs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from data.episode import Episode
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec
from robot_rl.envs.featuriser import Featuriser
from robot_rl.plugins import look_in_working_folder
from robot_rl.training.decision import INFO_KEYS
from robot_rl.training.workplace import F32, Outcome

STEP_LIMIT = 1000
"""Steps after which an episode is truncated where the environment sets no limit, as most of Gymnasium's own do."""

_USUAL: dict[str, Any] = {"gamma": 0.99, "n_step": 1, "hidden": [256, 256]}
AGENT_OPTIONS = {"rlpd": _USUAL, "residual": _USUAL, "expo": _USUAL, "dsrl": _USUAL}
"""Settings per agent, those usual for such environments: the agents' own are for short tasks of an arm."""


class GymWorkplace:
    """Maps actions in [-1, 1] to the environment's bounds, and observations of any number type to float32.

    Whole numbers, such as the bytes of a picture, are cast and not scaled.

    An environment without a time limit gets one: an episode that never ended would hold an evaluation for ever.
    `options` go to gymnasium.make, such as its own `max_episode_steps`.

    Success is `info["success"]` or `info["is_success"]`, where the environment tells one of them. What it tells of
    robot_rl.training.decision.INFO_KEYS, such as the energy spent, is passed on.
    """

    restorable = True  # every episode begins with a seeded reset, so there is nothing to carry over
    rate_hz: float | None = None

    def __init__(self, env_id: str, history: int = 0, options: Mapping[str, Any] | None = None) -> None:
        look_in_working_folder()  # for Module:Id
        try:
            self.env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, **dict(options or {}))
        except (gymnasium.error.Error, ImportError, SyntaxError, TypeError, ValueError, AssertionError) as error:
            # its own checks assert
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            cure = "give an id of gymnasium.make or Module:Id"
            raise UserError(f"gymnasium cannot make {env_id!r}: {first}; {cure}") from error
        if self.env.spec is None or self.env.spec.max_episode_steps is None:
            self.env = TimeLimit(self.env, STEP_LIMIT)
            _say_limit(env_id)
        observation, action = self.env.observation_space, self.env.action_space
        for name, space, content, kind in (
            ("observation", observation, "numbers", np.number),
            ("action", action, "floats", np.floating),
        ):
            if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, kind):
                wanted = f"expected a Box of {content} as {name} space"
                raise UserError(f"{env_id}: {wanted}, got {space}; wrap the environment first")
        assert isinstance(action, spaces.Box)  # told by the loop above; for the type checker
        if not np.isfinite([action.low, action.high]).all():
            raise UserError(f"{env_id}: expected a bounded action space, got {action}; wrap it with RescaleAction")
        self.env_id = env_id
        self.featuriser = Featuriser({"state": int(np.prod(observation.shape or ()))}, history)
        self.obs_size = self.featuriser.size
        self._low, self._high = action.low.astype(np.float64).ravel(), action.high.astype(np.float64).ravel()
        self.observation: dict[str, NDArray[Any]] = {}
        self._steps = 0
        self._shape, self._dtype = action.shape, action.dtype
        self.action_names = tuple(f"a{i}" for i in range(len(self._low)))

    def reset(self, seed: int) -> tuple[F32, dict[str, Any]]:
        """A seeded reset. Environments that draw from the global generators are made to repeat as well."""
        np.random.seed(seed % 2**32)  # noqa: NPY002 - nothing here draws from it, some environments do
        random.seed(seed)
        observation, _ = self.env.reset(seed=seed)
        self._steps = 0
        return self.featuriser.reset(self._observe(observation)), {"stamp_ns": 0}

    def leave_resets(self, wished: Callable[[], bool]) -> None:
        """Its resets wait for nobody."""

    def step(self, action: F32, source: int = 0) -> Outcome:
        """One step; the executed action is the clipped one."""
        if not np.isfinite(action).all():
            raise UserError(f"an action must be finite, got {np.asarray(action).tolist()}")
        executed = np.clip(action, -1.0, 1.0).astype(np.float32)
        scaled = self._low + (executed + 1.0) * 0.5 * (self._high - self._low)
        given = scaled.reshape(self._shape).astype(self._dtype)
        observation, reward, terminated, truncated, info = self.env.step(given)
        success = bool(info.get("success", info.get("is_success", False)))
        features = self.featuriser.step(self._observe(observation))
        self._steps += 1
        told = {key: info[key] for key in INFO_KEYS if key in info}
        info = {"stamp_ns": self._steps * 1_000_000_000, **told}  # one step is called a second, see store_spec
        return Outcome(features, float(reward), bool(terminated), bool(truncated), executed, success, info)

    def _observe(self, observation: Any) -> dict[str, NDArray[Any]]:
        self.observation = {"state": np.asarray(observation, np.float32).ravel()}
        return self.observation

    def whole_action(self, action: F32) -> F32:
        """Stores keep an action as it is."""
        return action

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Nothing: a seeded reset starts every episode."""
        return {}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to put back."""

    def demonstrations(self, episode: Episode) -> tuple[F32, F32]:
        """Features and executed actions of a recorded episode."""
        return self.featuriser.episode(episode.observations), episode.action_executed

    def store_spec(self, robot: str, config: dict[str, Any]) -> StoreSpec:
        """Returns the description of a store for this environment's episodes."""
        observations = {"state": ArraySpec((self.featuriser.frame_size,), "float32")}
        return StoreSpec("gym", self.env_id, robot, 1.0, observations, self.action_names, (), config)

    def check_store(self, spec: StoreSpec) -> None:
        """Environment, widths and action names must fit."""
        if spec.task == "gym" and spec.task_text.rpartition(":")[2] != self.env_id.rpartition(":")[2]:
            cure = "use the data that was recorded for this environment"
            raise UserError(f"the store holds episodes of env_id={spec.task_text}, not of {self.env_id}; {cure}")
        needed = {"state": ArraySpec((self.featuriser.frame_size,), "float32")}
        spec.require(task="gym", action_names=self.action_names, observations=needed)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


@cache  # once, however many workplaces a command makes
def _say_limit(env_id: str) -> None:
    print(
        f"{env_id} has no time limit: episodes end after {STEP_LIMIT} steps; task_config.max_episode_steps=... sets it"
    )
