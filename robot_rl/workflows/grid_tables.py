"""What a grid's runs come to: one row of figures a run, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robot_rl.report.statistics import WITH_EXPLORATION, mean_shares, steps_to_target
from robot_rl.workflows.grids import Grid

Row = dict[str, Any]


def summarise(records: list[dict[str, Any]], target: float, base_rate: float | None = None) -> Row:
    """Condenses a run's metrics to final success, steps to the target, gain and dip, times and sources.

    base_rate: success of the imitated base, where the run's own records do not tell it.
    """
    evaluations = [record for record in records if record["kind"] == "eval"]
    final = [record for record in evaluations if record.get("name") == "final"][-1]
    bases = [record["success_rate"] for record in evaluations if record.get("name") == "base"]
    base = bases[-1] if bases else base_rate
    training = [record for record in evaluations if not record.get("name")]
    curve = [(record["step"], record["success_rate"]) for record in training]
    episodes = [record for record in records if record["kind"] == "episode"]
    explored = [bool(record["success"]) for record in episodes[-WITH_EXPLORATION:]]
    reached = steps_to_target(curve, target)
    lowest = min((rate for step, rate in curve if step > 0), default=None)
    row = {
        "final_success_rate": final["success_rate"],
        "low": final["low"],
        "high": final["high"],
        "final_episodes": len(final["episodes"]),
        "training_success_rate": sum(explored) / len(explored) if explored else None,
        "steps_to_target": reached,
        "train_s_to_target": next((record["wall_s"] for record in training if record["step"] == reached), None),
        "gain_points": None if base is None else 100.0 * (final["success_rate"] - base),
        "worst_dip_points": None if base is None or lowest is None else 100.0 * max(0.0, base - lowest),
        "curve": curve,
        "train_s": final["wall_s"],
        "robot_min": final["robot_s"] / 60.0,
        "reset_min": final["reset_s"] / 60.0,
        "mean_length": final["mean_length"],
        "source_share": mean_shares(episodes),
    }
    return row if base is None else {"base_success_rate": base, **row}


def markdown(grid: Grid, rows: list[Row]) -> str:
    """The table of a grid; what a row of former versions does not hold is `-`."""
    lines = [
        f"# {grid.question}",
        "",
        f"Command: `robot-rl experiment {grid.name}`. {grid.demonstrations} scripted demonstrations; "
        f"settings of all cells: {_settings(grid.common)}; agents take what the task recommends unless the cell says "
        "otherwise.",
        "Final success is of the last checkpoint, acting deterministically, on seeds that training never saw;",
        f"success with exploration is of the last {WITH_EXPLORATION} training episodes. Steps, and seconds of training",
        "up to there, are counted to the first of two consecutive evaluations at the target. Gain (final success minus",
        "that of the imitated base) and worst dip (base minus the lowest evaluation during training) are in points.",
        "",
        f"| cell | seed | base | final success (95 % interval) | with exploration | gain | worst dip "
        f"| steps to {grid.target:.0%} | training s to {grid.target:.0%} | training s | robot min + resets "
        "| actions by |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
        "",
        *_provenance(rows),
        "| cell | what | settings |",
        "|---|---|---|",
        *(f"| {cell.name} | {cell.text} | {_settings(cell.settings)} |" for cell in grid.cells),
    ]
    return "\n".join([*lines, "", f"![curves]({grid.name}.svg)", ""])


def _line(row: Row) -> str:
    shares: Mapping[str, float] = row.get("source_share") or {}
    cells = [
        row["cell"],
        str(row["seed"]),
        _share(row.get("base_success_rate")),
        f"{row['final_success_rate']:.0%} ({row['low']:.0%}-{row['high']:.0%})",
        _share(row.get("training_success_rate")),
        _number(row.get("gain_points"), "+.0f"),
        _number(row.get("worst_dip_points"), ".0f"),
        "not reached" if row["steps_to_target"] is None else f"{row['steps_to_target']:,}",
        _number(row.get("train_s_to_target"), ".0f"),
        f"{row['train_s']:.0f}",
        f"{row['robot_min']:.1f} + {row['reset_min']:.1f}",
        ", ".join(f"{source} {_share(share)}" for source, share in shares.items()) or "-",
    ]
    return f"| {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return _number(value, ".0%")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _provenance(rows: Iterable[Row]) -> list[str]:
    """Which commits and machines the rows are of; rows without a known one are counted, not passed over."""
    sources: dict[tuple[str, str], int] = {}
    for row in rows:
        known = row.get("commits") or [row.get("commit")]
        machine: Mapping[str, Any] = row.get("machine") or {}
        place = (
            f"{machine['system']}, {machine['cpu']}, {machine['cores']} cores" if machine else "machine not recorded"
        )
        commits = " then ".join(f"`{commit}`" for commit in known if commit) or "not recorded"
        sources[commits, place] = sources.get((commits, place), 0) + 1
    return [
        f"Commit {commits} ({place}): {count} {'run' if count == 1 else 'runs'}.\n"
        for (commits, place), count in sources.items()
    ]


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in settings.items())
