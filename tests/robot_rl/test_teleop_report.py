"""What a report tells of takeovers, and that it tells nothing where nobody could."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.config import FinetuneConfig
from robot_rl.metrics import MetricsLog, scalars
from robot_rl.report import human
from robot_rl.report.html import render
from robot_rl.report.run_data import RunData
from robot_rl.runs import RunFolder
from tests.robot_rl.test_report import episode, evaluation, text_of


def write_helped(folder: Path, helped: bool = True) -> Path:
    """40 episodes of 10 decisions: two takeovers each in the first half, none in the second; the last ten succeed."""
    rng = np.random.default_rng(2)
    config = FinetuneConfig(out=str(folder), task="peg_insertion", agent="rlpd", human="scripted" if helped else "none")
    with RunFolder.open(folder, config) as run, MetricsLog(run.path, tensorboard=False) as log:
        for number in range(40):
            early = number < 20
            figures: dict[str, Any] = {"takeovers": 2 * early, "human_share": 0.5 * early} if helped else {}
            record = {**episode(rng, 0.5, number), **figures, "length": 10, "success": number >= 30}
            log.write({"kind": "episode", "step": 10 * (number + 1), "episode": number, "wall_s": 0.1, **record})
        log.write(evaluation(rng, 400, 1.0, 20, name="final"))
        if helped:
            record = evaluation(rng, 400, 1.0, 4, name="evaluate") | {"human": "keyboard"}
            record["episodes"] = [{**item, "takeovers": 1, "human_share": 0.25} for item in record["episodes"]]
            log.write(record)
    return folder


def words_of(folder: Path) -> str:
    return html.unescape(text_of(render(RunData.read(folder))))


def test_rates_are_told_by_quarters_of_the_training(tmp_path: Path) -> None:
    words = words_of(write_helped(tmp_path / "run"))
    assert "A person took over" in words
    assert "episodes 1 to 10 episodes 11 to 20 episodes 21 to 30 episodes 31 to 40" in words
    assert "share of decisions in a person's hands 50.0% 50.0% 0.0% 0.0%" in words
    assert "successes without a takeover 0 of 10 = 0% " in words
    assert "10 of 10 = 100% " in words


def test_assisted_evaluations_stand_apart_from_the_policys_own(tmp_path: Path) -> None:
    run = RunData.read(write_helped(tmp_path / "run"))
    assert [record["name"] for record in run.evals] == ["final"]
    assert [record["human"] for record in run.assisted] == ["keyboard"]
    assert "human=keyboard 400 " in words_of(tmp_path / "run")


def test_the_figure_shows_takeovers_and_share(tmp_path: Path) -> None:
    uri = human.along_training(RunData.read(write_helped(tmp_path / "run")))
    assert uri is not None and uri.startswith("data:image/svg+xml")


def test_a_run_without_a_person_says_nothing_of_one(tmp_path: Path) -> None:
    folder = write_helped(tmp_path / "run", helped=False)
    assert "A person took over" not in words_of(folder)
    assert human.along_training(RunData.read(folder)) is None


@pytest.mark.parametrize("name", ["takeovers", "human_share"])
def test_tensorboard_gets_the_same_figures(name: str) -> None:
    record = {"kind": "episode", "step": 1, "takeovers": 2, "human_share": 0.5}
    assert f"episode/{name}" in dict(scalars(record))
