"""The critics of the experiments on the safety layers: made once a task and seed, and measured at slower decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config_critic import SafetyCalibrateConfig, SafetyCollectConfig, SafetyTrainConfig
from robot_rl.runs import environment, read_json
from robot_rl.safety_critic.calibration import Calibration, calibrate
from robot_rl.safety_critic.files import CRITIC_FILE, load_critic
from robot_rl.safety_critic.trajectories import load_folder
from robot_rl.tasks.base import CriticRecipe
from robot_rl.tasks.registry import make_task
from robot_rl.workflows import safety_collect, safety_train
from robot_rl.workflows.common import read_setup
from robot_rl.workflows.experiment import only_writer
from robot_rl.workflows.trial_files import digest_of_file

Row = dict[str, Any]
MEASURED_FILE = "measured.json"
_FIGURES = (
    *("threshold", "lookahead_s", "recall", "recall_in_time", "stopping_time_s"),
    *("false_reflexes", "ece", "violations", "episodes", "decisions"),
)


def critic_of(task: str, seed: int, out: Path, task_config: Mapping[str, Any] | None = None, gate: bool = True) -> Path:
    """Returns the file of a task's safety critic, collected, trained and calibrated now if it is not there yet.

    It is made as the task's recipe says, for the task with these settings. Raises UserError if it does not pass its
    calibration gate, unless `gate` is off, or if the task has no recipe.
    """
    recipe, path, own = recipe_of(task), out / f"{task}-critic-{seed}" / CRITIC_FILE, dict(task_config or {})
    if path.is_file() and load_critic(path, override_gate=True).calibration is not None:
        load_critic(path, override_gate=not gate)
        return path
    folders = []
    for index, changes in enumerate(recipe.task_configs):
        folders.append(str(out / f"{task}-episodes-{index}-{seed}"))
        common: Row = {
            "task": task,
            "episodes": recipe.episodes,
            "seed": 10 * seed + index,
            "task_config": {**own, **changes},
        }
        safety_collect.run(SafetyCollectConfig(out=folders[-1], **common))
    settings: Row = {"seed": seed, "critic_config": dict(recipe.critic_config)}
    safety_train.run(SafetyTrainConfig(data=folders[0], also=folders[1:], out=str(path.parent), **settings))
    kept = []
    for index, changes in enumerate(recipe.held_out_configs):
        folder = out / (f"{task}-heldout-{index}-{seed}" if index else f"{task}-heldout-{seed}")
        kept.append(str(_collect_held_out(recipe, task, {**own, **changes}, 10 * seed + 9 - index, folder)))
    safety_train.calibrate_file(SafetyCalibrateConfig(critic=str(path), data=kept[0], also=kept[1:]))
    load_critic(path, override_gate=not gate)
    return path


def recipe_of(task: str) -> CriticRecipe:
    """Returns how a task's critic is made. Raises UserError for a task that does not say so."""
    recipe = make_task(task).critic_recipe
    if recipe is None:
        raise UserError(f"expected a task with a critic_recipe, {task} has none: safety collect, train and calibrate")
    return recipe


def measure_critic(task: str, seed: int, path: Path, out: Path) -> list[Row]:
    """Returns what a critic is worth on held-out episodes: at its gate's decisions, and at the recipe's other ones.

    The first row repeats what its gate measured. The others decide nothing; they are measured once and stored beside
    the critic.
    """
    recipe, critic = recipe_of(task), load_critic(path, override_gate=True)
    stored, digest = path.parent / MEASURED_FILE, digest_of_file(path)
    asked = {"critic_sha256": digest, "task_configs": [dict(changes) for changes in recipe.measured]}
    if stored.is_file() and {name: (found := read_json(stored)).get(name) for name in asked} == asked:
        rows: list[Row] = found["rows"]
        return rows
    rows = []
    if critic.calibration is not None:
        made = critic.about.get("environment", {}).get("commit")
        rows.append(_row(task, seed, {}, critic.calibration, made))
    for index, changes in enumerate(recipe.measured):
        folder = out / f"{task}-heldout-slow-{index}-{seed}"
        _collect_held_out(recipe, task, changes, 10 * seed + 8 - index, folder)
        stop_s = safety_train.stopping_time(read_setup(folder))
        figures = calibrate(critic.weights, load_folder(folder), stop_s, critic.threshold)
        rows.append(_row(task, seed, changes, figures, environment().get("commit")))
    write_atomic(stored, json.dumps({**asked, "rows": rows}, indent=1) + "\n")
    return rows


