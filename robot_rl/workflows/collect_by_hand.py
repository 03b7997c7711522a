"""`robot-rl collect source=gamepad|spacemouse|keyboard`: demonstrations by a person, in real time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from controllers.types import Source
from data.episode import Episode
from data.store import EpisodeStore
from robot_rl.config import CollectConfig
from robot_rl.teleop.config import teleop_from
from robot_rl.teleop.devices.companion import with_keys
from robot_rl.teleop.devices.keyboard import HELP
from robot_rl.teleop.operator import EpisodeDiscarded, TeleopOperator
from robot_rl.teleop.session import Session
from robot_rl.teleop.workplace import attended_workplace
from robot_rl.training.recording import record_episode
from robot_rl.training.workplace import ArmWorkplace
from robot_rl.workflows.collect import conclude, episode_seed, open_store, usable_path
from robot_rl.workflows.safety_notes import say_layers


def run(config: CollectConfig) -> dict[str, Any]:
    """Records until the store holds `episodes`; each is on the disk before the next begins, dropped ones never are.

    Returns episodes, successes and the store's path.
    """
    settings = teleop_from(config.teleop_config)
    path = usable_path(config)
    wanted = {**vars(config), "out": None}  # flights belong to the arm, not into an episode store
    device = with_keys(settings.make_device(config.source))
    workplace, session = attended_workplace(wanted, device, settings, settings.episode_s)
    try:
        with open_store(path, workplace, config) as store:
            say_layers(vars(config))
            print(HELP, file=sys.stderr)
            _fill(store, workplace, session, config)
            return conclude(store)
    finally:
        workplace.close()


def _fill(store: EpisodeStore, workplace: ArmWorkplace, session: Session, config: CollectConfig) -> None:
    operator = _Announcing(workplace.env, session)
    while (number := len(store)) < config.episodes:
        session.release()
        _say(f"episode {number + 1} of {config.episodes}: the arm drives to the start by itself")
        seed = episode_seed(config, number)
        try:
            episode, record = record_episode(workplace.env, operator, store.spec, seed)
        except EpisodeDiscarded:
            _say("dropped: nothing of it is kept; the same start again")
            continue
        finally:
            session.release()
        begun = without_waiting(episode)
        if begun is None:
            _say("dropped: nobody held the dead-man; the same start again")
            continue
        store.append(begun)
        own = int((begun.source == Source.HUMAN).sum())
        _say(f"kept: {record.end}, {len(begun)} decisions, {own} of them with the dead-man held")


def without_waiting(episode: Episode) -> Episode | None:
    """Returns an episode from the first decision on in which the dead-man was held; None where there is none.

    What was recorded while somebody found the button is an arm at rest, of which a policy would learn to wait.
    """
    held = np.flatnonzero(episode.source == Source.HUMAN)
    if not held.size:
        return None
    first, steps = int(held[0]), len(episode)
    arrays = {path: array[first:] for path, array in episode.arrays().items()}
    info = {**episode.info, "length": steps - first, "waited": first}
    return Episode.from_arrays(arrays, episode.success, info)


class _Announcing(TeleopOperator):
    """Tells the person when it is their turn."""

    def reset(self) -> None:
        """The arm stands at the start."""
        super().reset()
        _say("ready: hold the dead-man and move")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
