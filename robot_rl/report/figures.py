"""The figures of a run's report; each returns a data URI, or None where the run holds nothing to draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_rl.report.plots import AFTER, BEFORE, QUIET, SAMPLED, SOURCE_COLOURS, figure, svg_uri
from robot_rl.report.run_data import Record, RunData
from robot_rl.report.statistics import mean_shares, rolling_mean

WINDOW = 20
"""Training episodes over which success is averaged."""
_FEWEST = 5
"""Training episodes before the first point of their mean is drawn."""
_METRICS_SHOWN = 12


def success_curve(run: RunData) -> str | None:
    """Success (or return) against environment steps, robot minutes with and without resets, and training time."""
    if not run.episodes and len(run.curve) < 2:
        return None
    robot = run.on_robot
    with figure(3 if robot else 2, 10.6, 3.1, sharey=True) as (drawn, axes):
        panels = axes[0]
        _curve(panels[0], run, "steps")
        panels[0].set_xlabel("environment steps")
        panels[0].set_ylabel("success rate" if run.by_success else "return")
        panels[0].legend(loc="lower right" if run.by_success else "best")
        if robot:
            _curve(panels[1], run, "robot")
            _robot_minutes_without_resets(panels[1], run)
            panels[1].set_xlabel("robot minutes")
            panels[1].legend(loc="lower right")
        _curve(panels[-1], run, "wall")
        panels[-1].set_xlabel("training minutes (wall-clock, without evaluations)")
        if run.by_success:
            panels[0].set_ylim(-0.03, 1.03)
        return svg_uri(drawn)


def _value(record: Record, run: RunData) -> float:
    return float(record["success_rate"] if run.by_success else record["mean_return"])


def _places(run: RunData, steps: list[int], axis: str) -> list[float]:
    if axis == "steps":
        return [float(step) for step in steps]
    clocks = [run.clock_at(step) for step in steps]
    return [(robot + reset if axis == "robot" else wall) / 60.0 for robot, reset, wall in clocks]


def _curve(axes: Any, run: RunData, axis: str) -> None:
    if run.episodes:
        key = "success" if run.by_success else "return"
        means = rolling_mean([float(episode[key]) for episode in run.episodes], WINDOW)
        places = _places(run, [episode["step"] for episode in run.episodes], axis)
        first = min(_FEWEST, len(means)) - 1
        axes.plot(
            places[first:], means[first:], color=SAMPLED, linewidth=1.2, label=f"training, mean of {WINDOW} episodes"
        )
    rows = run.curve
    if rows:
        values = np.array([_value(row, run) for row in rows])
        places = _places(run, [row["step"] for row in rows], axis)
        bars = None
        if run.by_success:
            bars = np.abs(np.array([[row["low"], row["high"]] for row in rows]).T - values)
        label = "evaluation, 95 % interval" if run.by_success else "evaluation"
        axes.errorbar(
            places, values, yerr=bars, color=AFTER, marker="o", markersize=4, capsize=2, elinewidth=1, label=label
        )
    if run.before is not None and run.before.get("name") == "base":
        axes.axhline(_value(run.before, run), color=BEFORE, linestyle="--", linewidth=1.2, label="imitated base")


def _robot_minutes_without_resets(axes: Any, run: RunData) -> None:
    rows = run.curve
    for line, label in zip(axes.get_lines()[:1], ["with resets"], strict=False):
        line.set_label(f"training, {label}")
    places = [run.clock_at(row["step"])[0] / 60.0 for row in rows]
    axes.plot(
        places, [_value(row, run) for row in rows], color=QUIET, linestyle=":", marker=".", label="without resets"
    )


def episodes_of(record: Record | None) -> list[Record]:
    """Returns the episodes of an evaluation, an empty list where there was none."""
    return list(record.get("episodes", [])) if record else []


def distributions(run: RunData) -> str | None:
    """Peak and mean contact force of all evaluation episodes, cycle time of the successful ones, before and after."""
    colours = {"final policy": AFTER}
    sets = [
        (name, colours.get(name, BEFORE), episodes_of(record)) for name, record in run.compared() if episodes_of(record)
    ]
    if not sets or not run.on_robot:
        return None
    panels = [("peak_force_n", "peak contact force [N]", False), ("mean_force_n", "mean contact force [N]", False)]
    panels.append(("robot_s", "cycle time of successes [s]", True))
    with figure(3, 10.6, 2.7) as (drawn, axes):
        for place, (key, label, only_successes) in zip(axes[0], panels, strict=True):
            values = {
                name: [
                    float(item[key])
                    for item in items
                    if item.get(key) is not None and (item["success"] or not only_successes)
                ]
                for name, _, items in sets
            }
            _histograms(place, values, {name: colour for name, colour, _ in sets})
            place.set_xlabel(label)
        axes[0][0].set_ylabel("episodes")
        axes[0][0].legend()
        return svg_uri(drawn)


def _histograms(axes: Any, values: dict[str, list[float]], colours: dict[str, str]) -> None:
    together = [value for part in values.values() for value in part]
    if not together:
        axes.text(0.5, 0.5, "no successful episode", ha="center", va="center", transform=axes.transAxes, color=QUIET)
        return
    edges = np.histogram_bin_edges(together, bins=min(24, max(6, len(together) // 5)))
    for name, part in values.items():
        axes.hist(part, bins=edges, histtype="stepfilled", alpha=0.3, color=colours[name])
        axes.hist(part, bins=edges, histtype="step", color=colours[name], linewidth=1.4, label=name)
        if part:
            axes.axvline(float(np.median(part)), color=colours[name], linewidth=1, linestyle=":")


def source_share(run: RunData) -> str | None:
    """Share of executed actions by who proposed them, along the training."""
    rows = [episode for episode in run.episodes if episode.get("source_share")]
    if not rows:
        return None
    names = sorted({name for row in rows for name in row["source_share"]})
    groups = np.array_split(np.arange(len(rows)), min(40, len(rows)))
    steps = [rows[int(group[-1])]["step"] for group in groups]
    means = [mean_shares([rows[int(index)] for index in group]) for group in groups]
    shares = [[mean.get(name, 0.0) for mean in means] for name in names]
    with figure(1, 10.6, 2.3) as (drawn, axes):
        place = axes[0][0]
        if len(groups) == 1:
            steps, shares = [0, steps[0]], [[share[0], share[0]] for share in shares]
        place.stackplot(steps, shares, labels=names, colors=SOURCE_COLOURS[: len(names)], alpha=0.85, linewidth=0)
        place.set(xlabel="environment steps", ylabel="share of actions", ylim=(0, 1), xlim=(steps[0], steps[-1]))
        place.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg_uri(drawn)


def energy(run: RunData) -> str | None:
    """Energy of the training episodes against their budget, and the budget's multiplier, where there is one."""
    episodes = [episode for episode in run.episodes if episode.get("energy_j") is not None]
    if not episodes or not any(episode["energy_j"] for episode in episodes):
        return None
    prices = [(row["step"], row["lambda"]) for row in run.updates if row.get("lambda") is not None]
    steps, values = [episode["step"] for episode in episodes], [float(episode["energy_j"]) for episode in episodes]
    with figure(2 if prices else 1, 10.6, 2.5) as (drawn, axes):
        place = axes[0][0]
        place.plot(steps, values, ".", color=SAMPLED, markersize=3, label="training episode")
        place.plot(steps, rolling_mean(values, WINDOW), color=AFTER, label=f"mean of {WINDOW} episodes")
        if run.energy_budget_j is not None:
            place.axhline(run.energy_budget_j, color=BEFORE, linestyle="--", linewidth=1.2, label="budget")
        place.set(xlabel="environment steps", ylabel="energy of an episode [J]")
        place.legend(loc="best")
        if prices:
            axes[0][1].plot([step for step, _ in prices], [price for _, price in prices], color=AFTER)
            axes[0][1].set(xlabel="environment steps", ylabel="multiplier λ")
        return svg_uri(drawn)


