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
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.runs import read_json
from robot_rl.tasks.registry import make_task
from robot_rl.training.workplace import ArmWorkplace
from robot_rl.workflows import collect, finetune
from robot_rl.workflows.common import one_thread, read_setup
from robot_rl.workflows.evaluate import load_actor
from robot_rl.workflows.experiment import finished, only_writer
from robot_rl.workflows.safety_critics import critic_of, measure_critic, publish_critics
from robot_rl.workflows.safety_grids import SAFETY_GRIDS, Arm, SafetyGrid
from robot_rl.workflows.safety_tables import write_bars, write_table
from robot_rl.workflows.safety_trials import Trial, try_agent, try_operator
from robot_rl.workflows.trial_files import Origin, digest_of_file, digest_of_policy, run_trials

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
            if config.cells and arm.name not in config.cells:
                continue
            publish(grid, run_arm(grid, arm, seed, out), results)
            if arm.critic:
                task, critics = arm.task or grid.task, out.parent / "critics"
                measured = measure_critic(task, seed, critic_of(task, seed, critics), critics)
                publish_critics(measured, results)
    rows = publish(grid, None, results)
    print(f"{results / grid.name}.md: {len(rows)} cells")
    return {"rows": len(rows), "out": str(results / f"{grid.name}.json")}


def run_arm(grid: SafetyGrid, arm: Arm, seed: int, out: Path) -> Row:
    """Runs the episodes of one arm with one seed, taking up what is there; `out` is the grid's folder.

    Raises UserError where the file of the arm's trials is of other settings, another critic or another policy.
    """
    task = arm.task or grid.task
    critic = critic_of(task, seed, out.parent / "critics") if arm.critic else None
    folder = None if arm.driver == "operator" else policy_of(grid, arm.driver, seed, out)
    safety_config = {**arm.safety_config, **({} if critic is None else {"critic_file": str(critic)})}
    seeds = range(TRAINING_SEEDS_BELOW + 1000 * seed, TRAINING_SEEDS_BELOW + 1000 * seed + grid.episodes)
    env = make_env(
        make_task(task, variant_of(grid, arm), arm.task_config),
        seed=seed,
        teleport=arm.teleport,
        layers=layers_from(safety_config),
    )
    with closing(env):
        attempt = operators(env, seed) if folder is None else agents(env, folder)
        origin = origin_of(grid, arm, critic, folder)
        trials, made = run_trials(out / f"{arm.name}-{seed}.json", origin, seeds, attempt)
    about: Row = {"cell": arm.name, "seed": seed, "commits": list(made.commits), "note": made.note}
    return {**about, "trials": flags(trials)}


def variant_of(grid: SafetyGrid, arm: Arm) -> str:
    """Returns the variant in which an arm's episodes run; a task that is not the grid's has its default one."""
    return grid.variant if (arm.task or grid.task) == grid.task else "default"


def origin_of(grid: SafetyGrid, arm: Arm, critic: Path | None, policy: Path | None) -> Origin:
    """Returns what makes the trials of an arm, source apart; critic: its file, policy: its run folder."""
    settings = {
        "task": arm.task or grid.task,
        "variant": variant_of(grid, arm),
        "task_config": arm.task_config,
        "safety_config": arm.safety_config,
        "driver": arm.driver,
        "training": {} if policy is None else grid.policies[arm.driver],
        **({} if arm.teleport else {"teleport": False}),
    }
    digests = {} if critic is None else {"critic": digest_of_file(critic)}
    return Origin(settings, digests if policy is None else {**digests, "policy": digest_of_policy(policy)})


def operators(env: RobotEnv, seed: int) -> Callable[[int], Trial]:
    """Returns what runs one episode with the scripted operator, whose random numbers are the episode's own."""
    operator = env.task.operator(np.random.default_rng([seed, 21]))

    def attempt(number: int) -> Trial:
        operator.rng = np.random.default_rng([seed, 21, number])
        return try_operator(env, operator, number)

    return attempt


def agents(env: RobotEnv, folder: Path) -> Callable[[int], Trial]:
    """Returns what runs one episode with the agent of a run folder."""
    workplace = ArmWorkplace(env)
    agent, _ = load_actor(folder, read_setup(folder), workplace)
    return lambda number: try_agent(workplace, agent, number)


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


def policy_of(grid: SafetyGrid, name: str, seed: int, out: Path) -> Path:
    """Returns the run folder of a policy, trained now if it is not there yet."""
    folder, demos = out / f"policy-{name}-{seed}", out / f"demos-{seed}.zarr"
    collect.run(CollectConfig(out=str(demos), task=grid.task, episodes=grid.demonstrations, seed=seed))
    config = FinetuneConfig(out=str(folder), task=grid.task, data=str(demos), seed=seed, **grid.policies[name])
    if not finished(config):
        finetune.run(config)
    return folder


def publish(grid: SafetyGrid, own: Row | None, results: Path) -> list[Row]:
    """Adds a row to the published ones and writes them anew; rows of other arms and seeds stay."""
    path, order = results / f"{grid.name}.json", [arm.name for arm in grid.arms]
    with only_writer(results):
        rows: list[Row] = read_json(path)["rows"] if path.is_file() else []
        if own is not None:
            rows = [row for row in rows if (row["cell"], row["seed"]) != (own["cell"], own["seed"])] + [own]
        known = [row for row in rows if row["cell"] in order]
        rows = sorted(known, key=lambda row: (order.index(row["cell"]), row["seed"]))
        write_atomic(path, json.dumps({"experiment": grid.name, "rows": rows}) + "\n")
        if rows:
            write_table(results / f"{grid.name}.md", grid, rows)
            write_bars(results / f"{grid.name}.svg", grid, rows)
    return rows
