"""Tables and bars of the experiments on the safety layers: rates and means with intervals, pooled over the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from robot_rl.report.plots import figure, svg
from robot_rl.report.statistics import bootstrap_interval
from robot_rl.workflows.safety_grids import SafetyGrid

Row = dict[str, Any]
_RATES = (("success", "success"), ("violation", "violations"), ("energy_violation", "energy violations"))
_MEANS = (("energy_j", "energy [J]", 2), ("peak_force_n", "peak force [N]", 1), ("interventions", "reflexes", 2))


def pooled(rows: list[Row], cell: str, name: str) -> list[float]:
    """The numbers of all episodes of a cell, over its seeds."""
    return [value for row in rows if row["cell"] == cell for value in row["trials"][name]]


def estimate(rows: list[Row], cell: str, name: str) -> tuple[float, float, float]:
    """Returns mean and its 95 % bootstrap interval over episodes."""
    values = pooled(rows, cell, name)
    return (float(np.mean(values)), *bootstrap_interval(values, np.random.default_rng(0)))


def write_table(path: Path, grid: SafetyGrid, rows: list[Row]) -> None:
    """Writes the table of an experiment as Markdown."""
    heads = [head for _, head in _RATES] + [head for _, head, _ in _MEANS]
    lines = [
        f"# {grid.question}",
        "",
        f"Command: `robot-rl experiment {grid.name}`. Each cell: {grid.episodes} episodes a seed, the same in every",
        "cell; mean and 95 % bootstrap interval over all episodes. Violations: episodes in which the contact force or",
        "moment exceeded the task's limit; energy violations: episodes that took more energy than the tank",
        "held at the start.",
        "",
        f"| cell | episodes | {' | '.join(heads)} | successes / (violations + 1) | what |",
        f"|---|---|{'---|' * (len(heads) + 2)}",
    ]
    for arm in grid.arms:
        count = len(pooled(rows, arm.name, "success"))
        if count == 0:
            continue
        cells = [_share(*estimate(rows, arm.name, name)) for name, _ in _RATES]
        cells += [_mean(*estimate(rows, arm.name, name), digits) for name, _, digits in _MEANS]
        ratio = sum(pooled(rows, arm.name, "success")) / (sum(pooled(rows, arm.name, "violation")) + 1)
        lines.append(f"| {arm.name} | {count} | {' | '.join(cells)} | {ratio:.1f} | {arm.text} |")
    commits = sorted({str(row.get("commit")) for row in rows})
    lines += ["", f"Source commits of the cells: {', '.join(commits)}.", "", f"![rates]({grid.name}.svg)", ""]
    write_atomic(path, "\n".join(lines))


def write_bars(path: Path, grid: SafetyGrid, rows: list[Row]) -> None:
    """Draws success and violations of each cell with their intervals."""
    names = [arm.name for arm in grid.arms if pooled(rows, arm.name, "success")]
    with figure(1, 8.0, 4.2) as (drawn, panels):
        axes = panels[0][0]
        for shift, (key, head) in zip((-0.25, 0.0, 0.25), _RATES, strict=True):
            values = np.array([estimate(rows, name, key) for name in names])
            spread = np.abs(values[:, 1:].T - values[:, 0])
            axes.bar(np.arange(len(names)) + shift, values[:, 0], 0.24, yerr=spread, label=head, capsize=2)
        axes.set_xticks(np.arange(len(names)), names, rotation=30, ha="right")
        axes.set(ylabel="share of episodes", ylim=(0.0, 1.05), title=grid.name)
        axes.legend()
        write_atomic(path, svg(drawn, transparent=False))


def _share(mean: float, low: float, high: float) -> str:
    return f"{mean:.1%} ({low:.1%}-{high:.1%})"


def _mean(mean: float, low: float, high: float, digits: int) -> str:
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
