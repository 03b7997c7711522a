"""Checks of an environment's form and of one episode. Each yields (what is wrong, why it matters, what to do)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces

from controllers.types import Source
from robot_rl.envs.trial import Env, Found, Trial

FORCE_MARGIN_N = 10.0
"""Noise, bias and the inertia of the tool while it is moved [N]."""


def action_space_is_unit_box(env: Env) -> Iterator[Found]:
    """Learners here act in [-1, 1]."""
    space = env.action_space
    cure = "use gymnasium.spaces.Box(-1.0, 1.0, (n,), np.float32) and scale inside the environment"
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        yield f"action_space is {space}", "policies give one flat vector", cure
    elif not (space.low == -1.0).all() or not (space.high == 1.0).all():
        yield f"action bounds are {space.low.min()} .. {space.high.max()}", "policies are squashed to [-1, 1]", cure
    elif space.dtype != np.float32:
        yield f"the action's type is {space.dtype}", "stores and networks hold float32", cure


def observation_space_is_dict_of_boxes(env: Env) -> Iterator[Found]:
    """Named, bounded arrays: float32 vectors, uint8 pictures (height, width, 3)."""
    space = env.observation_space
    if not isinstance(space, spaces.Dict):
        yield f"observation_space is {type(space).__name__}", "stores name each array", "use gymnasium.spaces.Dict"
        return
    for key, part in space.spaces.items():
        if not isinstance(part, spaces.Box):
            yield f"{key!r} is {type(part).__name__}", "features are made of arrays", "use gymnasium.spaces.Box"
        elif key.startswith("image"):
            if part.dtype != np.uint8 or len(part.shape) != 3 or part.shape[2] != 3:
                yield (
                    f"{key!r} is {part.dtype} {part.shape}",
                    "encoders take uint8 (height, width, 3)",
                    "do not scale or transpose pictures in the environment",
                )
        elif part.dtype != np.float32:
            yield f"{key!r} is {part.dtype}", "stores and networks hold float32", "declare and return float32"
        elif not (np.isfinite(part.low).all() and np.isfinite(part.high).all()):
            yield f"{key!r} has no finite bounds", "an outlier would dominate the networks", "clip to about +-10"


def _observations(trial: Trial) -> Iterator[tuple[str, Any]]:
    yield "reset", trial.first
    for index, step in enumerate(trial.steps):
        yield f"step {index}", step.observation


def observations_fit_the_space(trial: Trial) -> Iterator[Found]:
    """Names, types, shapes, bounds, and no number that is not finite."""
    parts = trial.env.observation_space.spaces  # type: ignore[attr-defined]
    for when, observation in _observations(trial):
        if set(observation) != set(parts):
            yield f"{when} gave {sorted(observation)}", f"the space names {sorted(parts)}", "return exactly those"
            return
        for key, part in parts.items():
            value = np.asarray(observation[key])
            if value.dtype != part.dtype or value.shape != part.shape:
                yield (
                    f"{key!r} at {when} is {value.dtype} {value.shape}, the space says {part.dtype} {part.shape}",
                    "a store refuses it",
                    "convert it in the environment",
                )
                return
            if not np.isfinite(value).all():
                yield f"{key!r} at {when} is not finite", "one NaN ends a training run", "find the sensor, or raise"
                return
            if (value < part.low).any() or (value > part.high).any():
                yield f"{key!r} at {when} leaves its bounds", "networks are scaled by them", "clip, or widen the space"
                return


def results_have_plain_types(trial: Trial) -> Iterator[Found]:
    """A finite float as reward, bools as ends."""
    for index, step in enumerate(trial.steps):
        if not isinstance(step.reward, float | int) or not np.isfinite(step.reward):
            yield f"reward at step {index} is {step.reward!r}", "returns are sums of it", "return a finite float"
            return
        for name, value in (("terminated", step.terminated), ("truncated", step.truncated)):
            if not isinstance(value, bool):
                yield f"{name} at step {index} is {type(value).__name__}", "it is stored as a bool", "wrap it in bool()"
                return


def ends_are_exclusive(trial: Trial) -> Iterator[Found]:
    """An episode ends by itself or by the clock, never both."""
    for index, step in enumerate(trial.steps):
        if step.terminated and step.truncated:
            yield (
                f"terminated and truncated at step {index}",
                "a terminated state is worth nothing more, a truncated one goes on: critics learn from the difference",
                "truncated = time is up and not terminated",
            )


def there_is_a_time_limit(trial: Trial) -> Iterator[Found]:
    """Without one, one bad policy stops the collection for ever."""
    if not trial.steps or not (trial.steps[-1].terminated or trial.steps[-1].truncated):
        yield (
            f"no end within {len(trial.steps)} steps of random actions",
            "a policy that stands still would never be reset",
            "return truncated=True after the task's max_steps",
        )
    limit = getattr(getattr(trial.env.unwrapped, "task", None), "max_steps", None)
    whole = sum(not step.info.get("interrupted") and step.info.get("source") != Source.RECOVERY for step in trial.steps)
    if limit is not None and whole > limit:
        yield f"{whole} steps, the task allows {limit}", "time limits are compared", "truncate at max_steps"


def executed_action_is_told(trial: Trial) -> Iterator[Found]:
    """What the limiter let through, in action units."""
    space = trial.env.action_space
    for index, step in enumerate(trial.steps):
        executed = step.info.get("action_executed")
        cure = "return info['action_executed']: what the chain let through, float32, in [-1, 1]"
        if executed is None:
            yield (
                f"no action_executed at step {index}",
                "learning from wishes instead of deeds is wrong at limits",
                cure,
            )
            return
        if not space.contains(np.asarray(executed)):
            yield f"action_executed at step {index} is {executed!r}", "it is stored in place of the action", cure
            return


def stamps_rise(trial: Trial) -> Iterator[Found]:
    """Every observation is newer than the one before."""
    stamps = [trial.reset_info.get("stamp_ns"), *(step.info.get("stamp_ns") for step in trial.steps)]
    if any(not isinstance(stamp, int) for stamp in stamps):
        yield "stamp_ns is missing or no int", "ages and rates come from it", "return info['stamp_ns'], monotonic"
    elif any(later <= earlier for earlier, later in pairwise(stamps)):  # type: ignore[operator]
        yield "stamp_ns does not rise strictly", "an old sensor reading passes as new", "stamp with the motor's clock"


def success_is_told(trial: Trial) -> Iterator[Found]:
    """Success rates are counted from info."""
    for index, step in enumerate(trial.steps):
        if not isinstance(step.info.get("success"), bool):
            yield f"no bool 'success' at step {index}", "success rates are counted from it", "return info['success']"
            return


def reset_is_named(trial: Trial) -> Iterator[Found]:
    """Reports tell robot minutes with and without resets."""
    if trial.reset_info.get("reset_kind") not in ("automatic", "teleport", "human"):
        yield (
            f"reset_kind is {trial.reset_info.get('reset_kind')!r}",
            "figures of a teleporting reset would pass as those of a robot",
            "return info['reset_kind']: automatic, teleport or human",
        )


def force_stays_within_the_leash(trial: Trial) -> Iterator[Found]:
    """Sustained force <= stiffness x leash: the bound on which everybody relies who stands beside the arm."""
    task = getattr(trial.env.unwrapped, "task", None)
    if task is None:
        return
    spec, limiter = task.action, task.chain_config().limiter
    stiffness = spec.stiffness_of(np.ones(spec.size))[:3]
    bound_n = float(np.linalg.norm(stiffness * np.array(limiter.leash)[:3])) + FORCE_MARGIN_N
    forces = [float(step.info.get("force_n", 0.0)) for step in trial.steps]
    if forces and max(forces) > bound_n:
        yield (
            f"sustained force {max(forces):.0f} N, stiffness x leash allows {bound_n:.0f} N",
            "nothing else bounds what a policy can press with",
            "let the chain's leash bite at every tick; check the wrench's sign, bias and tool weight",
        )


FORM = (action_space_is_unit_box, observation_space_is_dict_of_boxes)
EPISODE = (
    observations_fit_the_space,
    results_have_plain_types,
    ends_are_exclusive,
    there_is_a_time_limit,
    executed_action_is_told,
    stamps_rise,
    success_is_told,
    reset_is_named,
    force_stays_within_the_leash,
)
