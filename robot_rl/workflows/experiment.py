"""`robot-rl experiment`: a grid of runs, resumable cell by cell, with a table and curves in docs/results/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config import CollectConfig, ExperimentConfig, FinetuneConfig, PretrainConfig
from robot_rl.metrics import read_metrics
from robot_rl.report.statistics import steps_to_target
from robot_rl.runs import environment, git_commit
from robot_rl.workflows import collect, finetune, pretrain
from robot_rl.workflows.grids import GRIDS, Cell, Grid

Row = dict[str, Any]


def run(config: ExperimentConfig) -> dict[str, Any]:
    """Runs what is missing of a grid, then writes <results>/<name>.json, .md and .svg."""
    if config.name not in GRIDS:
        raise UserError(f"unknown experiment {config.name!r}: valid ones: {', '.join(sorted(GRIDS))}")
    grid = GRIDS[config.name]
    names = [cell.name for cell in grid.cells]
    unknown = [name for name in config.cells if name not in names]
    if unknown:
        raise UserError(f"experiment {grid.name} has the cells {', '.join(names)}, got {unknown[0]!r}")
    out, results = Path(config.out).expanduser() / grid.name, Path(config.results).expanduser()
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{grid.name}.json"
    # published rows stay until their cell has run here: the run folders, not the results, say what is done
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.is_file() else []
    for seed in config.seeds:
        for cell in grid.cells:
            if config.cells and cell.name not in config.cells:
                continue
            row = {"cell": cell.name, "seed": seed, **run_cell(grid, cell, seed, out), "commit": git_commit()}
            rows = [other for other in rows if (other["cell"], other["seed"]) != (cell.name, seed)] + [row]
            publish(grid, rows, results)  # after every cell: an interrupted grid keeps what it has
        write_ablation(rows, seed, out)
    print(f"{results / grid.name}.md: {len(rows)} runs")
    return {"rows": len(rows), "out": str(path)}


def write_ablation(rows: list[Row], seed: int, out: Path) -> None:
    """Puts what the cells of one seed reached beside the run of each, for its report."""
    of_seed = [row for row in rows if row["seed"] == seed]
    shown = [
        {"name": row["cell"], "success_rate": row["final_success_rate"], "episodes": row["final_episodes"]}
        for row in of_seed
    ]
    for row in of_seed:
        folder = out / f"{row['cell']}-{seed}"
        if folder.is_dir():
            note = "Final success of the cells of this experiment, with the same seed and demonstrations."
            text = {"note": note, "rows": shown}
            write_atomic(folder / "ablation.json", json.dumps(text, indent=1))


def run_cell(grid: Grid, cell: Cell, seed: int, out: Path) -> Row:
    """Runs one cell with one seed, taking up demonstrations, base policy and training where they were left."""
    settings: dict[str, Any] = {**grid.common, **cell.settings}
    task: dict[str, Any] = {"task": "peg_insertion", "variant": settings["variant"], "seed": seed}
    task["task_config"] = settings.get("task_config", {})
    kind = "-".join([settings["variant"], *(f"{key}={value}" for key, value in task["task_config"].items())])
    demos = out / f"demos-{kind}-{seed}.zarr"
    collect.run(CollectConfig(out=str(demos), episodes=grid.demonstrations, **task))
    settings.setdefault("data", str(demos))
    row: Row = {}
    if settings["agent"] != "rlpd":
        training = settings.pop("base", "trained")
        folder = out / f"base-{kind}-{training}-{seed}"
        policy_config = {"steps": 1} if training == "untrained" else {}
        figures = pretrain.run(PretrainConfig(out=str(folder), data=str(demos), policy_config=policy_config, **task))
        settings["base"] = str(folder)
        row["base_success_rate"] = figures["success_rate"]
    folder = out / f"{cell.name}-{seed}"
    finetune.run(FinetuneConfig(out=str(folder), **{**task, **settings}))
    return row | summarise(read_metrics(folder), grid.target)


def summarise(records: list[dict[str, Any]], target: float) -> Row:
    """Condenses a run's metrics: curve, final success, steps to the target, worst dip, times, sources."""
    evaluations = [record for record in records if record["kind"] == "eval" and record.get("name") != "base"]
    final = [record for record in evaluations if record.get("name") == "final"][-1]
    curve = [(record["step"], record["success_rate"]) for record in evaluations if not record.get("name")]
    episodes = [record for record in records if record["kind"] == "episode"]
    shares: dict[str, list[float]] = {}
    for record in episodes:
        for source in record["source_share"]:
            shares.setdefault(source, [])
    for source, values in shares.items():
        values.extend(record["source_share"].get(source, 0.0) for record in episodes)
    return {
        "final_success_rate": final["success_rate"],
        "low": final["low"],
        "high": final["high"],
        "final_episodes": len(final["episodes"]),
        "steps_to_target": steps_to_target(curve, target),
        "worst": min((rate for _, rate in curve), default=None),
        "curve": curve,
        "train_s": final["wall_s"],
        "robot_min": final["robot_s"] / 60.0,
        "reset_min": final["reset_s"] / 60.0,
        "training_success_rate": float(np.mean([record["success"] for record in episodes[-50:]])),
        "mean_length": final["mean_length"],
        "source_share": {source: float(np.mean(values)) for source, values in shares.items()},
    }


def publish(grid: Grid, rows: list[Row], results: Path) -> None:
    """Writes the grid's results: JSON for programs, Markdown and SVG for people."""
    rows = sorted(rows, key=lambda row: (row["cell"], row["seed"]))
    text = {"experiment": grid.name, "machine": environment(), "rows": rows}
    write_atomic(results / f"{grid.name}.json", json.dumps(text, indent=1) + "\n")
    write_atomic(results / f"{grid.name}.md", markdown(grid, rows))
    if rows:
        from robot_rl.report.curves import write_curves

        write_curves(results / f"{grid.name}.svg", grid, rows)


def markdown(grid: Grid, rows: list[Row]) -> str:
    """The table of a grid."""
    lines = [
        f"# {grid.question}",
        "",
        f"Command: `robot-rl experiment {grid.name}`. {grid.demonstrations} scripted demonstrations; "
        f"settings of all cells: {_settings(grid.common)}.",
        "Success is of the final checkpoint, acting deterministically, on evaluation seeds that training never saw;",
        "steps are counted to the first of two consecutive evaluations at the target.",
        "",
        f"| cell | seed | base | final success (95 % interval) | steps to {grid.target:.0%} | lowest evaluation "
        "| training s | robot min + resets |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = f"{row['base_success_rate']:.0%}" if "base_success_rate" in row else "-"
        steps = "not reached" if row["steps_to_target"] is None else f"{row['steps_to_target']:,}"
        worst = "-" if row["worst"] is None else f"{row['worst']:.0%}"
        final = f"{row['final_success_rate']:.0%} ({row['low']:.0%}-{row['high']:.0%})"
        lines.append(
            f"| {row['cell']} | {row['seed']} | {base} | {final} | {steps} | {worst} "
            f"| {row['train_s']:.0f} | {row['robot_min']:.1f} + {row['reset_min']:.1f} |"
        )
    lines += ["", "| cell | what | settings |", "|---|---|---|"]
    lines += [f"| {cell.name} | {cell.text} | {_settings(cell.settings)} |" for cell in grid.cells]
    return "\n".join([*lines, "", f"![curves]({grid.name}.svg)", ""])


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in settings.items())
