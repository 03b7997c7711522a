"""`robot-rl finetune`: learn online from demonstrations and, where the agent wants one, an imitated base policy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from controllers.robots.names import SIMULATED
from data.errors import UserError
from robot_rl.agents.base import config_from
from robot_rl.agents.registry import agent_class
from robot_rl.config import FinetuneConfig
from robot_rl.learning.replay import Replay
from robot_rl.metrics import MetricsLog, progress
from robot_rl.runs import RunFolder, note_demonstrations
from robot_rl.teleop.devices.keyboard import HELP as KEYBOARD_HELP
from robot_rl.training.asynchronous import AsyncTrainer
from robot_rl.training.demonstrations import digest_of, fill_replay, load_episodes
from robot_rl.training.keys import HELP, Keys
from robot_rl.training.pacing import Pacing
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.settings import Counters, StopRequested, TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.takeover import Takeover
from robot_rl.training.workplace import Workplace
from robot_rl.workflows.common import (
    adopt_base,
    evaluation_workplace,
    former_evaluation,
    one_thread,
    policy_file,
    require_judge,
    resolve_agent_options,
    resolve_reflex_penalty,
    seed_generator,
)
from robot_rl.workflows.critic_online import critic_learner
from robot_rl.workflows.human import workplace_with_human
from robot_rl.workflows.pretrain import record_base
from robot_rl.workflows.safety_notes import note_layers, safety_figures, safety_words, say_layers


@one_thread()
def run(config: FinetuneConfig) -> dict[str, Any]:
    """Trains to `steps`, evaluating on the way and at the end. Returns the final evaluation's figures."""
    config.agent_config = resolve_agent_options(
        config.task, config.variant, config.agent, config.agent_config, config.task_config
    )
    config.reflex_penalty = resolve_reflex_penalty(
        config.task, config.variant, config.reflex_penalty, config.task_config
    )
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        workplace, takeover = workplace_with_human(vars(config), config.seed)
        # there is but one real arm, so that evaluations take place between two of its training episodes
        evaluation = evaluation_workplace(vars(config)) if config.robot in SIMULATED else workplace
        try:
            say_layers(vars(config))
            summary = train(vars(config), folder.path, workplace, evaluation, log, takeover=takeover)
        finally:
            workplace.close()
            evaluation.close()
        figures = figures_of(summary)
        rate = f"success in {figures['success_rate']:.0%} of {figures['episodes']} episodes{safety_words(summary)}"
        print(f"{folder.path}: {rate}, mean return {figures['mean_return']:.4g}, after {figures['step']} steps")
        return {**figures, "out": str(folder.path)}


def figures_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an evaluation that a command prints."""
    return {
        "success_rate": summary["success_rate"],
        "mean_return": summary["mean_return"],
        "episodes": len(summary["episodes"]),
        "step": summary["step"],
        **safety_figures(summary),
    }


def agent_recipe(config: Mapping[str, Any], base: Path | None, workplace: Workplace) -> AgentRecipe:
    """Returns how to build the agent of a run, on the run's own copy of its imitated policy if it has one."""
    options = dict(config.get("agent_config") or {})
    names, keys = tuple(workplace.action_names), tuple(workplace.featuriser.keys)
    file = None if base is None else str(base)
    return AgentRecipe(config["agent"], workplace.obs_size, names, options, file, config["seed"], keys)


def own_base(config: Mapping[str, Any], run: Path, workplace: Workplace) -> Path | None:
    """Copies the given base policy into a run and returns the copy; None for an agent that needs none.

    Raises UserError if the agent needs one and none is given, or if there is none where one is said to be.
    """
    name, given = config["agent"], config.get("base")
    if agent_class(name).needs_base:
        if not given:
            raise UserError(f"agent={name} fine-tunes an imitated policy: give base=<out of pretrain>, or agent=rlpd")
        return adopt_base(Path(given).expanduser(), run, workplace)
    if given:
        policy_file(Path(given).expanduser())
        print(f"base={given} is not used: agent={name} learns without an imitated policy")
    return None


