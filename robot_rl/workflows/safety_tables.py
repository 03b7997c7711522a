"""Tables and bars of the experiments on the safety layers: rates and means over seeds and episodes, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from robot_rl.report.plots import figure, svg
from robot_rl.report.statistics import hierarchical_interval, rate_interval
from robot_rl.workflows.safety_claims import verdict
from robot_rl.workflows.safety_grids import Arm, SafetyGrid

Row = dict[str, Any]
_RATES = (("success", "success"), ("violation", "violations"), ("energy_violation", "energy violations"))
_MEANS = (("energy_j", "energy [J]", 2), ("peak_force_n", "peak force [N]", 1), ("interventions", "reflexes", 2))


def by_seed(rows: list[Row], cell: str, name: str) -> list[list[float]]:
    """The numbers of all episodes of a cell, one list a seed."""
    return [row["trials"][name] for row in rows if row["cell"] == cell]


def estimate(groups: list[list[float]], rate: bool) -> tuple[float, float, float]:
    """Returns mean over all episodes and its 95 % interval, which resamples seeds first and then their episodes."""
    rng = np.random.default_rng(0)
    interval = rate_interval(groups, rng) if rate else hierarchical_interval(groups, rng)
    return (float(np.mean(np.concatenate(groups))), *interval)


def write_table(path: Path, grid: SafetyGrid, rows: list[Row]) -> None:
    """Writes the table of an experiment as Markdown."""
    heads = [head for _, head in _RATES] + [head for _, head, _ in _MEANS]
    lines = [
        f"# {grid.question}",
        "",
        f"Command: `robot-rl experiment {grid.name}`. Each cell: {grid.episodes} episodes a seed, the same in every",
        "cell. Brackets: 95 % interval of a bootstrap over seeds and then their episodes, then the value of each seed;",
        "a rate of none or all of the episodes has Wilson's interval. Few seeds say little of how far another one may",
        "be off: read the seeds' own values beside the interval. Violations: episodes in which the contact force or",
        "moment exceeded the task's limit. Energy violations: episodes in which more energy was delivered than the",
        "tank held at the start, so that at some tick tank and spring together were below zero.",
        "",
        *(f"- {sentence}" for sentence in grid.fairness),
        "",
        f"| cell | seeds | episodes | {' | '.join(heads)} | successes / (violations + 1) | what |",
        f"|---|---|---|{'---|' * (len(heads) + 2)}",
        *(_line(rows, arm) for arm in grid.arms if by_seed(rows, arm.name, "success")),
    ]
    # rows of former versions have a single one
    commits = sorted({str(commit) for row in rows for commit in row.get("commits") or [row.get("commit")] if commit})
    verdicts = [line for claim in grid.claims if (line := verdict(claim, rows)) is not None]
    lines += ["", *(f"- {line}" for line in verdicts)]
    lines += ["", f"Source commits of the cells: {', '.join(commits) or 'not recorded'}.", *_notes(rows)]
    write_atomic(path, "\n".join([*lines, "", f"![rates]({grid.name}.svg)", ""]))


def _line(rows: list[Row], arm: Arm) -> str:
    seeds = ", ".join(str(row["seed"]) for row in rows if row["cell"] == arm.name)
    successes, violations = (by_seed(rows, arm.name, name) for name in ("success", "violation"))
    cells = [_share(by_seed(rows, arm.name, name)) for name, _ in _RATES]
    cells += [_mean(by_seed(rows, arm.name, name), digits) for name, _, digits in _MEANS]
    ratio = sum(map(sum, successes)) / (sum(map(sum, violations)) + 1)
    count = sum(map(len, successes))
    return f"| {arm.name} | {seeds} | {count} | {' | '.join(cells)} | {ratio:.1f} | {arm.text} |"


def _notes(rows: list[Row]) -> list[str]:
    """What is to be known of some rows only."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.get("note"):
            notes.setdefault(row["note"], []).append(f"{row['cell']} ({row['seed']})")
    return [f"\n{note} Cells (seeds): {', '.join(cells)}." for note, cells in notes.items()]


def write_bars(path: Path, grid: SafetyGrid, rows: list[Row]) -> None:
    """Draws success and violations of each cell with their intervals."""
    names = [arm.name for arm in grid.arms if by_seed(rows, arm.name, "success")]
    with figure(1, 8.0, 4.2) as (drawn, panels):
        axes = panels[0][0]
        for shift, (key, head) in zip((-0.25, 0.0, 0.25), _RATES, strict=True):
            values = np.array([estimate(by_seed(rows, name, key), rate=True) for name in names])
            spread = np.abs(values[:, 1:].T - values[:, 0])
            axes.bar(np.arange(len(names)) + shift, values[:, 0], 0.24, yerr=spread, label=head, capsize=2)
        axes.set_xticks(np.arange(len(names)), names, rotation=30, ha="right")
        axes.set(ylabel="share of episodes", ylim=(0.0, 1.05), title=grid.name)
        axes.legend()
        write_atomic(path, svg(drawn, transparent=False))


def _share(groups: list[list[float]]) -> str:
    """A rate, such as 2.0 % (0.4-5.1 %; seeds 2.0, 1.0, 3.0)."""
    mean, low, high = (100.0 * value for value in estimate(groups, rate=True))
    seeds = ", ".join(f"{100.0 * np.mean(group):.1f}" for group in groups)
    return f"{mean:.1f} % ({low:.1f}-{high:.1f} %; seeds {seeds})"


def _mean(groups: list[list[float]], digits: int) -> str:
    mean, low, high = estimate(groups, rate=False)
    seeds = ", ".join(f"{np.mean(group):.{digits}f}" for group in groups)
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f}; seeds {seeds})"
