"""Everything that a report tells of a run, read from its folder."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import UserError
from robot_rl.metrics import read_metrics
from robot_rl.report.statistics import steps_to_target
from robot_rl.runs import CONFIG_FILE, VERSIONS_FILE, read_json
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task

Record = dict[str, Any]
NAMED = ("base", "final", "evaluate")
"""Evaluations that are not of the training itself."""
FINAL = "final policy"
"""Label of what was learned."""


@dataclass
class RunData:
    """Records of a run by kind, in the order of writing, and what lies beside them."""

    path: Path
    config: Record
    environments: list[Record]
    episodes: list[Record] = field(default_factory=list)
    updates: list[Record] = field(default_factory=list)
    pretrain: list[Record] = field(default_factory=list)
    evals: list[Record] = field(default_factory=list)
    assisted: list[Record] = field(default_factory=list)
    """Evaluations in which somebody could take over: no measure of the policy by itself."""
    summaries: list[Record] = field(default_factory=list)
    strips: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences about pictures that could not be made."""
    ablation: Record | None = None
    demonstrations: list[Record] = field(default_factory=list)
    """Number and digest of what was learned from; more than one where they changed between parts of the run."""
    safety_layers: list[dict[str, str]] = field(default_factory=list)
    """State of each safety layer by its name; more than one where they changed, none for task=gym and older runs."""

    @classmethod
    def read(cls, path: Path) -> RunData:
        """Reads a run folder. Raises `UserError` where there is none, or where nothing was measured yet."""
        if not (path / CONFIG_FILE).is_file():
            raise UserError(f"expected a run folder with {CONFIG_FILE} at {path}, found none; give run=<out of a run>")
        versions = read_json(path / VERSIONS_FILE) if (path / VERSIONS_FILE).is_file() else {"environments": []}
        run = cls(path, read_json(path / CONFIG_FILE), versions["environments"])
        run.demonstrations = versions.get("demonstrations", [])
        run.safety_layers = versions.get("safety_layers", [])
        by_kind = {"episode": run.episodes, "update": run.updates, "eval": run.evals, "pretrain": run.pretrain}
        by_kind["summary"] = run.summaries
        for record in read_metrics(path):
            if record.get("kind") == "pretrain" and run.pretrain and record["step"] <= run.pretrain[-1]["step"]:
                run.pretrain.clear()  # an imitation that was interrupted began anew
            helped = record.get("human", "none") != "none"
            (run.assisted if helped else by_kind.get(str(record.get("kind")), [])).append(record)
        if not (run.episodes or run.evals):
            raise UserError(f"{path} holds no episode and no evaluation yet; let the run go on, then report again")
        run._read_strips()
        if (path / "ablation.json").is_file():
            run.ablation = read_json(path / "ablation.json")
        return run

    def _read_strips(self) -> None:
        folder = self.path / "strips"
        captions: dict[str, str] = read_json(folder / "captions.json") if (folder / "captions.json").is_file() else {}
        for picture in sorted(folder.glob("*.png")):
            self.strips.append((picture, captions.get(picture.stem, picture.stem)))
        drawn = {picture.stem for picture, _ in self.strips}
        self.notes = [text for name, text in captions.items() if name not in drawn]

    @property
    def name(self) -> str:
        """Task and variant, or the environment's id."""
        task = str(self.config.get("task", "run"))
        if task == "gym":
            return str(self.config.get("env_id"))
        variant = self.config.get("variant", "default")
        return task if variant in (None, "default") else f"{task} ({variant})"

    @property
    def on_robot(self) -> bool:
        """Whether seconds of robot time mean anything (an arm task, not any Gymnasium environment)."""
        return any(episode.get("robot_s", 0.0) for episode in self._all_episodes())

    @property
    def by_success(self) -> bool:
        """Whether success rates tell how good a policy is; otherwise mean returns do."""
        return self.on_robot or any(episode.get("success") for episode in self._all_episodes())

    def _all_episodes(self) -> list[Record]:
        return [*self.episodes, *(episode for record in self.evals for episode in record.get("episodes", []))]

    @cached_property
    def curve(self) -> list[Record]:
        """Evaluations along the training, deterministic ones, one a step count, in their order."""
        deterministic = [record for record in self.evals if record.get("deterministic", True)]
        planned = [record for record in deterministic if record.get("name") != "evaluate"]
        by_size = sorted(deterministic, key=lambda record: len(record.get("episodes", [])))
        rows = {record["step"]: record for record in planned or by_size}  # of several at one step the last stays
        return [rows[step] for step in sorted(rows)]

    @cached_property
    def before(self) -> Record | None:
        """Evaluation of the imitated policy, else the first one of several."""
        named = [record for record in self.evals if record.get("name") == "base"]
        return named[-1] if named else self.curve[0] if len(self.curve) > 1 else None

    @cached_property
    def after(self) -> Record | None:
        """Final evaluation, else the last one of the training; what `robot-rl evaluate` measured later stands apart."""
        last = self.curve[-1] if self.curve else None
        return None if last is self.before else last

    @property
    def later(self) -> list[Record]:
        """What `robot-rl evaluate` measured, in the order of writing."""
        return [record for record in self.evals if record.get("name") == "evaluate"]

    @cached_property
    def target(self) -> float:
        """Success rate that counts as solved: that of the task, else that of all tasks."""
        try:
            settings = self.config.get("task_config")
            task = make_task(str(self.config.get("task")), self.config.get("variant") or "default", settings)
        except UserError:  # no task of ours (gym), or one that is not installed where the report is made
            return Task.success_target
        return task.success_target

    @property
    def energy_budget_j(self) -> float | None:
        """Energy [J] that an episode was allowed to take in the mean; None without a budget."""
        budget_j = (self.config.get("agent_config") or {}).get("energy_budget_j")
        return None if budget_j is None else float(budget_j)

    def compared(self) -> list[tuple[str, Record]]:
        """Returns what is compared, with its label: the evaluations before and after, as far as they are there."""
        base = self.before is not None and self.before.get("name") == "base"
        found = [("imitated base" if base else "first evaluation", self.before), (FINAL, self.after)]
        return [(label, record) for label, record in found if record is not None]

    @property
    def training_step(self) -> int:
        """Environment steps of training so far."""
        return max((int(record["step"]) for record in [*self.episodes, *self.evals]), default=0)

    def steps_to_target(self) -> int | None:
        """Returns the steps at the first of two consecutive evaluations at the target, None if never reached."""
        training = [record for record in self.evals if record.get("name") not in NAMED]
        chosen = [record for record in training if record.get("deterministic", True)]
        return steps_to_target([(int(record["step"]), float(record["success_rate"])) for record in chosen], self.target)

    def worst_dip(self) -> float | None:
        """Returns by how much the worst later evaluation fell below the first one (0 if never), None without them."""
        if self.before is None:
            return None
        rates = [row["success_rate"] for row in self.curve if row["step"] > self.before["step"]]
        return max(0.0, self.before["success_rate"] - min(rates)) if rates else None

    def clock_at(self, step: int) -> tuple[float, float, float]:
        """Returns robot, reset and wall-clock seconds of all training episodes up to `step`."""
        steps, clocks = self._clocks
        return clocks[bisect_right(steps, step)]

    @cached_property
    def _clocks(self) -> tuple[list[int], list[tuple[float, float, float]]]:
        """Steps at the ends of the training episodes, and the seconds before the first and after each of them."""
        clocks = [(0.0, 0.0, 0.0)]
        for episode in self.episodes:
            robot_s, reset_s, wall_s = clocks[-1]
            clocks.append(
                (
                    robot_s + float(episode.get("robot_s") or 0.0),
                    reset_s + float(episode.get("reset_s") or 0.0),
                    max(wall_s, float(episode.get("wall_s") or 0.0)),
                )
            )
        return [int(episode["step"]) for episode in self.episodes], clocks