def imitation_loss(run: RunData) -> str | None:
    """Loss of the imitated policy along its updates."""
    points = [(record["step"], record["loss"]) for record in run.pretrain if record.get("loss") is not None]
    if len(points) < 2:
        return None
    with figure(1, 5.2, 2.1) as (drawn, axes):
        axes[0][0].plot([step for step, _ in points], [loss for _, loss in points], color=BEFORE, linewidth=1.2)
        axes[0][0].set(xlabel="updates", ylabel="denoising loss", yscale="log")
        return svg_uri(drawn)


def update_metrics(run: RunData) -> str | None:
    """Small curves of what the learner reported of its updates."""
    skip = {"kind", "step", "wall_s", "robot_total_s", "reset_total_s", "update_s"}
    names = [name for name, value in (run.updates[-1].items() if run.updates else []) if isinstance(value, float | int)]
    names = [name for name in names if name not in skip][:_METRICS_SHOWN]
    if len(run.updates) < 2 or not names:
        return None
    rows = -(-len(names) // 4)
    with figure(4, 10.6, 1.55 * rows + 0.3, rows=rows, sharex=True) as (drawn, axes):
        for place, name in zip(axes.flat, names, strict=False):
            points = [(row["step"], row[name]) for row in run.updates if row.get(name) is not None]
            place.plot([step for step, _ in points], [value for _, value in points], color=AFTER, linewidth=1)
            place.set_title(name)
        for place in list(axes.flat)[len(names) :]:
            place.set_visible(False)
        return svg_uri(drawn)
