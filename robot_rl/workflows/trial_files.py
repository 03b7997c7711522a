"""Files of trials: each says which settings, critic or policy and source made it, and only those go on with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.runs import environment, read_json
from robot_rl.workflows.safety_trials import Trial

_SAVE_EVERY = 10
"""Episodes between two savings of a cell: what an interruption may cost."""
_CURE = "delete the file to run these episodes anew, or choose another out"


@dataclass(frozen=True)
class Origin:
    """What made a file's trials."""

    settings: dict[str, Any]
    """Task, layers and driver of the arm, without any path."""
    digests: dict[str, str]
    """SHA-256 of the files of critic and policy, by these names; those that the arm has."""
    commits: tuple[str, ...] = ()
    """Source commits, in the order in which they added trials."""
    note: str = ""
    """What a reader of the figures has to know."""

    def require_same(self, asked: Origin, path: Path) -> None:
        """Raises UserError where trials of `asked` are not of this origin; source and note may differ."""
        there, wished = (json.loads(json.dumps(origin.settings)) for origin in (self, asked))
        names = [name for name in sorted({*there, *wished}) if there.get(name) != wished.get(name)]
        if names:
            found = ", ".join(f"{name} (there {there.get(name)}, asked {wished.get(name)})" for name in names)
            raise UserError(f"{path} holds trials with other settings: {found}; {_CURE}")
        for name in sorted({*self.digests, *asked.digests}):
            if self.digests.get(name) != asked.digests.get(name):
                raise UserError(f"{path} holds trials with another {name} than the one that is there now; {_CURE}")


def digest_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    return sha256(path.read_bytes()).hexdigest()


def digest_of_policy(folder: Path) -> str:
    """Returns the SHA-256 of the newest checkpoint of a run. Raises UserError where there is none."""
    found = sorted((folder / "checkpoints").glob("step_*.safetensors"))
    if not found:
        raise UserError(f"expected a checkpoint of the policy in {folder}, found none: let its training run to the end")
    return digest_of_file(found[-1])


def read_trials(path: Path) -> tuple[Origin, dict[int, Trial]]:
    """Returns what made a file of trials, and them by seed. Raises UserError for a file that does not tell."""
    stored = read_json(path)
    if "origin" not in stored:
        raise UserError(f"{path} is of another version, which did not store what made the trials; {_CURE}")
    told = stored["origin"]
    origin = Origin(told["settings"], told["digests"], tuple(told["commits"]), told["note"])
    trials = (Trial(**{**row, "lowest_energy_j": _number(row["lowest_energy_j"])}) for row in stored["trials"])
    return origin, {trial.seed: trial for trial in trials}


def write_trials(path: Path, origin: Origin, trials: Iterable[Trial]) -> None:
    """Writes a file of trials, whole or not at all."""
    rows = [{**asdict(trial), "lowest_energy_j": _text(trial.lowest_energy_j)} for trial in trials]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"origin": asdict(origin), "trials": rows}, indent=0))


def run_trials(
    path: Path, asked: Origin, seeds: Iterable[int], attempt: Callable[[int], Trial]
) -> tuple[list[Trial], Origin]:
    """Returns the trials of these seeds, those in the file first, and what made them all.

    What is new is saved every few episodes. Raises UserError where the file holds trials of another origin.
    """
    origin, trials = read_trials(path) if path.is_file() else (asked, {})
    origin.require_same(asked, path)
    missing = [seed for seed in seeds if seed not in trials]
    if missing:
        commit = str(environment().get("commit") or "unknown")
        origin = replace(origin, commits=tuple(dict.fromkeys([*origin.commits, commit])))
    for count, seed in enumerate(missing, 1):
        trials[seed] = attempt(seed)
        if count % _SAVE_EVERY == 0 or count == len(missing):
            write_trials(path, origin, trials.values())
    return [trials[seed] for seed in seeds], origin


def _text(value: float) -> float | None:
    return None if math.isinf(value) else value


def _number(value: float | None) -> float:
    return math.inf if value is None else float(value)
