"""Episodes as flat arrays of transitions, as learners take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.episode import Episode
from data.errors import UserError


@dataclass(frozen=True, eq=False)
class Transitions:
    """N transitions; row t says that `action` in `observation` led to `next_observation` and `reward`."""

    observation: NDArray[np.float32]
    """(N, D)."""
    action: NDArray[np.float32]
    """(N, A): what was executed, which may differ from what was proposed."""
    reward: NDArray[np.float32]
    """(N,)."""
    next_observation: NDArray[np.float32]
    """(N, D); at an episode's end its true last observation, never the first of the next episode."""
    terminated: NDArray[np.bool_]
    """(N,): nothing follows, so no value is bootstrapped."""
    truncated: NDArray[np.bool_]
    """(N,): the recording was cut, so the value of `next_observation` is bootstrapped."""
    source: NDArray[np.int32]
    """(N,): who proposed the action, a code of the controllers' `Source`."""

    def __len__(self) -> int:
        """Number of transitions N."""
        return len(self.reward)


def vector_keys(episode: Episode) -> tuple[str, ...]:
    """Returns the keys of the observations that are numbers or vectors, not pictures, in the order of the spec."""
    return tuple(key for key, array in episode.observations.items() if array.ndim <= 2)


def flat_observations(episode: Episode, keys: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Returns the observations `keys` (by default `vector_keys`) side by side, (T + 1, D); `UserError` for others."""
    chosen = vector_keys(episode) if keys is None else tuple(keys)
    unknown = [key for key in chosen if key not in episode.observations]
    if unknown or not chosen:
        there = ", ".join(episode.observations)
        raise UserError(f"expected some of the observations {there}; got {', '.join(unknown) or 'none'}")
    rows = [episode.observations[key].reshape(len(episode) + 1, -1) for key in chosen]
    return np.concatenate(rows, axis=1, dtype=np.float32, casting="same_kind")


def transitions(episode: Episode, keys: Sequence[str] | None = None) -> Transitions:
    """Returns the T transitions of an episode, with the observations `keys` (see `flat_observations`)."""
    observation = flat_observations(episode, keys)
    return Transitions(
        observation=observation[:-1],
        action=episode.action_executed.astype(np.float32),
        reward=episode.reward.astype(np.float32),
        next_observation=observation[1:],
        terminated=episode.terminated.astype(np.bool_),
        truncated=episode.truncated.astype(np.bool_),
        source=episode.source.astype(np.int32),
    )


def all_transitions(episodes: Iterable[Episode], keys: Sequence[str] | None = None) -> Transitions:
    """Returns the transitions of several episodes, one after the other; `UserError` if there is no episode."""
    parts = [transitions(episode, keys) for episode in episodes]
    if not parts:
        raise UserError("expected at least one episode to take transitions from, got none; collect some first")
    joined: dict[str, Any] = {
        item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Transitions)
    }
    return Transitions(**joined)
