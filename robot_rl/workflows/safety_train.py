"""`robot-rl safety train` and `calibrate`: a critic from collected episodes, and what it is worth on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.agents.base import config_from
from robot_rl.config_critic import SafetyCalibrateConfig, SafetyTrainConfig
from robot_rl.envs.make import chain_of
from robot_rl.metrics import MetricsLog, progress
from robot_rl.runs import RunFolder, as_stored, environment
from robot_rl.safety_critic.calibration import Calibration, calibrate, rescale
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, load_critic, save_critic
from robot_rl.safety_critic.trajectories import split
from robot_rl.tasks.registry import make_task
from robot_rl.workflows.common import one_thread
from robot_rl.workflows.safety_data import (
    Collection,
    read_collection,
    record_of,
    require_alike,
    require_fitting,
    require_unseen,
    resolved,
)
from safety.risk_critic import stopping_time_s


@one_thread()
def run(config: SafetyTrainConfig) -> dict[str, Any]:
    """Trains unless `out` holds a critic already; returns the figures on the part kept back."""
    collections = [read_collection(place) for place in (config.data, *config.also)]
    require_alike(collections)
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        path = folder.path / CRITIC_FILE
        if path.is_file():
            print(f"{path} is trained already; choose another out to train anew")
            return {"critic": str(path), "threshold": load_critic(path, override_gate=True).threshold}
        critic, figures = train(collections, config, log)
        save_critic(path, critic)
    print(f"{path}: threshold {figures.threshold:g}, looks {figures.lookahead_s:.2f} s ahead; now calibrate it")
    return {"critic": str(path), **figures.as_dict()}


def train(collections: Sequence[Collection], config: SafetyTrainConfig, log: MetricsLog) -> tuple[Critic, Calibration]:
    """Returns the trained critic and its figures on the episodes kept back, which chose scale and threshold."""
    from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig

    settings = config_from(CriticTrainingConfig, {"seed": config.seed, **config.critic_config}, "critic")
    setup, episodes = collections[0].setup, [one for collection in collections for one in collection.episodes]
    chain = chain_of(make_task(setup["task"], setup["variant"], setup["task_config"]))
    fit, kept = split(episodes, config.held_back, np.random.default_rng(config.seed))
    trainer = CriticTrainer(settings, chain)
    trainer.add(fit)
    with progress(settings.updates, "train critic", unit="update") as bar:

        def report(update: int, loss: float) -> None:
            bar.update(update - bar.n)
            log.write({"kind": "critic", "step": update, "loss": loss})

        seconds = trainer.fit(report=report)
    weights = trainer.weights()
    rescale(weights, kept, settings.time_constant_s)
    figures = calibrate(weights, kept, stopping_time(setup))
    places = [str(collection.folder) for collection in collections]
    about = {
        "training": {**as_stored(config), "data": places[0], "also": places[1:]},
        "learned_from": record_of(collections),
        "episodes": len(fit),
        "seconds": seconds,
        "environment": environment(),
    }
    task_config = dict(setup["task_config"])
    return Critic(weights, figures.threshold, setup["task"], setup["variant"], task_config, about=about), figures


def stopping_time(setup: Mapping[str, Any]) -> float:
    """Returns how long the arm of a task needs to stop pushing [s]."""
    chain = chain_of(make_task(setup["task"], setup["variant"], setup["task_config"]))
    return stopping_time_s(chain.limiter, chain.torque.max_rate_nm_s)


def calibrate_file(config: SafetyCalibrateConfig) -> dict[str, Any]:
    """Measures a critic on held-out episodes and stores the result in its file; `ok` tells whether it passes."""
    path = resolved(config.critic)
    critic, episodes = load_critic(path, override_gate=True), []
    collections = [read_collection(place) for place in (config.data, *config.also)]
    for collection in collections:
        require_fitting(critic, str(path), collection)
        require_unseen(critic, path, collection)
        episodes += collection.episodes
    stopping_s = stopping_time(collections[0].setup)
    critic.calibration = calibrate(critic.weights, episodes, stopping_s, critic.threshold)
    save_critic(path, critic)
    found = critic.calibration.shortcomings()
    print(f"{path}: " + (f"does not pass: {', '.join(found)}" if found else "passes its calibration gate"))
    return {"ok": not found, **critic.calibration.as_dict()}
