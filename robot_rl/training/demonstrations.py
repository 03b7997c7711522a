"""From an episode store to replay rows."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from data.episode import Episode
from data.episode_folder import read_manifest
from data.errors import UserError
from data.store import EpisodeStore
from data.store_layout import EPISODES, episode_name
from robot_rl.learning.replay import NOT_IMITATED, Replay
from robot_rl.training.decision import INFO_KEYS, Decision, decision_of
from robot_rl.training.workplace import F32, Workplace


def load_episodes(path: str, workplace: Workplace) -> list[Episode]:
    """Returns all episodes of a store that fits the workplace. Raises UserError if it does not, or is empty."""
    with EpisodeStore.open(path) as store:
        workplace.check_store(store.spec)
        episodes = list(store)
    if not episodes:
        raise UserError(f"expected recorded episodes in {path}, found none: collect some first")
    return episodes


def digest_of(path: str) -> tuple[int, str]:
    """Returns how many episodes a store holds, and the SHA-256 over the checksums of their files."""
    digest = sha256()
    with EpisodeStore.open(path) as store:
        count = len(store)
    for index in range(count):
        manifest = read_manifest(Path(path) / EPISODES / episode_name(index))
        for name, (_, checksum) in sorted(manifest.files.items()):
            digest.update(f"{index} {name} {checksum}\n".encode())
    return count, digest.hexdigest()


def successful(episodes: list[Episode], path: str) -> list[Episode]:
    """Returns the successes, which imitation learns from. Raises UserError if there is none."""
    chosen = [episode for episode in episodes if episode.success]
    if not chosen:
        raise UserError(
            f"expected at least one success among the {len(episodes)} episodes of {path}, found none: record more"
        )
    return chosen


def imitation_pairs(episodes: list[Episode], workplace: Workplace) -> list[tuple[F32, F32]]:
    """Returns (features (T, obs_size), executed actions (T, action_size)) of what the demonstrator itself did.

    Where the reflex arbiter had the arm the recovery acted, and while a person let go of the dead-man nobody did: an
    episode falls into the parts before, between and after.
    """
    pairs = []
    for episode in episodes:
        features, actions = workplace.demonstrations(episode)
        own = np.flatnonzero(~np.isin(episode.source, NOT_IMITATED))
        for part in np.split(own, np.flatnonzero(np.diff(own) > 1) + 1):
            if len(part):
                pairs.append((features[part], actions[part]))
    return pairs


def fill_replay(
    replay: Replay, episodes: list[Episode], workplace: Workplace, agent: Any, rng: np.random.Generator
) -> None:
    """Adds all transitions, failures too, with the executed actions and what the agent caches per observation.

    Raises:
        UserError: the agent needs the energy of each step, and the episodes were recorded without.
    """
    for episode in episodes:
        features, actions = workplace.demonstrations(episode)
        taken = _taken(episode, workplace.rate_hz)
        if agent.needs_energy and any(decision.energy_j is None for decision in taken):
            cure = "record them anew where the energy ledger runs, or leave data or energy_budget_j unset"
            raise UserError(f"energy_budget_j needs demonstrations with the energy of each step, these lack it: {cure}")
        extras = _rows(agent.prepare_episode(features, rng), len(features))
        for t in range(len(episode)):
            replay.add(
                features[t],
                actions[t],
                float(episode.reward[t]),
                features[t + 1],
                bool(episode.terminated[t]),
                bool(episode.truncated[t]),
                int(episode.source[t]),
                extras[t],
                extras[t + 1],
                taken[t].steps,
                taken[t].energy_j or 0.0,
            )
        replay.interrupt()


def _taken(episode: Episode, rate_hz: float | None) -> list[Decision]:
    """What became of each recorded decision, as far as the recording tells."""
    told = {name: values for name, values in episode.extras.items() if name in INFO_KEYS}
    rows = [{name: values[t] for name, values in told.items()} for t in range(len(episode))]
    return [decision_of(row, rate_hz, int(source)) for row, source in zip(rows, episode.source, strict=True)]


def _rows(extras: dict[str, F32], count: int) -> list[dict[str, F32]]:
    return [{name: values[t] for name, values in extras.items()} for t in range(count)]
