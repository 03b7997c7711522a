"""`robot-rl experiment`: a grid of runs, resumable cell by cell, with a table and curves in docs/results/."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config import CollectConfig, ExperimentConfig, FinetuneConfig, PretrainConfig
from robot_rl.metrics import read_metrics
from robot_rl.runs import CONFIG_FILE, VERSIONS_FILE, read_json, refuse_difference
from robot_rl.workflows import collect, finetune, pretrain
from robot_rl.workflows.common import former_evaluation, resolve_agent_options, resolve_reflex_penalty
from robot_rl.workflows.grid_tables import Row, markdown, summarise
from robot_rl.workflows.grids import GRIDS, Cell, Grid
from robot_rl.workflows.safety_grids import SAFETY_GRIDS


def run(config: ExperimentConfig) -> dict[str, Any]:
    """Runs what is missing of a grid, then writes <results>/<name>.json, .md and .svg."""
    if config.name in SAFETY_GRIDS:
        from robot_rl.workflows import safety_experiment

        return safety_experiment.run(config)
    if config.name not in GRIDS:
        raise UserError(f"unknown experiment {config.name!r}: valid ones: {', '.join(sorted({*GRIDS, *SAFETY_GRIDS}))}")
    grid = GRIDS[config.name]
    names = [cell.name for cell in grid.cells]
    unknown = [name for name in config.cells if name not in names]
    if unknown:
        raise UserError(f"experiment {grid.name} has the cells {', '.join(names)}, got {unknown[0]!r}")
    out, results = Path(config.out).expanduser() / grid.name, Path(config.results).expanduser()
    results.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for seed in config.seeds:
        for cell in grid.cells:
            if config.cells and cell.name not in config.cells:
                continue
            own = {"cell": cell.name, "seed": seed, **run_cell(grid, cell, seed, out)}
            rows = publish(grid, [own], results)  # after every cell: an interrupted grid keeps what it has
        write_ablation(rows, seed, out)
    print(f"{results / grid.name}.md: {len(rows)} runs")
    return {"rows": len(rows), "out": str(results / f"{grid.name}.json")}


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
    config = FinetuneConfig(out=str(folder), **{**task, **settings})
    if not finished(config):
        finetune.run(config)
    return row | summarise(read_metrics(folder), grid.target, row.get("base_success_rate")) | provenance(folder)


def finished(config: FinetuneConfig) -> bool:
    """Tells whether a run has had its final evaluation; such a run is read and not opened, which would date it anew.

    Raises UserError if the folder holds a run with other settings.
    """
    folder = Path(config.out)
    if former_evaluation(folder, "final", config.steps, config.final_episodes) is None:
        return False
    options = resolve_agent_options(config.task, config.variant, config.agent, config.agent_config, config.task_config)
    penalty = resolve_reflex_penalty(config.task, config.variant, config.reflex_penalty, config.task_config)
    expected = replace(config, agent_config=options, reflex_penalty=penalty)
    refuse_difference(folder, read_json(folder / CONFIG_FILE), expected)
    return True


def provenance(folder: Path) -> Row:
    """Returns the source commits with which a run was made, in their order, and the machine of its last part."""
    path = folder / VERSIONS_FILE
    surroundings: list[Row] = read_json(path)["environments"] if path.is_file() else []
    commits = list(dict.fromkeys(str(entry["commit"]) for entry in surroundings if entry.get("commit")))
    if not surroundings:
        return {"commits": commits, "machine": None}
    last = surroundings[-1]
    system = str(last["system"]).replace("-", " ").split()  # former versions wrote the kernel's release in between
    kinds = [word for word in system[1:] if word in ("x86_64", "aarch64")]
    return {
        "commits": commits,
        "machine": {"system": " ".join([system[0], *kinds]), "cpu": last["cpu"], "cores": last["cores"]},
    }


def publish(grid: Grid, own: list[Row], results: Path) -> list[Row]:
    """Adds rows to the grid's results (JSON for programs, Markdown and SVG for people); returns all of them.

    What other processes have published meanwhile stays, and so do rows of earlier days until their cell has run anew.
    """
    path = results / f"{grid.name}.json"
    with only_writer(results):
        published: list[Row] = read_json(path)["rows"] if path.is_file() else []
        rows = {(row["cell"], row["seed"]): row for row in [*published, *own]}
        ordered = [rows[key] for key in sorted(rows)]
        write_atomic(path, json.dumps({"experiment": grid.name, "rows": ordered}, indent=1) + "\n")
        write_atomic(results / f"{grid.name}.md", markdown(grid, ordered))
        if ordered:
            from robot_rl.report.curves import write_curves

            write_curves(results / f"{grid.name}.svg", grid, ordered)
    return ordered


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Waits until no other process publishes into `folder`; the lock is on the folder itself and leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
