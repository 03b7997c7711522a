"""What a run's report tells of its safety layers: which there were, and what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robot_rl.envs.layer_table import unarmed
from robot_rl.report import page
from robot_rl.report.figures import WINDOW, episodes_of
from robot_rl.report.plots import AFTER, BEFORE, QUIET, SAMPLED, figure, svg_uri
from robot_rl.report.run_data import Record, RunData
from robot_rl.report.sections import mean_cell, rate_cell
from robot_rl.report.statistics import rolling_mean

Cell = Callable[[list[Record]], str]
_SAY = (
    "Training episodes explore. A violation is a decision above a force limit of the task; tank and shares are the "
    "lowest of an episode. docs/reports.md defines each figure, docs/safety.md says what is bounded and what is not."
)


def section(run: RunData) -> str:
    """Returns the section of the safety layers, nothing where the run tells nothing of them."""
    picture = page.picture(along_training(run), "Violations, reflexes, energy and tank along the training")
    return page.section("Safety layers", layers(run), picture, table(run), say=_SAY)


def told(episodes: list[Record]) -> list[Record]:
    """Returns the episodes that tell what the safety layers did; runs of former versions and of task=gym have none."""
    return [episode for episode in episodes if episode.get("violation") is not None]


def layers(run: RunData) -> str:
    """Returns the table of layers that the run had, with a warning where none sees risk or where they changed."""
    if not run.safety_layers:
        return ""
    last = run.safety_layers[-1]
    notes = []
    if unarmed(last):
        notes.append(page.warning("No safety critic: the reflex arbiter had nothing to act on."))
    if len(run.safety_layers) > 1:
        notes.append(page.warning("The safety layers changed between parts of this run; these are the last."))
    return "".join(notes) + page.table(["layer", "state"], list(last.items()), numeric_from=2)


def table(run: RunData) -> str:
    """Returns what the layers did in the episodes of training and of both evaluations, with 95 % intervals."""
    groups = [("training", told(run.episodes))]
    groups += [(name, told(episodes_of(record))) for name, record in run.compared()]
    groups = [group for group in groups if group[1]]
    if not groups:
        return ""
    rows: list[tuple[str, Cell]] = [
        ("episodes with a violation", _share("violation")),
        ("successes per violation", _successes_per_violation),
        ("episodes in which the chain latched", _share("held")),
        ("interventions an episode", _mean("interventions", 2, "")),
        ("reflexes an episode", _mean("reflexes", 2, "")),
        ("holds an episode", _mean("holds", 2, "")),
        ("recovery time an episode", _mean("recovery_s", 3, "s")),
        ("time softened an episode", _mean("soft_s", 3, "s")),
        ("lowest tank", _least("lowest_tank_j", "{:.2f} J")),
        ("smallest granted share", _least("smallest_granted", "{:.3f}")),
    ]
    body = [[label, *(cell(episodes) for _, episodes in groups)] for label, cell in rows]
    return page.table(["", *(f"{name}|n = {len(episodes)}" for name, episodes in groups)], body)


def _share(key: str) -> Cell:
    return lambda episodes: rate_cell(sum(bool(episode.get(key)) for episode in episodes), len(episodes))


def _mean(key: str, digits: int, unit: str) -> Cell:
    return lambda episodes: mean_cell([float(episode.get(key) or 0.0) for episode in episodes], digits, unit)


def _successes_per_violation(episodes: list[Record]) -> str:
    successes = sum(bool(episode["success"]) for episode in episodes)
    return f"{successes / (sum(bool(episode['violation']) for episode in episodes) + 1):.1f}"


def _least(key: str, form: str) -> Cell:
    def cell(episodes: list[Record]) -> str:
        values = [float(episode[key]) for episode in episodes if episode.get(key) is not None]
        return form.format(min(values)) if values else "-"

    return cell


def along_training(run: RunData) -> str | None:
    """Violations, reflexes, energy with tank, and granted shares of the training episodes against steps."""
    episodes = told(run.episodes)
    if not episodes:
        return None
    with figure(4, 10.6, 2.6) as (drawn, axes):
        violations, reflexes, energy, granted = axes[0]
        steps = [episode["step"] for episode in episodes]
        shares = rolling_mean([float(episode["violation"]) for episode in episodes], WINDOW)
        violations.plot(steps, shares, color=BEFORE)
        violations.set(ylim=(-0.03, 1.03), title=f"violations, share of {WINDOW}")
        counts = [float(episode.get("reflexes") or 0) for episode in episodes]
        reflexes.plot(steps, counts, ".", color=SAMPLED, markersize=3)
        reflexes.plot(steps, rolling_mean(counts, WINDOW), color=AFTER)
        reflexes.set_title(f"reflexes, mean of {WINDOW}")
        _points(energy, episodes, "energy_j", SAMPLED, "spent")
        _points(energy, episodes, "lowest_tank_j", BEFORE, "lowest tank")
        energy.axhline(0.0, color=QUIET, linewidth=0.8)
        energy.set_title("energy [J]")
        _points(granted, episodes, "smallest_granted", AFTER, "smallest of an episode")
        granted.set(ylim=(-0.03, 1.03), title="share granted by the ledger")
        for place in axes[0]:
            place.set_xlabel("environment steps")
        for place in (energy, granted):
            if place.get_legend_handles_labels()[0]:
                place.legend(loc="best")
        return svg_uri(drawn)


def _points(axes: Any, episodes: list[Record], key: str, colour: str, label: str) -> None:
    """Draws a figure of the episodes that tell it."""
    points = [(episode["step"], episode[key]) for episode in episodes if episode.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), ".", color=colour, markersize=3, label=label)
