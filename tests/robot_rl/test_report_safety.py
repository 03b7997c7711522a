"""What a report tells of the safety layers, and that a run without such records still has its report."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.config import FinetuneConfig
from robot_rl.metrics import METRICS_FILE, MetricsLog
from robot_rl.report import safety
from robot_rl.report.html import render
from robot_rl.report.run_data import RunData
from robot_rl.runs import RunFolder, note_safety_layers
from tests.robot_rl.test_report import episode, evaluation, text_of, write_run

LAYERS = {"measured limits": "on", "safety critic": "none", "reflex arbiter": "on", "passivity ledger": "on"}


def counts(number: int, ledger: bool = True) -> dict[str, Any]:
    """Every fourth episode violates a limit, every tenth latches, every second has a reflex of 0.2 s."""
    tank = {"lowest_tank_j": 3.0 - 0.01 * number, "smallest_granted": 0.5, "energy_j": 1.0}
    return {
        "violation": number % 4 == 0, "held": number % 10 == 0, "interventions": number % 2, "reflexes": number % 2,
        "bursts": number % 2, "holds": 0, "recovery_s": 0.2 * (number % 2), "soft_s": 0.0,
        **(tank if ledger else {"lowest_tank_j": None, "smallest_granted": None}),
    }  # fmt: skip


def write_watched(folder: Path, ledger: bool = True, layers: tuple[dict[str, str], ...] = (LAYERS,)) -> Path:
    """A run of 40 training episodes and a final evaluation, all with the figures of the safety layers."""
    rng = np.random.default_rng(2)
    config = FinetuneConfig(out=str(folder), task="maze", agent="rlpd")
    with RunFolder.open(folder, config) as run, MetricsLog(run.path, tensorboard=False) as log:
        for table in layers:
            note_safety_layers(run.path, table)
        for number in range(40):
            record = {**episode(rng, 0.5, number), **counts(number, ledger), "success": number % 2 == 1}
            log.write({"kind": "episode", "step": 20 * (number + 1), "episode": number, "wall_s": 0.1, **record})
        final = evaluation(rng, 800, 1.0, 20, name="final")
        final["episodes"] = [{**item, **counts(number + 1, ledger)} for number, item in enumerate(final["episodes"])]
        log.write(final)
    return folder


def words_of(folder: Path) -> str:
    return html.unescape(text_of(render(RunData.read(folder))))


def test_the_table_counts_training_and_evaluation(tmp_path: Path) -> None:
    words = words_of(write_watched(tmp_path / "run"))
    assert "training n = 40 final policy n = 20" in words
    assert "episodes with a violation 10 of 40 = 25% 14.2% to 40.2% 5 of 20 = 25% " in words
    assert "successes per violation 1.8 3.3 " in words, "20 / (10 + 1) and 20 / (5 + 1)"
    assert "episodes in which the chain latched 4 of 40 = 10% " in words
    assert "reflexes an episode 0.50 0.35 to 0.65 0.50 " in words
    assert "recovery time an episode 0.100 s " in words
    assert "lowest tank 2.61 J 2.80 J" in words
    assert "smallest granted share 0.500 0.500" in words


def test_the_layers_are_listed_with_a_warning_where_none_sees_risk(tmp_path: Path) -> None:
    words = words_of(write_watched(tmp_path / "run"))
    assert "safety critic none reflex arbiter on passivity ledger on" in words
    assert "No safety critic: the reflex arbiter had nothing to act on." in words
    armed = {**LAYERS, "safety critic": "on, every tick, threshold 0.3, critic.safetensors"}
    words = words_of(write_watched(tmp_path / "armed", layers=(LAYERS, armed)))
    assert "safety critic on, every tick, threshold 0.3, critic.safetensors" in words
    assert "No safety critic" not in words
    assert "The safety layers changed between parts of this run; these are the last." in words


@pytest.mark.parametrize("ledger", [True, False])
def test_the_figure_is_drawn_with_and_without_a_ledger(ledger: bool, tmp_path: Path) -> None:
    run = RunData.read(write_watched(tmp_path / "run", ledger))
    uri = safety.along_training(run)
    assert uri is not None and uri.startswith("data:image/svg+xml;base64,")
    page = render(run)
    assert page.count("Violations, reflexes, energy and tank along the training") == 1
    if not ledger:
        assert "lowest tank - -" in html.unescape(text_of(page))


def test_a_run_of_a_former_version_still_has_its_report(tmp_path: Path) -> None:
    run = RunData.read(write_run(tmp_path / "run", steps=600))
    assert safety.section(run) == ""
    assert safety.along_training(run) is None
    assert "Safety layers" not in render(run)


def test_a_run_that_went_on_with_a_newer_version_counts_what_is_known(tmp_path: Path) -> None:
    folder = write_watched(tmp_path / "run")
    lines = (folder / METRICS_FILE).read_text().splitlines()
    old = [json.loads(line) for line in lines[:30]]
    known = set(counts(0)) - {"energy_j"}
    older = [json.dumps({key: value for key, value in record.items() if key not in known}) for record in old]
    (folder / METRICS_FILE).write_text("\n".join([*older, *lines[30:]]) + "\n")
    assert "training n = 10 final policy n = 20" in words_of(folder)


def test_a_base_of_a_former_version_is_left_out_of_the_table(tmp_path: Path) -> None:
    folder = write_watched(tmp_path / "run")
    with MetricsLog(folder, tensorboard=False) as log:
        log.write(evaluation(np.random.default_rng(3), 0, 0.5, 10, name="base"))
    words = words_of(folder)
    assert "training n = 40 final policy n = 20" in words
    assert "imitated base" in words
