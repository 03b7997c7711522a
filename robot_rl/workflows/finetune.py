"""`robot-rl finetune`: learn online from demonstrations and, where the agent wants one, an imitated base policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import UserError
from robot_rl.agents.base import AgentSpec
from robot_rl.agents.registry import agent_class, make_agent
from robot_rl.config import FinetuneConfig
from robot_rl.learning.replay import Replay
from robot_rl.metrics import MetricsLog, progress
from robot_rl.runs import RunFolder
from robot_rl.training.demonstrations import fill_replay, load_episodes
from robot_rl.training.keys import HELP, Keys
from robot_rl.training.sync import Counters, StopRequested, SyncTrainer, TrainSettings
from robot_rl.training.workplace import Workplace
from robot_rl.workflows.common import load_base, one_thread, seed_generator, workplace_for


def run(config: FinetuneConfig) -> dict[str, Any]:
    """Trains to `steps`, evaluating on the way and at the end. Returns the final evaluation's figures."""
    one_thread()
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        workplace, evaluation = workplace_for(vars(config), config.seed), workplace_for(vars(config), config.seed + 500_000)
        try:
            summary = train(vars(config), folder.path, workplace, evaluation, log)
        finally:
            workplace.close()
            evaluation.close()
        print(f"{folder.path}: {summary['success_rate']:.0%} of {len(summary['episodes'])} episodes after {summary['step']} steps")
        return {**figures_of(summary), "out": str(folder.path)}


def figures_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an evaluation that a command prints."""
    return {
        "success_rate": summary["success_rate"],
        "mean_return": summary["mean_return"],
        "episodes": len(summary["episodes"]),
        "step": summary["step"],
    }


def build_agent(config: Mapping[str, Any], workplace: Workplace) -> Any:
    """Returns the agent of a configuration, with its base policy if it needs one. Raises UserError if that is not given."""
    name = config["agent"]
    base = None
    if agent_class(name).needs_base:
        if not config.get("base"):
            raise UserError(f"agent={name} fine-tunes an imitated policy: give base=<out of robot-rl pretrain>, or agent=rlpd")
        base = load_base(Path(config["base"]).expanduser(), workplace)
    names = workplace.action_names
    spec = AgentSpec(workplace.obs_size, len(names), names.index("gripper") if "gripper" in names else None)
    return make_agent(name, spec, config.get("agent_config") or {}, base, config["seed"])


def train(config: Mapping[str, Any], folder: Path, workplace: Workplace, evaluation: Workplace, log: MetricsLog) -> dict[str, Any]:
    """Trains in `folder`, resuming what is there, and returns the final evaluation's record."""
    agent = build_agent(config, workplace)
    demos = demonstration_replay(config, workplace, agent)
    settings = TrainSettings(
        steps=config["steps"],
        seed=config["seed"],
        warmup=config["warmup"],
        eval_every=config["eval_every"],
        eval_episodes=config["eval_episodes"],
        checkpoint_every=config["checkpoint_every"],
    )
    keys = Keys()
    with progress(settings.steps, "train", unit="step") as bar:

        def tick(counters: Counters, metrics: Mapping[str, float]) -> None:
            bar.update(counters.step - bar.n)
            if counters.step % 20 == 0 and metrics:
                bar.set_postfix_str(f"episode {counters.episode}, q {metrics.get('q_mean', 0.0):.2f}")

        trainer = SyncTrainer(agent, workplace, evaluation, demos, folder, settings, log.write, tick, keys)
        if trainer.resume():
            log.truncate_to(trainer.counters.step)
            bar.update(trainer.counters.step - bar.n)
        try:
            trainer.run()
        except StopRequested:
            raise KeyboardInterrupt from None
    return final_evaluation(trainer, config["final_episodes"], log)


def demonstration_replay(config: Mapping[str, Any], workplace: Workplace, agent: Any) -> Replay | None:
    """Returns the demonstrations as replay rows, None without `data`."""
    if not config.get("data"):
        return None
    episodes = load_episodes(config["data"], workplace)
    rows = sum(len(episode) + 1 for episode in episodes)
    demos = Replay(max(2, rows), workplace.obs_size, len(workplace.action_names), agent.extras_shapes)
    fill_replay(demos, episodes, workplace, agent, seed_generator(config["seed"], 4))
    return demos


def final_evaluation(trainer: SyncTrainer, episodes: int, log: MetricsLog) -> dict[str, Any]:
    """Evaluates the final weights once; a run that is resumed when finished only repeats this."""
    with progress(episodes, "evaluate", unit="episode") as bar:
        summary = trainer.evaluate(episodes, name="final", on_episode=lambda record: bar.update(1))
    return summary


