"""Where the safety critic's episodes come from: which task and limits, and whether a critic has seen them before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.errors import UserError
from data.plain_json import digest
from robot_rl.envs.make import chain_of
from robot_rl.safety_critic.files import Critic
from robot_rl.safety_critic.trajectories import LIMITS, Trajectory, load_folder
from robot_rl.tasks.registry import make_task
from robot_rl.workflows.common import read_setup

_DIGITS = 16
"""Of each episode's digest: enough to tell episodes apart."""


class Collection(NamedTuple):
    """A folder of `safety collect`."""

    folder: Path
    setup: dict[str, Any]
    """task, variant and task_config."""
    limits: dict[str, float]
    """By which features were scaled and violations judged."""
    surface: tuple[float, ...] | None
    """About which depths were measured."""
    episodes: list[Trajectory]


def resolved(place: str) -> Path:
    """Returns a path from the command line as it is found from anywhere."""
    return Path(place).expanduser().resolve()


def read_collection(place: str) -> Collection:
    """Reads a folder of `safety collect`.

    Raises UserError, in one line, where it is none, or holds episodes that were measured by other limits or about
    another surface than its task has now.
    """
    folder = resolved(place)
    stored: Any = read_setup(folder)
    kinds = {"task": str, "variant": str, "task_config": dict}
    facts = stored if isinstance(stored, dict) else {}
    wrong = [name for name, kind in kinds.items() if not isinstance(facts.get(name), kind)]
    if wrong:
        raise UserError(f"{folder}/config.json tells no {wrong[0]}: expected a folder of robot-rl safety collect")
    setup = {name: stored[name] for name in kinds}
    chain = chain_of(make_task(setup["task"], setup["variant"], setup["task_config"]))
    limits = {name: float(getattr(chain.critic, name)) for name in LIMITS}
    return Collection(folder, setup, limits, chain.critic.surface, load_folder(folder, chain.critic))


def require_alike(collections: Sequence[Collection]) -> None:
    """Raises UserError unless all episodes are of one task with the same limits."""
    first = collections[0]
    for other in collections[1:]:
        _require_same_task(first.setup["task"], other, f"{first.folder} those")
        _require_same_limits(first.limits, other, f"{first.folder} those")


def require_fitting(critic: Critic, what: str, collection: Collection) -> None:
    """Raises UserError unless a critic is for the task and the limits of these episodes; what: how to call it."""
    _require_same_task(critic.task, collection, f"{what} is one")
    limits = {name: float(critic.weights[name]) for name in LIMITS}
    _require_same_limits(limits, collection, f"{what} is one")
    if not np.allclose(critic.weights["surface"], collection.surface or 0.0):
        raise UserError(
            f"{collection.folder} holds episodes about another surface than {what} sees: train one on these episodes"
        )


def _require_same_task(task: str, other: Collection, what: str) -> None:
    if other.setup["task"] != task:
        raise UserError(
            f"{other.folder} holds episodes of task {other.setup['task']}, {what} of {task}: one critic, one task"
        )


def _require_same_limits(limits: Mapping[str, float], other: Collection, what: str) -> None:
    for name, value in limits.items():
        if not np.isclose(value, other.limits[name]):
            raise UserError(
                f"{other.folder} holds episodes with {name}={other.limits[name]:g}, {what} with {name}={value:g}: "
                "collect episodes with the same task_config"
            )


def record_of(collections: Sequence[Collection]) -> dict[str, Any]:
    """Returns what a critic keeps of the episodes that made it: their digests, and the worlds they were drawn from."""
    episodes = [one.sha256 for collection in collections for one in collection.episodes]
    return {
        "sha256": sha256(" ".join(sorted(episodes)).encode()).hexdigest(),
        "episodes": [episode[:_DIGITS] for episode in episodes],
        "worlds": [
            {**collection.setup, "seeds": [one.seed for one in collection.episodes]} for collection in collections
        ],
    }


def shared_episodes(critic: Critic, path: Path, collection: Collection) -> int:
    """Returns how many of these episodes a critic, of the file `path`, has seen: the very ones, or in the same worlds.

    Raises UserError for a critic that does not tell what it has seen.
    """
    seen: Any = critic.about.get("learned_from")
    try:
        digests = set(seen["episodes"])
        worlds = {_world(world, number) for world in seen["worlds"] for number in world["seeds"]}
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} does not tell which episodes it learned from: make it again") from error
    mine = [(one.sha256[:_DIGITS], _world(collection.setup, one.seed)) for one in collection.episodes]
    return sum(name in digests or world in worlds for name, world in mine)


def require_unseen(critic: Critic, path: Path, collection: Collection) -> None:
    """Raises UserError if a critic, of the file `path`, was made from any of these episodes."""
    count = shared_episodes(critic, path, collection)
    if count:
        raise UserError(
            f"{count} of {len(collection.episodes)} episodes in {collection.folder} are among those that {path} was "
            "trained on: collect others, with variant=heldout or another seed"
        )


def _world(setup: Mapping[str, Any], seed: int) -> str:
    """A name for what chance drew before an episode."""
    return digest([setup["task"], setup["variant"], setup["task_config"], seed])
