"""What a run's report tells of the person who took over: how often, for how long, and how that changed."""

from __future__ import annotations

import numpy as np

from robot_rl.report import page
from robot_rl.report.figures import WINDOW, episodes_of
from robot_rl.report.plots import AFTER, BEFORE, SAMPLED, figure, svg_uri
from robot_rl.report.run_data import Record, RunData
from robot_rl.report.sections import mean_cell, rate_cell
from robot_rl.report.statistics import rolling_mean

_QUARTERS = 4
_SAY = (
    "Training episodes in which somebody could take over from the policy; the evaluations above are the policy's own. "
    "docs/teleoperation.md says what is learned from an intervention."
)


def section(run: RunData) -> str:
    """Returns the section of takeovers, nothing where nobody could."""
    picture = page.picture(along_training(run), "Takeovers and the person's share of decisions along the training")
    return page.section("A person took over", picture, table(run), assisted(run), say=_SAY)


def told(episodes: list[Record]) -> list[Record]:
    """Returns the episodes in which somebody could take over."""
    return [episode for episode in episodes if episode.get("takeovers") is not None]


def table(run: RunData) -> str:
    """Returns the rates of each quarter of the training episodes, with 95 % intervals."""
    episodes = told(run.episodes)
    if not episodes:
        return ""
    parts = [list(part) for part in np.array_split(np.arange(len(episodes)), min(_QUARTERS, len(episodes)))]
    quarters = [[episodes[index] for index in part] for part in parts]
    head = [f"episodes {part[0] + 1} to {part[-1] + 1}" for part in parts]
    rows = [
        ["takeovers an episode", *(_mean(quarter, "takeovers") for quarter in quarters)],
        ["share of decisions in a person's hands", *(_share(quarter) for quarter in quarters)],
        ["episodes without a takeover", *(rate_cell(len(_alone(quarter)), len(quarter)) for quarter in quarters)],
        ["successes without a takeover", *(rate_cell(_successes(quarter), len(quarter)) for quarter in quarters)],
    ]
    return page.table(["", *head], rows)


def assisted(run: RunData) -> str:
    """Returns the evaluations in which somebody could take over: no measure of the policy by itself."""
    if not run.assisted:
        return ""
    head = ["evaluation with", "steps", "success", "without a takeover", "takeovers an episode", "in a person's hands"]
    rows = []
    for record in run.assisted:
        episodes = episodes_of(record)
        successes = sum(bool(episode["success"]) for episode in episodes)
        rates = [rate_cell(successes, len(episodes)), rate_cell(_successes(episodes), len(episodes))]
        hands = [_mean(episodes, "takeovers"), _share(episodes)]
        rows.append([f"human={record['human']}", f"{record['step']:,}", *rates, *hands])
    return page.table(head, rows)


def along_training(run: RunData) -> str | None:
    """Takeovers of each episode and the person's share of its decisions, against steps."""
    episodes = told(run.episodes)
    if not episodes:
        return None
    steps = [episode["step"] for episode in episodes]
    with figure(2, 10.6, 2.6) as (drawn, axes):
        counts, shares = axes[0]
        for place, key, colour in ((counts, "takeovers", AFTER), (shares, "human_share", BEFORE)):
            values = [float(episode[key]) for episode in episodes]
            place.plot(steps, values, ".", color=SAMPLED, markersize=3)
            place.plot(steps, rolling_mean(values, WINDOW), color=colour)
            place.set_xlabel("environment steps")
        counts.set_title(f"takeovers an episode, mean of {WINDOW}")
        shares.set(ylim=(-0.03, 1.03), title=f"share of decisions in a person's hands, mean of {WINDOW}")
        return svg_uri(drawn)


def _mean(episodes: list[Record], key: str) -> str:
    return mean_cell([float(episode[key]) for episode in episodes], 2, "")


def _share(episodes: list[Record]) -> str:
    """Weighted by the episodes' lengths, as a share of all decisions."""
    decisions = sum(int(episode["length"]) for episode in episodes)
    own = sum(float(episode["human_share"]) * int(episode["length"]) for episode in episodes)
    return f"{own / max(1, decisions):.1%}"


def _alone(episodes: list[Record]) -> list[Record]:
    return [episode for episode in episodes if episode["takeovers"] == 0]


def _successes(episodes: list[Record]) -> int:
    return sum(bool(episode["success"]) for episode in _alone(episodes))
