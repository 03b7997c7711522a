"""Runs the experiments on the safety layers, arm by arm and seed by seed, and publishes their tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config import TRAINING_SEEDS_BELOW, CollectConfig, ExperimentConfig, FinetuneConfig
from robot_rl.config_critic import SafetyCalibrateConfig, SafetyCollectConfig, SafetyTrainConfig
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import make_env
from robot_rl.runs import environment, read_json
from robot_rl.safety_critic.files import CRITIC_FILE, load_critic
from robot_rl.tasks.registry import make_task
from robot_rl.training.workplace import ArmWorkplace
from robot_rl.workflows import collect, finetune, safety_collect, safety_train
from robot_rl.workflows.common import one_thread, read_setup
from robot_rl.workflows.evaluate import load_actor
from robot_rl.workflows.safety_grids import CRITICS, SAFETY_GRIDS, Arm, SafetyGrid
from robot_rl.workflows.safety_tables import write_bars, write_table
from robot_rl.workflows.safety_trials import Trial, run_trials, try_agent, try_operator

Row = dict[str, Any]


@one_thread()
def run(config: ExperimentConfig) -> dict[str, Any]:
    """Runs what is missing of an experiment, then writes <results>/<name>.json, .md and .svg."""
    grid = SAFETY_GRIDS[config.name]
    names = [arm.name for arm in grid.arms]
    unknown = [name for name in config.cells if name not in names]
    if unknown:
        raise UserError(f"experiment {grid.name} has the cells {', '.join(names)}, got {unknown[0]!r}")
    out, results = Path(config.out).expanduser() / grid.name, Path(config.results).expanduser()
    results.mkdir(parents=True, exist_ok=True)
    for seed in config.seeds:
        for arm in grid.arms:
            if not config.cells or arm.name in config.cells:
                publish(grid, run_arm(grid, arm, seed, out), results)
    rows = publish(grid, None, results)
    print(f"{results / grid.name}.md: {len(rows)} cells")
    return {"rows": len(rows), "out": str(results / f"{grid.name}.json")}


def run_arm(grid: SafetyGrid, arm: Arm, seed: int, out: Path) -> Row:
    """Runs the episodes of one arm with one seed, taking up what is there."""
    task = arm.task or grid.task
    safety_config = dict(arm.safety_config)
    if arm.critic:
        safety_config["critic_file"] = str(critic_of(task, seed, out.parent / "critics"))
    seeds = range(TRAINING_SEEDS_BELOW + 1000 * seed, TRAINING_SEEDS_BELOW + 1000 * seed + grid.episodes)
    variant = grid.variant if task == grid.task else "default"
    made = make_task(task, variant, arm.task_config)
    env = make_env(made, seed=seed, teleport=True, layers=layers_from(safety_config))
    with closing(env):
        attempt: Callable[[int], Trial]
        if arm.driver == "operator":
            operator = env.task.operator(np.random.default_rng([seed, 21]))

            def attempt(number: int) -> Trial:
                operator.rng = np.random.default_rng([seed, 21, number])
                return try_operator(env, operator, number)
        else:
            workplace, folder = ArmWorkplace(env), policy_of(grid, arm.driver, seed, out)
            agent, _ = load_actor(folder, read_setup(folder), workplace)

            def attempt(number: int) -> Trial:
                return try_agent(workplace, agent, number)

        trials = run_trials(out / f"{arm.name}-{seed}.json", seeds, attempt)
    return {"cell": arm.name, "seed": seed, "commit": environment().get("commit"), "trials": flags(trials)}


def flags(trials: list[Trial]) -> dict[str, list[float]]:
    """What the tables need of each episode, by name."""
    return {
        "success": [int(trial.success) for trial in trials],
        "violation": [int(trial.violation) for trial in trials],
        "energy_violation": [int(trial.energy_violation) for trial in trials],
        "held": [int(trial.held) for trial in trials],
        "energy_j": [round(trial.energy_j, 4) for trial in trials],
        "peak_force_n": [round(trial.peak_force_n, 1) for trial in trials],
        "interventions": [trial.interventions for trial in trials],
        "recovery_s": [round(trial.recovery_s, 3) for trial in trials],
        "seconds": [round(trial.seconds, 2) for trial in trials],
    }


def critic_of(task: str, seed: int, out: Path) -> Path:
    """Returns the file of a task's safety critic, collected, trained and calibrated now if it is not there yet.

    It learns from decisions of 0.1 s and, where the task lets one choose, of 0.5 s. Raises UserError if it does not
    pass its calibration gate.
    """
    recipe, path = CRITICS[task], out / f"{task}-critic-{seed}" / CRITIC_FILE
    if path.is_file() and load_critic(path, override_gate=True).calibration is not None:
        load_critic(path)
        return path
    folders = []
    for index, changes in enumerate(recipe.task_configs):
        folders.append(str(out / f"{task}-episodes-{index}-{seed}"))
        common: Row = {"task": task, "episodes": recipe.episodes, "seed": 10 * seed + index, "task_config": changes}
        safety_collect.run(SafetyCollectConfig(out=folders[-1], **common))
    safety_train.run(SafetyTrainConfig(data=folders[0], also=folders[1:], out=str(path.parent), seed=seed))
    held: Row = {"task": task, "variant": recipe.held_out, "episodes": recipe.episodes, "seed": 10 * seed + 9}
    kept = out / f"{task}-heldout-{seed}"
    safety_collect.run(SafetyCollectConfig(out=str(kept), **held))
    safety_train.calibrate_file(SafetyCalibrateConfig(critic=str(path), data=str(kept)))
    load_critic(path)
    return path


def policy_of(grid: SafetyGrid, name: str, seed: int, out: Path) -> Path:
    """Returns the run folder of a policy, trained now if it is not there yet."""
    folder, demos = out / f"policy-{name}-{seed}", out / f"demos-{seed}.zarr"
    collect.run(CollectConfig(out=str(demos), task=grid.task, episodes=grid.demonstrations, seed=seed))
    config = FinetuneConfig(out=str(folder), task=grid.task, data=str(demos), seed=seed, **grid.policies[name])
    finetune.run(config)
    return folder


def publish(grid: SafetyGrid, own: Row | None, results: Path) -> list[Row]:
    """Adds a row to the published ones and writes them anew; rows of other arms and seeds stay."""
    path = results / f"{grid.name}.json"
    rows: list[Row] = read_json(path)["rows"] if path.is_file() else []
    if own is not None:
        rows = [row for row in rows if (row["cell"], row["seed"]) != (own["cell"], own["seed"])] + [own]
    order = [arm.name for arm in grid.arms]
    rows = sorted(
        (row for row in rows if row["cell"] in order), key=lambda row: (order.index(row["cell"]), row["seed"])
    )
    write_atomic(path, json.dumps({"experiment": grid.name, "rows": rows}) + "\n")
    if rows:
        write_table(results / f"{grid.name}.md", grid, rows)
        write_bars(results / f"{grid.name}.svg", grid, rows)
    return rows