def _collect_held_out(recipe: CriticRecipe, task: str, changes: Mapping[str, Any], seed: int, folder: Path) -> Path:
    common: Row = {"task": task, "variant": recipe.held_out, "episodes": recipe.episodes, "task_config": dict(changes)}
    safety_collect.run(SafetyCollectConfig(out=str(folder), seed=seed, **common))
    return folder


def _row(task: str, seed: int, changes: Mapping[str, Any], figures: Calibration, commit: str | None) -> Row:
    decision_s = round(1.0 / make_task(task, "default", changes).rate_hz, 6)
    found = figures.as_dict()
    return {
        "task": task,
        "seed": seed,
        "decision_s": decision_s,
        "gated": not changes,
        "commit": commit,
        **{name: found[name] for name in _FIGURES},
    }


def publish_critics(own: list[Row], results: Path) -> list[Row]:
    """Adds rows to <results>/critic.json and writes critic.md anew; rows of other tasks, seeds and periods stay."""
    path = results / "critic.json"
    with only_writer(results):
        published: list[Row] = read_json(path)["rows"] if path.is_file() else []
        rows = {(row["task"], row["seed"], row["decision_s"]): row for row in [*published, *own]}
        ordered = [rows[key] for key in sorted(rows)]
        write_atomic(path, json.dumps({"rows": ordered}, indent=1) + "\n")
        write_atomic(results / "critic.md", _markdown(ordered))
    return ordered


def _markdown(rows: list[Row]) -> str:
    lines = [
        "# What are the critics of the experiments worth on held-out episodes?",
        "",
        "Command: `robot-rl experiment bresa` (or any other one with a critic). Scripted operators on held-out draws,",
        "interrupted now and then by what a reflex would do, up to the first violation of each episode. The gate",
        "decides on the row of its own period alone; the others show the same critic at the same threshold with slower",
        "decisions and decide nothing. Recall: share of the violations before which the risk exceeded the threshold",
        "within the look-ahead, asked at every sample; in time: at least the arm's stopping time before, 55 to 59 ms,",
        "which the gate does not ask for: an arm that is already braking hits less hard (no figure: not kept). False",
        "reflexes: share of the decisions with an alarm that no violation followed; a slower decision holds more",
        "samples that may raise one. ECE: expected calibration error of the risk.",
        "",
        "| task | seed | decision [s] | gate | threshold | look-ahead [s] | recall | in time | false reflexes "
        "| ECE | violations | episodes | decisions |",
        f"|{'---|' * 13}",
        *(_line(row) for row in rows),
        "",
        f"Source commits: {', '.join(sorted({str(row['commit']) for row in rows}))}.",
    ]
    return "\n".join([*lines, ""])


def _line(row: Row) -> str:
    in_time = row.get("recall_in_time")  # rows from before it was kept lack it
    cells = [
        f"{row['task']} | {row['seed']} | {row['decision_s']:g} | {'decides' if row['gated'] else 'measured only'}",
        f"{row['threshold']:g} | {row['lookahead_s']:.2f}",
        f"{row['recall']:.3f} | {'-' if in_time is None else f'{in_time:.3f}'}",
        f"{row['false_reflexes']:.3f} | {row['ece']:.3f}",
        f"{row['violations']} | {row['episodes']} | {row['decisions']}",
    ]
    return f"| {' | '.join(cells)} |"
