"""`robot-rl collect`: demonstrations into an episode store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.config import TRAINING_SEEDS_BELOW, CollectConfig
from robot_rl.metrics import progress
from robot_rl.runs import make_folder
from robot_rl.training.recording import record_episode
from robot_rl.training.workplace import ArmWorkplace, make_workplace
from robot_rl.workflows.safety_notes import say_layers


def run(config: CollectConfig) -> dict[str, Any]:
    """Records until the store holds `episodes`; each is on the disk before the next begins.

    Returns episodes, successes and the store's path.
    """
    if config.source != "scripted":
        from robot_rl.workflows.collect_by_hand import run as by_hand

        return by_hand(config)
    if config.teleop_config:
        raise UserError("teleop_config is about a person's device; with source=scripted leave it out")
    path = usable_path(config)
    workplace = make_workplace(
        config.task,
        variant=config.variant,
        robot=config.robot,
        robot_config=config.robot_config,
        seed=config.seed,
        record_images=config.images,
        realtime=config.realtime,
        task_config=config.task_config,
        safety_config=config.safety_config,
    )
    if not isinstance(workplace, ArmWorkplace):
        raise UserError(f"task {config.task} has no scripted operator: record demonstrations with your own program")
    try:
        with open_store(path, workplace, config) as store:
            say_layers(vars(config))
            _fill(store, workplace, config)
            return conclude(store)
    finally:
        workplace.close()


def usable_path(config: CollectConfig) -> Path:
    """Returns the store's path. Raises UserError if `fresh` wants it empty and it is not."""
    path = Path(config.out).expanduser()
    content = sorted(item.name for item in path.iterdir() if item.name[0] != ".") if path.is_dir() else []
    if config.fresh and content:
        raise UserError(f"fresh=true needs an absent or empty out, but {path} holds {content[0]}; choose another out")
    return path


def open_store(path: Path, workplace: ArmWorkplace, config: CollectConfig) -> EpisodeStore:
    """Returns the store to record into. Raises UserError if it was collected with other settings."""
    settings = {name: getattr(config, name) for name in ("variant", "seed", "source", "realtime")}
    configs = {"task_config": dict(config.task_config), "safety_config": dict(config.safety_config)}
    spec = workplace.store_spec(config.robot, {**settings, **configs})
    make_folder(path)
    store = EpisodeStore.create_or_open(path, spec)
    try:
        _refuse_difference(store, spec.config)
    except BaseException:
        store.close()
        raise
    return store


def conclude(store: EpisodeStore) -> dict[str, Any]:
    """Says and returns what a store now holds."""
    successes = sum(store.summary(index).success for index in range(len(store)))
    print(f"{store.path}: {len(store)} episodes, {successes} of them successful")
    return {"episodes": len(store), "successes": successes, "out": str(store.path)}


def _refuse_difference(store: EpisodeStore, wished: dict[str, Any]) -> None:
    """What made the first episodes of a store makes the others too; its description tells of one making only."""
    there = store.spec.config
    names = [name for name, value in wished.items() if there.get(name, value) != value]
    if names:
        differences = ", ".join(f"{name} (there {there[name]}, asked {wished[name]})" for name in names)
        raise UserError(f"{store.path} was collected with other settings: {differences}; choose another out")


def _fill(store: EpisodeStore, workplace: ArmWorkplace, config: CollectConfig) -> None:
    with progress(config.episodes, "collect", unit="episode", initial=len(store)) as bar:
        while len(store) < config.episodes:
            number = len(store)
            # every episode has its own random numbers, so that a resumed collection meets the same ones
            operator = workplace.env.task.operator(np.random.default_rng([config.seed, number]))
            seed = episode_seed(config, number)
            episode, record = record_episode(workplace.env, operator, store.spec, seed)
            store.append(episode)
            bar.update(1)
            bar.set_postfix_str(record.end)


def episode_seed(config: CollectConfig, number: int) -> int:
    """Returns the seed of a store's episode, never one of an evaluation."""
    return (config.seed * 1000 + number) % TRAINING_SEEDS_BELOW