def pacing_of(config: Mapping[str, Any]) -> Pacing | None:
    """Returns the bounds of mode=async, None for mode=sync. Raises UserError for bounds that do not fit."""
    given = config.get("pacing_config") or {}
    if config["mode"] == "async":
        pacing: Pacing = config_from(Pacing, given, "pacing")
        return pacing
    if given:
        raise UserError("pacing_config bounds mode=async; with mode=sync one block of updates follows each step")
    return None


def train(
    config: Mapping[str, Any],
    folder: Path,
    workplace: Workplace,
    evaluation: Workplace,
    log: MetricsLog,
    measure_base: bool = True,
    takeover: Takeover | None = None,
) -> dict[str, Any]:
    """Trains in `folder`, resuming what is there, and returns the final evaluation's record.

    measure_base: see that the records tell how the imitated base does by itself, if the agent fine-tunes one.
    takeover: who may take the arm from the agent while it trains; the evaluations are the policy's own.
    """
    require_judge(workplace)
    note_layers(folder, config)
    onlooker = critic_learner(config, folder, workplace, evaluation)
    base = own_base(config, folder, workplace)
    recipe, pacing = agent_recipe(config, base, workplace), pacing_of(config)
    agent = recipe.build()
    settings = TrainSettings(**{entry.name: config[entry.name] for entry in fields(TrainSettings)})
    more = 0 if takeover is None else 2 * settings.steps + 1000  # as many rows as the replay itself
    demos = demonstration_replay(config, folder, workplace, agent, more)
    keys = Keys(-1 if config.get("human") == "keyboard" else None)  # a terminal has one reader
    with progress(settings.steps, "train", unit="step") as bar:

        def tick(counters: Counters, metrics: Mapping[str, float]) -> None:
            bar.update(counters.step - bar.n)
            if counters.step % 20 == 0 and metrics:
                bar.set_postfix_str(f"episode {counters.episode}, q {metrics.get('q_mean', 0.0):.2f}")

        parts = (agent, workplace, evaluation, demos, folder, settings, log.write, tick, keys, onlooker, takeover)
        trainer = AsyncTrainer(*parts, recipe=recipe, pacing=pacing) if pacing else SyncTrainer(*parts)
        trainer.resume()
        log.truncate_to(trainer.counters.step)  # also at 0: a run killed before its first checkpoint begins anew
        bar.update(trainer.counters.step - bar.n)
        if base is not None and measure_base:
            record_base(config, folder, base, evaluation, log)
        if sys.stdin is not None and sys.stdin.isatty():
            print(KEYBOARD_HELP if config.get("human") == "keyboard" else HELP)
        try:
            trainer.run()
        except StopRequested:
            raise KeyboardInterrupt from None
    episodes = config["final_episodes"]
    former = former_evaluation(folder, "final", trainer.counters.step, episodes)
    if former is not None:
        return former
    with progress(episodes, "evaluate", unit="episode") as bar:
        try:
            return trainer.evaluate(episodes, name="final", on_episode=lambda record: bar.update(1))
        except StopRequested:
            raise KeyboardInterrupt from None


def demonstration_replay(
    config: Mapping[str, Any], folder: Path, workplace: Workplace, agent: Any, more: int = 0
) -> Replay | None:
    """Returns the demonstrations as replay rows; notes their digest in the run's `folder`.

    more: rows for interventions; without these and without `data` there is no such replay. Where interventions are all
    that is learned from (human_config.rlif), the demonstrations' own rewards become 0 like everybody's.
    """
    widths = workplace.obs_size, len(workplace.action_names), agent.extras_shapes
    if not config.get("data"):
        return Replay(more, *widths) if more else None
    episodes = load_episodes(config["data"], workplace)
    note_demonstrations(folder, *digest_of(config["data"]))
    rows = sum(len(episode) + 1 for episode in episodes)
    demos = Replay(max(2, rows) + more, *widths)
    fill_replay(demos, episodes, workplace, agent, seed_generator(config["seed"], 4))
    if (config.get("human_config") or {}).get("rlif"):
        demos.reward[:] = 0.0
    return demos
