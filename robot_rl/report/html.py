"""`write_report`: a run folder becomes report.html, one self-contained file."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from data.atomic import write_atomic
from robot_rl.report import figures, human, page, safety, sections
from robot_rl.report.run_data import RunData

REPORT_FILE = "report.html"


def write_report(run: str | os.PathLike[str]) -> Path:
    """Writes report.html into a run folder and returns its path; `UserError` where nothing was measured."""
    folder = Path(run).expanduser()
    target = folder / REPORT_FILE
    write_atomic(target, render(RunData.read(folder)))
    return target


def render(run: RunData) -> str:
    """Returns the whole page of a run."""
    kind = f"{run.config.get('agent') or 'imitation'} · seed {run.config.get('seed', '-')} · {run.path.resolve().name}"
    body = [
        page.header(kind, sections.headline(run)),
        sections.tiles(run),
        page.section(
            "Learning curve",
            page.picture(figures.success_curve(run), "Success against steps, robot minutes and training minutes"),
            sections.evaluations(run),
            say=_CURVE,
        ),
        page.section("Before and after", sections.before_after(run), say=_INTERVALS),
        page.section(
            "Evaluated later", sections.later(run), say="By robot-rl evaluate; the figures above leave it out."
        ),
        page.section(
            "Contact force and cycle time",
            page.picture(figures.distributions(run), "Histograms of contact forces and cycle times before and after"),
            say="Episodes of the evaluations before and after; dotted lines are medians.",
        ),
        page.section(
            "Energy",
            page.picture(
                figures.energy(run), "Energy of the training episodes against their budget, and its multiplier"
            ),
            say="Energy that left the controller's tank, with exploration; the budget holds in the mean over episodes.",
        ),
        human.section(run),
        safety.section(run),
        page.section("Film strips", sections.strips(run)),
        page.section(
            "Who acted",
            page.picture(figures.source_share(run), "Share of executed actions by source along the training"),
            sections.sources(run),
            sections.endings(run),
            say="Share of the executed actions by who proposed them, and how episodes ended.",
        ),
        page.section("Ablation", sections.ablation(run), say=str((run.ablation or {}).get("note", ""))),
        page.section("Resets", sections.resets(run)),
        page.section("Imitation", page.picture(figures.imitation_loss(run), "Loss of imitation along its updates")),
        page.section(
            "Updates",
            page.picture(figures.update_metrics(run), "Metrics of the learner's updates"),
            say="docs/learning.md gives the equation of each metric.",
        ),
        page.section("Configuration and versions", sections.configuration(run)),
        f"<footer>Made by robot-rl report from {escape(run.path.resolve().name)}/metrics.jsonl.</footer>",
    ]
    return page.page(sections.headline(run), body)


_CURVE = (
    "Evaluations act deterministically on seeds that training never saw. Robot minutes count decisions, with the "
    "automatic resets between episodes and without them."
)
_INTERVALS = (
    "Rates with Wilson intervals, means with bootstrap intervals over episodes (95 %); they tell nothing about other "
    "training seeds."
)
