"""Checks that run an environment again: other seeds, moved truth, bad input. Each yields what `checks` yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.trial import Found, Trial
from robot_rl.tasks.base import Draw


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


def truth_stays_hidden(trial: Trial) -> Iterator[Found]:
    """Two episodes that differ only in the true poses look alike, to the bit, at their start, where nothing is touched.

    Needs an environment that offers `draw`, and `snapshot` and `restore` so that both depart from the same state.
    """
    env = trial.env.unwrapped
    if not (hasattr(env, "draw") and hasattr(env, "snapshot") and hasattr(env, "restore")):
        return
    draw = env.draw
    departure = env.snapshot()
    starts = []
    for offset_m in (0.0, 0.001):
        env.restore(departure)
        observation, info = env.reset(seed=78, options={"draw": moved(draw, offset_m)})
        starts.append({**observation, "reset_s": info.get("reset_s"), "q_rad": info.get("q_rad")})
    for key, value in starts[0].items():
        # a picture shows the plate where it is, as a camera does
        if not key.startswith("image") and not np.array_equal(value, starts[1][key]):
            yield (
                f"{key!r} after a reset changes with the true pose of a fixture that nothing touches",
                "a robot does not know the truth, so the policy would not transfer",
                "compute it from sensed values and the observed goal only",
            )


def moved(draw: Draw, offset_m: float) -> Draw:
    """Returns the draw with its true fixtures moved along base x by offset_m, and all that is observed as it was."""
    step = np.array([offset_m, 0.0, 0.0])
    fixtures = {name: Pose(pose.position_m + step, pose.quaternion_xyzw) for name, pose in draw.fixtures.items()}
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
