"""Checks that run an environment again: other seeds, moved truth, bad input. Each yields what `checks` yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.trial import Found, Trial
from robot_rl.tasks.base import Draw

Seen = list[tuple[str, dict[str, Any]]]
"""When, and what was seen then by name."""


def same_seed_same_draw(trial: Trial) -> Iterator[Found]:
    """A seed decides the episode: evaluation is meaningless otherwise."""
    if not hasattr(trial.env.unwrapped, "draw"):
        return
    before = trial.env.unwrapped.draw
    seeds: list[Any] = []
    for _ in range(2):
        trial.env.reset(seed=12345)
        seeds.append(trial.env.unwrapped.draw)
    same = all(
        seeds[0].fixtures[name].is_close(seeds[1].fixtures[name], 1e-12) for name in seeds[0].fixtures
    ) and seeds[0].T_base_start.is_close(seeds[1].T_base_start, 1e-12)
    if not same:
        yield (
            "two resets with one seed drew two episodes",
            "results cannot be repeated",
            "draw from self.np_random only",
        )
    if seeds[1].T_base_start.is_close(before.T_base_start, 1e-12):
        yield "two seeds drew the same start", "every episode is the same one", "draw from self.np_random in reset"


SHIFTS = {
    "x": Pose(np.array([0.001, 0.0, 0.0])),
    "y": Pose(np.array([0.0, 0.001, 0.0])),
    "z": Pose(np.array([0.0, 0.0, -0.0005])),
    "yaw": Pose.from_rpy(np.zeros(3), (0.0, 0.0, 0.01)),
}
"""Small enough to touch nothing."""


def truth_stays_hidden(trial: Trial) -> Iterator[Found]:
    """Episodes that differ only in the true poses look alike, to the bit, for as long as nothing is touched.

    That is from one reset over some steps away from the fixtures to the next reset. Needs an environment that offers
    `task`, `draw`, and `snapshot` and `restore` so that all depart from the same state.
    """
    env: Any = trial.env.unwrapped
    if not all(hasattr(env, name) for name in ("task", "draw", "snapshot", "restore")):
        return
    for seed in (78, 79, 80):
        env.reset(seed=seed)
        try:
            draw, departure = env.draw, env.snapshot()
        except UserError:  # a robot on a bench does not depart twice from the same state
            return
        plain = free_air(env, draw, departure, seed)
        for axis, shift in SHIFTS.items():
            changed = first_change(plain, free_air(env, moved(draw, shift), departure, seed))
            if changed is not None:
                yield (
                    f"{changed} changes with the true {axis} of a fixture that nothing touches",
                    "a robot does not know the truth, so the policy would not transfer",
                    "compute it from sensed values and the observed goal only",
                )
                return


def first_change(expected: Seen, found: Seen) -> str | None:
    """Names the first value that differs by a bit, and when; None where all are equal."""
    for (when, values), (_, others) in zip(expected, found, strict=True):
        for key, value in values.items():
            if not np.array_equal(value, others[key]):
                return f"{key!r} {when}"
    return None


def free_air(env: Any, draw: Draw, departure: Mapping[str, NDArray[Any]], seed: int) -> Seen:
    """Resets from a departure to a draw, takes five steps away from its fixtures, and resets again.

    Returns what was seen, without pictures: a camera shows a fixture where it is.
    """
    env.restore(departure)
    observation, info = env.reset(seed=seed, options={"draw": draw})
    seen = [("after a reset", {**_vectors(observation), "reset_s": info.get("reset_s"), "q_rad": info.get("q_rad")})]
    action = np.zeros(env.action_space.shape, np.float32)
    action[:3] = 0.3 * env.task.free_direction_goal()  # a tool starts roughly along the goal's axes
    for _ in range(5):
        observation, reward, terminated, truncated, info = env.step(action)
        ends = {"reward": reward, "terminated": terminated, "truncated": truncated}
        seen.append(("in free air", {**_vectors(observation), **ends, "action_executed": info["action_executed"]}))
    observation, info = env.reset(seed=seed + 1)
    return [*seen, ("after the next reset", {**_vectors(observation), "q_rad": info.get("q_rad")})]


def _vectors(observation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in observation.items() if not key.startswith("image")}


def moved(draw: Draw, shift: Pose) -> Draw:
    """Returns the draw with its true fixtures moved and turned in base axes, and all that is observed as it was."""
    fixtures = {
        name: Pose(pose.position_m + shift.position_m, shift.compose(pose).quaternion_xyzw)
        for name, pose in draw.fixtures.items()
    }
    return replace(draw, fixtures=fixtures)


def bad_actions_are_refused(trial: Trial) -> Iterator[Found]:
    """NaN, infinity and a wrong size raise UserError, and the episode goes on as if they had not come."""
    env = trial.env
    size = int(np.prod(env.action_space.shape or ()))
    bad = {"NaN": np.full(size, np.nan), "infinity": np.full(size, np.inf), "a wrong size": np.zeros(size + 1)}
    _, info = env.reset(seed=3)
    for name, action in bad.items():
        try:
            result = env.step(action.astype(np.float32))
        except UserError:
            continue
        after = result[4].get("stamp_ns")
        yield (
            f"an action with {name} was carried out (stamp {info.get('stamp_ns')} -> {after})",
            "a diverged policy must not move an arm",
            "raise data.errors.UserError before anything is sent",
        )
        return
    env.step(np.zeros(size, np.float32))


def it_can_be_reset_at_any_time(trial: Trial) -> Iterator[Found]:
    """After an end, and in the middle."""
    for when in ("after an episode's end", "in the middle of an episode"):
        try:
            observation, _ = trial.env.reset(seed=9)
        except UserError as error:
            yield f"reset {when} failed: {error}", "training stops there", "make the reset free the arm from any state"
            return
        if not trial.env.observation_space.contains(observation):
            yield f"reset {when} gave an observation outside its space", "a store refuses it", "as after any reset"
        trial.env.step(np.zeros(trial.env.action_space.shape or (), np.float32))


AGAIN = (it_can_be_reset_at_any_time, same_seed_same_draw, truth_stays_hidden, bad_actions_are_refused)
