"""`robot-rl safety train` and `calibrate`: a critic from collected episodes, and what it is worth on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from robot_rl.agents.base import config_from
from robot_rl.config_critic import SafetyCalibrateConfig, SafetyTrainConfig
from robot_rl.envs.make import chain_of
from robot_rl.metrics import MetricsLog, progress
from robot_rl.runs import RunFolder, as_stored, environment
from robot_rl.safety_critic.calibration import Calibration, calibrate, rescale
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, load_critic, save_critic
from robot_rl.safety_critic.trajectories import Trajectory, load_folder, split
from robot_rl.tasks.registry import make_task
from robot_rl.workflows.common import one_thread, read_setup
from safety.risk_critic import stopping_time_s


@one_thread()
def run(config: SafetyTrainConfig) -> dict[str, Any]:
    """Trains unless `out` holds a critic already; returns the figures on the part kept back."""
    setup = read_setup(Path(config.data).expanduser())
    for other in config.also:
        _require_same_task(setup, read_setup(Path(other).expanduser()), other)
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        path = folder.path / CRITIC_FILE
        if path.is_file():
            print(f"{path} is trained already; choose another out to train anew")
            return {"critic": str(path), "threshold": load_critic(path, override_gate=True).threshold}
        episodes = [one for place in (config.data, *config.also) for one in load_folder(Path(place).expanduser())]
        critic, figures = train(setup, episodes, config, log)
        save_critic(path, critic)
    print(f"{path}: threshold {figures.threshold:g}, looks {figures.lookahead_s:.2f} s ahead; now calibrate it")
    return {"critic": str(path), **figures.as_dict()}


def train(
    setup: Mapping[str, Any], episodes: Sequence[Trajectory], config: SafetyTrainConfig, log: MetricsLog
) -> tuple[Critic, Calibration]:
    """Returns the trained critic and its figures on the episodes kept back, which chose scale and threshold."""
    from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig

    settings = config_from(CriticTrainingConfig, {"seed": config.seed, **config.critic_config}, "critic")
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
    about = {"training": as_stored(config), "episodes": len(fit), "seconds": seconds, "environment": environment()}
    task_config = dict(setup["task_config"])
    return Critic(weights, figures.threshold, setup["task"], setup["variant"], task_config, about=about), figures


def stopping_time(setup: Mapping[str, Any]) -> float:
    """Returns how long the arm of a task needs to stop pushing [s]."""
    chain = chain_of(make_task(setup["task"], setup["variant"], setup["task_config"]))
    return stopping_time_s(chain.limiter, chain.torque.max_rate_nm_s)


def calibrate_file(config: SafetyCalibrateConfig) -> dict[str, Any]:
    """Measures a critic on held-out episodes and stores the result in its file; `ok` tells whether it passes."""
    path, folder = Path(config.critic).expanduser(), Path(config.data).expanduser()
    critic, setup = load_critic(path, override_gate=True), read_setup(folder)
    if setup["task"] != critic.task:
        raise UserError(f"{path} is for the task {critic.task}, {folder} holds episodes of {setup['task']}")
    learned = critic.about.get("training", {})
    if folder.resolve() in [Path(place).resolve() for place in (learned.get("data", ""), *learned.get("also", []))]:
        raise UserError(f"{folder} is what {path} was trained on: collect other episodes, such as variant=heldout")
    critic.calibration = calibrate(critic.weights, load_folder(folder), stopping_time(setup), critic.threshold)
    save_critic(path, critic)
    found = critic.calibration.shortcomings()
    print(f"{path}: " + (f"does not pass: {', '.join(found)}" if found else "passes its calibration gate"))
    return {"ok": not found, **critic.calibration.as_dict()}


def _require_same_task(setup: Mapping[str, Any], other: Mapping[str, Any], name: str) -> None:
    if setup["task"] != other["task"]:
        raise UserError(f"{name} holds episodes of task {other['task']}, data of {setup['task']}: train on one task")
