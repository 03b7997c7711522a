"""`robot-rl quickstart`: the whole job once, from demonstrations to a report."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from robot_rl.config import CollectConfig, FinetuneConfig, QuickstartConfig
from robot_rl.metrics import MetricsLog
from robot_rl.runs import RunFolder
from robot_rl.workflows import collect, finetune
from robot_rl.workflows.common import one_thread, workplace_for
from robot_rl.workflows.pictures import film_strips
from robot_rl.workflows.pretrain import evaluate_base, imitate


def run(config: QuickstartConfig) -> dict[str, Any]:
    """Collects, imitates, evaluates, fine-tunes, evaluates, reports; ends with three lines.

    Each part is taken up where it was left.
    """
    one_thread()
    started = time.monotonic()
    path = Path(config.out or f"runs/{time.strftime('%Y%m%d-%H%M%S')}-quickstart").expanduser()
    if config.out is None:
        print(f"run folder: {path} (out={path} goes on there after an interruption)")
    config.out = str(path)  # the line that an interruption prints names it
    settings = finetune_settings(config, path)
    with RunFolder.open(path, config, fresh=config.fresh) as folder, MetricsLog(folder.path) as log:
        demos = collect.run(_collect_config(config, path))
        workplace = workplace_for(settings, config.seed)
        evaluation = workplace_for(settings, config.seed + 500_000)
        try:
            made = imitate(str(path / "demos.zarr"), path, workplace, config.policy_config, config.seed, log)
            before = evaluate_base(path, evaluation, config.final_episodes, log, anew=made)
            after = finetune.train(settings, path, workplace, evaluation, log)
            film_strips(path, settings, workplace, evaluation)
        finally:
            workplace.close()
            evaluation.close()
        log.write({"kind": "summary", "step": after["step"], "total_s": time.monotonic() - started})
    from robot_rl.report.html import write_report

    report = write_report(path)
    print(conclusion(config, demos, before, after, report))
    return {
        "success_rate": after["success_rate"],
        "base_success_rate": before["success_rate"],
        "report": str(report),
        "out": str(path),
    }


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
    )
