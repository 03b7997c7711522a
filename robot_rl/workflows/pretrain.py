"""`robot-rl pretrain`: imitate the successful demonstrations with a diffusion policy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_rl.config import PretrainConfig
from robot_rl.envs.real_robot import refuse_real_robot
from robot_rl.metrics import MetricsLog, progress, read_metrics
from robot_rl.runs import CONFIG_FILE, RunFolder, note_demonstrations
from robot_rl.training.evaluation import EpisodeRecord, evaluate, summary_of
from robot_rl.training.sync import EVALUATION_SEED
from robot_rl.training.workplace import Workplace
from robot_rl.workflows.common import (
    BASE_FILE,
    former_evaluation,
    load_base,
    one_thread,
    policy_file,
    read_setup,
    seed_generator,
    workplace_for,
)
from robot_rl.workflows.safety_notes import note_layers, safety_words, say_layers


@one_thread()
def run(config: PretrainConfig) -> dict[str, Any]:
    """Trains, saves, evaluates; what is there already is not done again. Returns the success rate."""
    refuse_real_robot(config.robot, "it learns from stored episodes; then robot-rl evaluate run=... robot=fr3")
    with RunFolder.open(config.out, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        workplace = workplace_for(vars(config), config.seed)
        try:
            say_layers(vars(config))
            note_layers(folder.path, vars(config))
            made = imitate(config.data, folder.path, workplace, config.policy_config, config.seed, log)
            figures: dict[str, Any] = {"policy": str(folder.path / BASE_FILE)}
            if config.eval_episodes:
                summary = evaluate_base(folder.path, workplace, config.eval_episodes, log, anew=made)
                figures |= {"success_rate": summary["success_rate"], "episodes": config.eval_episodes}
                rate = f"{summary['success_rate']:.0%} of {config.eval_episodes} episodes"
                print(f"{folder.path}: the imitated policy succeeds in {rate}{safety_words(summary)}")
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
    from robot_rl.training.demonstrations import digest_of, imitation_pairs, load_episodes, successful

    episodes = successful(load_episodes(data, workplace), data)
    note_demonstrations(out, *digest_of(data))
    pairs = imitation_pairs(episodes, workplace)
    settings = config_from(DiffusionConfig, options, "policy")
    started = time.monotonic()
    with progress(settings.steps, "pretrain", unit="update") as bar:

        def report(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"loss {loss:.4f}")
            log.write({"kind": "pretrain", "step": step, "wall_s": time.monotonic() - started, "loss": loss})

        policy = pretrain(
            [features for features, _ in pairs],
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
    return former or _evaluate_policy(policy_file(folder), workplace, episodes, log)


def record_base(
    config: Mapping[str, Any], run: Path, policy: Path, evaluation: Workplace, log: MetricsLog
) -> dict[str, Any]:
    """Sees that a run's metrics tell how the policy that it fine-tunes does by itself, and returns that record.

    It is taken over from the base's own run where that was evaluated on the same task, else measured here, on
    `final_episodes`. An evaluation begins from a world that the trainer puts back, so training does not notice.
    """
    found = _base_record(run) or _record_of_base_run(config, policy)
    if found is None:
        return _evaluate_policy(policy, evaluation, config["final_episodes"], log)
    if _base_record(run) is None:
        log.write(found)
    return found


def _base_record(run: Path) -> dict[str, Any] | None:
    """The newest evaluation of an imitated policy by itself in a run's metrics, on the seeds of all evaluations."""
    for record in reversed(read_metrics(run)):
        if record["kind"] == "eval" and record.get("name") == "base":
            seeds = [episode.get("seed") for episode in record["episodes"]]
            return record if seeds == list(range(EVALUATION_SEED, EVALUATION_SEED + len(seeds))) else None
    return None


def _record_of_base_run(config: Mapping[str, Any], policy: Path) -> dict[str, Any] | None:
    """What the base's own run measured, if it was this policy and in the same task, seen in the same way."""
    folder = Path(config["base"]).expanduser()
    given = folder / BASE_FILE
    if not (folder / CONFIG_FILE).is_file() or not given.is_file() or given.read_bytes() != policy.read_bytes():
        return None
    setup = read_setup(folder)
    alike = ("task", "variant", "robot", "history", "task_config", "safety_config")
    return _base_record(folder) if all(setup.get(name) == config.get(name) for name in alike) else None


def _evaluate_policy(policy: Path, workplace: Workplace, episodes: int, log: MetricsLog) -> dict[str, Any]:
    from robot_rl.training.base_actor import BaseActor

    actor = BaseActor(load_base(policy, workplace))
    started = time.monotonic()
    with progress(episodes, "evaluate base", unit="episode") as bar:

        def count(record: EpisodeRecord) -> None:
            bar.update(1)
            bar.set_postfix_str(record.end)

        records = evaluate(actor, workplace, range(EVALUATION_SEED, EVALUATION_SEED + episodes), on_episode=count)
    summary = {**summary_of(records, 0, True, started), "name": "base", "wall_s": 0.0, "robot_s": 0.0, "reset_s": 0.0}
    log.write(summary)
    return summary
