"""`robot-rl quickstart`: the whole job once, from demonstrations to a report."""

from __future__ import annotations

import json
import resource
import time
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config import CollectConfig, FinetuneConfig, QuickstartConfig
from robot_rl.envs.layers import layers_from
from robot_rl.envs.real_robot import refuse_real_robot
from robot_rl.metrics import MetricsLog, read_metrics
from robot_rl.runs import RunFolder
from robot_rl.safety_critic.files import CRITIC_FILE
from robot_rl.tasks.registry import make_task
from robot_rl.workflows import collect, finetune
from robot_rl.workflows.common import (
    evaluation_workplace,
    one_thread,
    resolve_agent_options,
    resolve_reflex_penalty,
    workplace_for,
)
from robot_rl.workflows.pictures import film_strips
from robot_rl.workflows.pretrain import evaluate_base, imitate
from robot_rl.workflows.safety_critics import critic_of


@one_thread()
def run(config: QuickstartConfig) -> dict[str, Any]:
    """Makes a safety critic where it can, collects, imitates, evaluates, fine-tunes, evaluates, reports in three lines.

    Each part is taken up where it was left.
    """
    refuse_real_robot(config.robot, "it is a tour in simulation; use collect, pretrain, finetune and evaluate")
    started = time.monotonic()
    path = Path(config.out or f"runs/{time.strftime('%Y%m%d-%H%M%S')}-quickstart").expanduser()
    if config.out is None:
        print(f"run folder: {path} (out={path} goes on there after an interruption)")
    config.agent_config = resolve_agent_options(
        config.task, config.variant, config.agent, config.agent_config, config.task_config
    )
    config.out = str(path)  # the line that an interruption prints names it
    with RunFolder.open(path, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        config = replace(config, safety_config={**config.safety_config, **make_critic(config, path)})
        settings = finetune_settings(config, path)
        demos = collect.run(_collect_config(config, path))
        with (
            closing(evaluation_workplace(settings)) as base_place,
            closing(workplace_for(settings, config.seed)) as workplace,
        ):
            made = imitate(str(path / "demos.zarr"), path, workplace, config.policy_config, config.seed, log)
            before = evaluate_base(path, base_place, config.final_episodes, log, anew=made)
        # evaluations of the training start from an untouched world, whether the base was evaluated just now or long ago
        with (
            closing(workplace_for(settings, config.seed)) as workplace,
            closing(evaluation_workplace(settings)) as evaluation,
        ):
            after = finetune.train(settings, path, workplace, evaluation, log)
        film_strips(path, settings, lambda: evaluation_workplace(settings))
        if config.ablation:
            _ablation(config, settings, path, before, after)
        usage_mb = peak_memory_mb()
        log.write(
            {"kind": "summary", "step": after["step"], "total_s": time.monotonic() - started, "peak_rss_mb": usage_mb}
        )
    from robot_rl.report.html import write_report

    report = write_report(path)
    print(conclusion(config, demos, before, after, report))
    return {
        "success_rate": after["success_rate"],
        "base_success_rate": before["success_rate"],
        "total_s": round(time.monotonic() - started, 1),
        "peak_rss_mb": round(usage_mb),
        "report": str(report),
        "out": str(path),
    }


def make_critic(config: QuickstartConfig, path: Path) -> dict[str, str]:
    """Makes the run's own safety critic, <path>/critic.safetensors, where the task says how and nobody gave another.

    Returns the entry of `safety_config` that names it, or nothing. Raises UserError if it does not pass its gate.
    """
    own = path / CRITIC_FILE
    layers = layers_from(config.safety_config)
    wanted = config.critic and layers.critic != "never" and layers.critic_file is None
    if not wanted or config.task == "gym" or make_task(config.task).critic_recipe is None:
        return {}
    if not own.is_file():
        try:
            made = critic_of(config.task, config.seed, path / "safety", config.task_config, layers.critic_gate)
        except UserError as error:
            raise UserError(f"{error}; critic=false goes on without one, another seed makes another") from error
        write_atomic(own, made.read_bytes())
    return {"critic_file": str(own)}


def _ablation(
    config: QuickstartConfig, settings: dict[str, Any], path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Fine-tunes a base after one gradient step, for a third of the steps, and writes ablation.json for the report."""
    folder = path / "untrained"
    folder.mkdir(exist_ok=True)
    steps = max(1, config.steps // 3)  # the whole quick start shall stay below ten minutes
    other = settings | {"base": str(folder), "out": str(folder), "eval_every": 0, "steps": steps}
    with (
        MetricsLog(folder, tensorboard=False) as log,
        closing(workplace_for(settings, config.seed)) as workplace,
        closing(evaluation_workplace(settings)) as evaluation,
    ):
        options = {**config.policy_config, "steps": 1}
        imitate(str(path / "demos.zarr"), folder, workplace, options, config.seed, log)
        untrained = finetune.train(other, folder, workplace, evaluation, log, measure_base=False)
    rows = [("imitated", before), (f"{config.agent} on it", after)]
    rows += [(f"{config.agent} on it", record) for record in _evaluations_from(path, steps)[:1]]
    rows += [(f"{config.agent} on an untrained base", untrained)]
    table = [
        {
            "name": name,
            "success_rate": record["success_rate"],
            "episodes": len(record["episodes"]),
            "steps": record["step"],
        }
        for name, record in rows
    ]
    note = (
        f"Fine-tuning on a base after one gradient step, for {untrained['step']:,} steps (a third of the whole run), "
        "tells what the imitated policy contributes: compare it at the same steps."
    )
    write_atomic(path / "ablation.json", json.dumps({"note": note, "rows": table}, indent=1))


def _evaluations_from(path: Path, step: int) -> list[dict[str, Any]]:
    """The evaluations during a run's training from `step` on."""
    found = [record for record in read_metrics(path) if record["kind"] == "eval" and not record.get("name")]
    return [record for record in found if record["step"] >= step]


def peak_memory_mb() -> float:
    """Returns the peak memory of this process and, with mode=async, of its largest child: the learner."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024.0


def conclusion(
    config: QuickstartConfig, demos: dict[str, Any], before: dict[str, Any], after: dict[str, Any], report: Path
) -> str:
    """Three lines: what was learned, how well, where to look."""
    count, good = demos["episodes"], demos["successes"]
    minutes = (after["robot_s"] + after["reset_s"]) / 60.0
    interval = f"95 % interval {after['low']:.0%}-{after['high']:.0%} of {len(after['episodes'])} episodes"
    effort = f"{after['step']} steps, {minutes:.1f} robot minutes with resets, {after['wall_s']:.0f} s of training"
    return (
        f"learned: {config.task} ({config.variant}) by {config.agent}, from {count} demonstrations, {good} successful\n"
        f"result:  {before['success_rate']:.0%} imitated -> {after['success_rate']:.0%} fine-tuned ({interval}) "
        f"after {effort}\n"
        f"report:  {report}"
    )


def finetune_settings(config: QuickstartConfig, path: Path) -> dict[str, Any]:
    """The settings of the fine-tuning part: those of `finetune` where the quick start has no own."""
    own = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    values = vars(FinetuneConfig(out=str(path), task=config.task))
    values |= {key: value for key, value in own.items() if key in values}
    values["reflex_penalty"] = resolve_reflex_penalty(config.task, config.variant, None, config.task_config)
    return values | {"out": str(path), "data": str(path / "demos.zarr"), "base": str(path)}


def _collect_config(config: QuickstartConfig, path: Path) -> CollectConfig:
    return CollectConfig(
        out=str(path / "demos.zarr"),
        task=config.task,
        episodes=config.episodes,
        variant=config.variant,
        robot=config.robot,
        seed=config.seed,
        task_config=config.task_config,
        safety_config=config.safety_config,
    )
