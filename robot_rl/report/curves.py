"""Success curves of an experiment as one SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.atomic import write_atomic
from robot_rl.report.plots import figure, svg


def write_curves(path: Path, grid: Any, rows: list[dict[str, Any]]) -> None:
    """Draws success over environment steps: one colour a cell, one thin line a seed, the target dashed."""
    names = [cell.name for cell in grid.cells]
    with figure(1, 8.0, 4.2) as (drawn, panels):
        axes = panels[0][0]
        for row in rows:
            steps, rates = zip(*row["curve"], strict=True) if row["curve"] else ((), ())
            colour = f"C{names.index(row['cell'])}" if row["cell"] in names else "0.5"
            first = row["seed"] == min(other["seed"] for other in rows if other["cell"] == row["cell"])
            axes.plot(steps, rates, color=colour, alpha=0.8, linewidth=1.4, label=row["cell"] if first else None)
        axes.axhline(grid.target, linestyle="--", color="0.4", linewidth=1)
        axes.set(xlabel="environment steps", ylabel="success (deterministic)", ylim=(-0.02, 1.02), title=grid.name)
        axes.legend(loc="lower right")
        write_atomic(path, svg(drawn, transparent=False))
