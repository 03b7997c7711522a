"""`robot-rl safety evaluate`: recall, false reflexes and calibration of a critic, as a table and as one HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.atomic import write_atomic
from data.errors import UserError
from robot_rl.config_critic import SafetyEvaluateConfig
from robot_rl.report.page import header, page, pairs, picture, section, table, tiles, warning
from robot_rl.report.plots import AFTER, BEFORE, QUIET, figure, svg_uri
from robot_rl.safety_critic.calibration import (
    MAX_FALSE_REFLEXES,
    MIN_RECALL,
    Calibration,
    calibrate,
    reliability,
    sweep,
    time_constant_of,
)
from robot_rl.safety_critic.files import Critic, load_critic
from robot_rl.safety_critic.inference import risks_of
from robot_rl.safety_critic.targets import realised
from robot_rl.safety_critic.trajectories import Trajectory
from robot_rl.workflows.safety_data import Collection, read_collection, require_fitting, resolved, shared_episodes
from robot_rl.workflows.safety_train import stopping_time


def run(config: SafetyEvaluateConfig) -> dict[str, Any]:
    """Measures, writes the page, and returns the figures; `ok` tells whether they pass the gate."""
    path = resolved(config.critic)
    out = resolved(config.out) if config.out else path.with_suffix(".html")
    _require_place(out)
    critic, collection = load_critic(path, override_gate=True), read_collection(config.data)
    require_fitting(critic, str(path), collection)
    episodes = collection.episodes
    figures = calibrate(critic.weights, episodes, stopping_time(collection.setup), critic.threshold)
    write_atomic(out, _page(critic, path, collection, figures))
    print(f"wrote {out}")
    return {"ok": not figures.shortcomings(), **figures.as_dict(), "out": str(out)}


def _require_place(out: Path) -> None:
    """Raises UserError where no page can be written, before anything is measured."""
    if not out.parent.is_dir():
        raise UserError(f"expected a folder for the page at {out.parent}, found none; make it, or choose another out")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"cannot write a page at {out}; choose another out")


def _page(critic: Critic, path: Path, collection: Collection, figures: Calibration) -> str:
    episodes, found = collection.episodes, figures.shortcomings()
    rows = sweep(critic.weights, episodes, figures.stopping_time_s)
    seen = shared_episodes(critic, path, collection)
    warnings = [*found, *([f"the critic was trained on {seen} of these {len(episodes)} episodes"] if seen else [])]
    made_from = {"file": path, "sha256": critic.sha256, "episodes": collection.folder}
    made_from |= critic.about.get("training", {})
    body = [
        header("safety critic", f"Task {critic.task}: {'does not pass' if found else 'passes'} the calibration gate"),
        tiles(
            [
                (
                    f"{figures.recall:.3f}",
                    f"recall within {figures.lookahead_s:.2f} s of {figures.violations}",
                ),
                (f"{figures.recall_in_time:.3f}", f"recall {1e3 * figures.stopping_time_s:.0f} ms ahead or more"),
                (f"{figures.false_reflexes:.2%}", f"false reflexes in {figures.decisions} decisions"),
                (f"{figures.ece:.4f}", "expected calibration error"),
            ]
        ),
        *(warning(text) for text in warnings),
        section("Reliability", picture(_diagram(critic, episodes), "reliability"), say=_RELIABILITY),
        section("Thresholds", picture(_trade(rows, critic.threshold), "recall and false reflexes"), _listing(rows)),
        section("What it was made from", pairs(made_from)),
    ]
    return page(f"safety critic {critic.task}", body)


_RELIABILITY = (
    "Of all samples with about this risk: how the risk compares with what came of it, exp(-T / time constant) where a "
    "violation followed T later, else 0. On the diagonal the risk is what it says."
)


def _diagram(critic: Critic, episodes: Sequence[Trajectory]) -> str:
    time_constant_s = time_constant_of(critic.weights)
    features, outcomes = realised(episodes, time_constant_s, 5.0 * time_constant_s)
    rows = np.array(reliability(risks_of(critic.weights, features), outcomes))
    with figure(2, 9.0, 3.2) as (drawn, axes):
        left, right = axes[0]
        left.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
        left.plot(rows[:, 1], rows[:, 2], color=AFTER, marker="o", markersize=4)
        left.set_xlabel("risk")
        left.set_ylabel("mean outcome")
        right.bar(rows[:, 0], rows[:, 3], width=0.045, color=AFTER)
        right.set_yscale("log")
        right.set_xlabel("risk")
        right.set_ylabel("share of samples")
        return str(svg_uri(drawn))


def _trade(rows: Sequence[tuple[float, float, float, float, float]], threshold: float) -> str:
    values = np.array(rows)
    with figure(1, 6.5, 3.0) as (drawn, axes):
        plot = axes[0][0]
        plot.plot(values[:, 0], values[:, 2], color=AFTER, label="recall within the look-ahead")
        plot.plot(values[:, 0], values[:, 4], color=BEFORE, label="false reflexes, share of decisions")
        plot.axhline(MIN_RECALL, color=AFTER, linewidth=0.8, linestyle=":")
        plot.axhline(MAX_FALSE_REFLEXES, color=BEFORE, linewidth=0.8, linestyle=":")
        plot.axvline(threshold, color=QUIET, linewidth=1)
        plot.set_xlabel("threshold")
        plot.legend()
        return str(svg_uri(drawn))


def _listing(rows: Sequence[tuple[float, float, float, float, float]]) -> str:
    head = ("threshold", "look-ahead [s]", "recall", "recall in time", "false reflexes")
    return table(head, [[f"{row[0]:.2f}", f"{row[1]:.2f}", *(f"{value:.3f}" for value in row[2:])] for row in rows])
