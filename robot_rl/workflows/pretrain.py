"""`robot-rl pretrain`: imitate the successful demonstrations with a diffusion policy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from robot_rl.config import PretrainConfig
from robot_rl.metrics import MetricsLog, progress
from robot_rl.runs import RunFolder
from robot_rl.training.evaluation import EpisodeRecord, evaluate, summary_of
from robot_rl.training.sync import EVALUATION_SEED
from robot_rl.training.workplace import Workplace
from robot_rl.workflows.common import (
    BASE_FILE,
    former_evaluation,
    load_base,
    one_thread,
    seed_generator,
    workplace_for,
)


@one_thread()
def run(config: PretrainConfig) -> dict[str, Any]:
    """Trains, saves, evaluates; what is there already is not done again. Returns the success rate."""
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        workplace = workplace_for(vars(config), config.seed)
        try:
            made = imitate(config.data, folder.path, workplace, config.policy_config, config.seed, log)
            figures: dict[str, Any] = {"policy": str(folder.path / BASE_FILE)}
            if config.eval_episodes:
                summary = evaluate_base(folder.path, workplace, config.eval_episodes, log, anew=made)
                figures |= {"success_rate": summary["success_rate"], "episodes": config.eval_episodes}
                rate = f"{summary['success_rate']:.0%} of {config.eval_episodes} episodes"
                print(f"{folder.path}: the imitated policy succeeds in {rate}")
            return figures
        finally:
            workplace.close()


def imitate(data: str, out: Path, workplace: Workplace, options: dict[str, Any], seed: int, log: MetricsLog) -> bool:
    """Pretrains a diffusion policy on a store's successes and saves it into `out`.

    Returns False where `out` holds a policy already; that one is not trained again.
    """
    if (out / BASE_FILE).is_file():
        return False
    from robot_rl.agents.base import config_from
    from robot_rl.policies.diffusion import DiffusionConfig
    from robot_rl.policies.pretrain import pretrain
    from robot_rl.training.demonstrations import load_episodes, successful

    episodes = successful(load_episodes(data, workplace), data)
    pairs = [workplace.demonstrations(episode) for episode in episodes]
    settings = config_from(DiffusionConfig, options, "policy")
    started = time.monotonic()
    with progress(settings.steps, "pretrain", unit="update") as bar:

        def report(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"loss {loss:.4f}")
            log.write({"kind": "pretrain", "step": step, "wall_s": time.monotonic() - started, "loss": loss})

        policy = pretrain(
            [features[:-1] for features, _ in pairs],
            [actions for _, actions in pairs],
            settings,
            seed_generator(seed, 5),
            report,
            workplace.action_names,
            tuple(workplace.featuriser.keys),
        )
    policy.save(out / BASE_FILE)
    return True


def evaluate_base(
    folder: Path, workplace: Workplace, episodes: int, log: MetricsLog, anew: bool = True
) -> dict[str, Any]:
    """Evaluates a saved policy by itself and logs that as `base`; unless `anew`, a record of the same may do."""
    former = None if anew else former_evaluation(folder, "base", 0, episodes)
    if former is not None:
        return former
    from robot_rl.training.base_actor import BaseActor

    actor = BaseActor(load_base(folder, workplace))
    started = time.monotonic()
    with progress(episodes, "evaluate base", unit="episode") as bar:

        def count(record: EpisodeRecord) -> None:
            bar.update(1)
            bar.set_postfix_str(record.end)

        records = evaluate(actor, workplace, range(EVALUATION_SEED, EVALUATION_SEED + episodes), on_episode=count)
    summary = {**summary_of(records, 0, True, started), "name": "base", "wall_s": 0.0, "robot_s": 0.0, "reset_s": 0.0}
    log.write(summary)
    return summary
