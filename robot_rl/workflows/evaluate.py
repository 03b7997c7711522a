"""`robot-rl evaluate`: the newest checkpoint of a run, or its imitated policy, on episodes that training never saw."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from data.atomic import FolderLock
from data.errors import UserError
from robot_rl.agents.registry import agent_class
from robot_rl.config import EvaluateConfig
from robot_rl.metrics import MetricsLog, progress
from robot_rl.training import checkpoint as checkpoints
from robot_rl.training.evaluation import EpisodeRecord, evaluate, summary_of
from robot_rl.training.takeover import TAKEOVER_FIGURES
from robot_rl.training.workplace import Workplace
from robot_rl.workflows.common import (
    ADOPTED_FILE,
    BASE_FILE,
    EVALUATION_WORLD,
    load_base,
    one_thread,
    read_setup,
)
from robot_rl.workflows.critic_online import own_critic
from robot_rl.workflows.finetune import agent_recipe, figures_of
from robot_rl.workflows.human import takeover_config, workplace_with_human
from robot_rl.workflows.safety_notes import layers_of, say_layers


@one_thread()
def run(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluates and adds the result to the run's metrics. Returns its figures."""
    path = Path(config.run).expanduser()
    setup = read_setup(path)
    layers = {**(setup.get("safety_config") or {}), **own_critic(path), **config.safety_config}
    setting = {**setup, "safety_config": layers, **_robot_of(config)}
    human = {"human": config.human, "human_config": config.human_config, "teleop_config": config.teleop_config}
    if takeover_config(human).rlif:
        raise UserError("human_config.rlif is a reward to learn from; evaluations count the task's own: leave it out")
    workplace, takeover = workplace_with_human({**setting, **human}, setting["seed"] + EVALUATION_WORLD)
    try:
        say_layers(setting)
        actor, step = load_actor(path, setup, workplace)
        started = time.monotonic()
        with FolderLock(path), MetricsLog(path) as log, progress(config.episodes, "evaluate", unit="episode") as bar:

            def count(record: EpisodeRecord) -> None:
                bar.update(1)
                bar.set_postfix_str(record.end)

            seeds = range(config.seed, config.seed + config.episodes)
            records = evaluate(actor, workplace, seeds, config.deterministic, on_episode=count, takeover=takeover)
            summary = summary_of(records, step, config.deterministic, started)
            summary = {**summary, "name": "evaluate", "human": config.human, "safety_layers": layers_of(setting)}
            log.write(summary)
    finally:
        workplace.close()
    told: dict[str, Any] = {name: summary[name] for name in TAKEOVER_FIGURES if name in summary}
    return {**figures_of(summary), "low": summary["low"], "high": summary["high"], **told}


def _robot_of(config: EvaluateConfig) -> dict[str, Any]:
    """Where to evaluate, if that is not where the run was made."""
    if config.robot is None:
        return {"robot_config": config.robot_config} if config.robot_config else {}
    return {"robot": config.robot, "robot_config": config.robot_config}


def load_actor(path: Path, setup: dict[str, Any], workplace: Workplace) -> tuple[Any, int]:
    """Returns what acts in a run and the step at which it was saved. Raises UserError if nothing was trained there."""
    found = checkpoints.newest(path / "checkpoints")
    if found is not None:
        agent = agent_recipe(setup, _copy_of_base(path, setup), workplace).build()
        agent.load_state(found.agent)
        return agent, found.step
    if (path / BASE_FILE).is_file():
        from robot_rl.training.base_actor import BaseActor

        return BaseActor(load_base(path / BASE_FILE, workplace)), 0
    cure = "let finetune or pretrain run longer"
    raise UserError(f"{path} holds neither a checkpoint nor an imitated policy yet: {cure}")


def _copy_of_base(path: Path, setup: dict[str, Any]) -> Path | None:
    """The run's own copy of the policy it fine-tunes, whatever has become of the folder that it was taken from."""
    if not agent_class(setup["agent"]).needs_base:
        return None
    own = path / ADOPTED_FILE
    if not own.is_file():
        cure = "restore it, or type the command that made this run again"
        raise UserError(f"expected the imitated policy that {path} fine-tunes at {own}, found none: {cure}")
    return own
