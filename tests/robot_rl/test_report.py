"""A report says what the records say: figures, intervals, what is missing; it needs nothing from the network."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.config import FinetuneConfig
from robot_rl.metrics import MetricsLog
from robot_rl.report import sections
from robot_rl.report.html import render, write_report
from robot_rl.report.run_data import RunData
from robot_rl.report.statistics import (
    bootstrap_interval,
    hierarchical_interval,
    rate_interval,
    rolling_mean,
    steps_to_target,
    wilson_interval,
)
from robot_rl.runs import RunFolder, note_demonstrations

Record = dict[str, Any]


def episode(rng: np.random.Generator, skill: float, seed: int, teleport: bool = False) -> Record:
    success = bool(rng.random() < skill)
    length = int(rng.integers(25, 60)) if success else 100
    return {
        "seed": seed,
        "success": success,
        "return": float(success),
        "length": length,
        "robot_s": length / 10,
        "end": "success" if success else "timeout",
        "reset_s": float(rng.uniform(2, 4)),
        "reset_attempts": 1 + int(rng.random() < 0.1),
        "reset_kind": "teleport" if teleport else "automatic",
        "peak_force_n": float(rng.gamma(6, 9 - 4 * skill)),
        "mean_force_n": float(rng.gamma(5, 1.2)),
        "limited_share": 0.02,
        "source_share": {"base": 1 - skill, "edit": skill},
    }


def evaluation(rng: np.random.Generator, step: int, skill: float, count: int = 100, name: str = "") -> Record:
    items = [episode(rng, skill, 1_000_000 + index) for index in range(count)]
    successes = sum(item["success"] for item in items)
    low, high = wilson_interval(successes, count)
    return {
        "kind": "eval",
        "step": step,
        "deterministic": True,
        "success_rate": successes / count,
        "low": low,
        "high": high,
        "mean_return": successes / count,
        "mean_length": float(np.mean([item["length"] for item in items])),
        "wall_s": 0.02 * step,
        "robot_s": step / 10,
        "reset_s": step / 20,
        "episodes": items,
        **({"name": name} if name else {}),
    }


def write_run(folder: Path, steps: int = 6000, teleport: bool = False, robot: bool = True) -> Path:
    """A run as `finetune` records it: base .55, a dip, then .97."""
    rng = np.random.default_rng(1)
    config = FinetuneConfig(
        out=str(folder), task="peg_insertion", agent="expo", steps=steps, data="demos.zarr", base="runs/base"
    )
    with RunFolder.open(folder, config) as run, MetricsLog(run.path, tensorboard=False) as log:
        log.write(evaluation(rng, 0, 0.55, name="base"))
        step, number, next_eval = 0, 0, 500
        while step < steps:
            progress = step / steps
            skill = 0.3 + 0.2 * progress if progress < 0.1 else min(0.99, 0.5 + 1.2 * progress)
            record = episode(rng, skill, number, teleport)
            step, number = step + record["length"], number + 1
            if not robot:
                record |= {"robot_s": 0.0, "reset_s": 0.0, "reset_attempts": 0, "reset_kind": "", "success": False}
            log.write({"kind": "episode", "step": step, "episode": number, "wall_s": 0.02 * step, **record})
            log.write(
                {
                    "kind": "update",
                    "step": step,
                    "critic_loss": 0.1 / (1 + step / 800),
                    "q_mean": skill,
                    "alpha": 0.01,
                    "entropy": -2.0,
                }
            )
            if step >= next_eval:
                log.write(evaluation(rng, step, skill, 50))
                next_eval += 500
        log.write(evaluation(rng, step, 0.97, name="final"))
    return folder


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>|data:[^\"]*", "", page, flags=re.S)))


def test_report_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path / "run"))
    page = path.read_text()
    assert path.name == "report.html"
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("<img") >= 4
    assert len(page) < 3_000_000


def test_headline_tells_before_after_and_cost(tmp_path: Path) -> None:
    run = RunData.read(write_run(tmp_path / "run"))
    words = text_of(render(run))
    assert run.before is not None and run.after is not None
    first, last = run.before["success_rate"], run.after["success_rate"]
    assert f"peg_insertion: from {first:.0%} to {last:.0%} of 100 evaluation episodes after" in words
    assert "robot minutes with resets" in words
    assert f"{last * 100:.0f} of 100 = {last:.0%}" in words


def test_robot_minutes_add_up_to_the_episodes(tmp_path: Path) -> None:
    run = RunData.read(write_run(tmp_path / "run", steps=800))
    robot_s, reset_s, _ = run.clock_at(run.training_step)
    assert robot_s == pytest.approx(sum(item["robot_s"] for item in run.episodes))
    assert reset_s == pytest.approx(sum(item["reset_s"] for item in run.episodes))


def test_steps_to_target_need_two_evaluations_in_a_row(tmp_path: Path) -> None:
    run = RunData(tmp_path, {}, [])
    rates = {500: 0.96, 1000: 0.90, 1500: 0.95, 2000: 0.97, 2500: 0.5}
    run.evals = [{"step": step, "success_rate": rate} for step, rate in rates.items()]
    assert run.steps_to_target() == 1500
    curve = list(rates.items())
    assert [steps_to_target(curve, target) for target in (0.95, 0.9, 0.97)] == [1500, 500, None]


def test_base_final_and_later_evaluations_are_no_steps_to_the_target(tmp_path: Path) -> None:
    run = RunData(tmp_path, {}, [])
    named = [(0, "base"), (500, None), (900, "final"), (900, "evaluate")]
    run.evals = [{"step": step, "success_rate": 1.0, **({"name": name} if name else {})} for step, name in named]
    assert run.steps_to_target() is None
    run.evals.insert(2, {"step": 800, "success_rate": 1.0})
    assert run.steps_to_target() == 500


@pytest.mark.parametrize(
    ("config", "target"),
    [
        ({"task": "peg_insertion", "variant": "tight"}, 0.90),
        ({"task": "peg_insertion", "variant": "default"}, 0.95),
        ({"task": "gym", "env_id": "Pendulum-v1"}, 0.95),
        ({"task": "gone_with_its_package"}, 0.95),
    ],
)
def test_the_target_is_that_of_the_task(config: Record, target: float, tmp_path: Path) -> None:
    assert RunData(tmp_path, config, []).target == target


def test_a_later_evaluation_is_no_headline(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=600)
    before = text_of(render(RunData.read(folder)))
    with MetricsLog(folder, tensorboard=False) as log:
        log.write(evaluation(np.random.default_rng(5), 620, 0.0, count=1, name="evaluate"))
    run = RunData.read(folder)
    after = text_of(render(run))
    assert run.after is not None and run.after["name"] == "final"
    headline = before[before.index("peg_insertion: from") :].partition(":")[2][:60]
    assert headline in after
    assert "Evaluated later" not in before
    assert "Evaluated later By robot-rl evaluate; the figures above leave it out." in after
    with MetricsLog(folder, tensorboard=False) as log:
        layers = {"safety critic": "on, every tick", "passivity ledger": "off", "supervisor": "on"}
        record = evaluation(np.random.default_rng(6), 620, 0.0, count=1, name="evaluate")
        log.write({**record, "safety_layers": layers})
    shown = text_of(render(RunData.read(folder)))
    assert "deterministically - 620" in shown and "deterministically passivity ledger: off 620" in shown


def test_what_the_whole_command_took_and_used_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=300)
    with MetricsLog(folder, tensorboard=False) as log:
        log.write({"kind": "summary", "step": 300, "total_s": 480.0, "peak_rss_mb": 1234.4})
    note_demonstrations(folder, 20, "abc")
    words = text_of(render(RunData.read(folder)))
    assert "demonstrations 20 episodes, SHA-256 abc" in words
    assert "8.0 min wall-clock of the whole command, evaluations included" in words
    assert "1,234 MB peak memory of the command's process" in html.unescape(words)


def test_worst_dip_is_measured_from_the_base(tmp_path: Path) -> None:
    run = RunData(tmp_path, {}, [])
    run.evals = [
        {"step": 0, "success_rate": 0.6, "name": "base"},
        {"step": 500, "success_rate": 0.2},
        {"step": 900, "success_rate": 1.0},
    ]
    assert run.worst_dip() == pytest.approx(0.4)


def test_who_acted_and_success_with_exploration_are_printed(tmp_path: Path) -> None:
    run = RunData.read(write_run(tmp_path / "run"))
    words = html.unescape(text_of(render(run)))
    steps = sum(item["length"] for item in run.episodes)
    edits = sum(item["length"] * item["source_share"]["edit"] for item in run.episodes) / steps
    table = words[words.index("actions proposed by training imitated base final policy") :]
    assert re.search(rf"edit {re.escape(sections.percent(edits))} 55% 97% ", table)
    successes = sum(item["success"] for item in run.episodes[-50:])
    assert f"with exploration, last 50 training episodes - {successes} of 50 = {successes / 50:.0%}" in words


def test_a_teleporting_reset_is_named(tmp_path: Path) -> None:
    words = text_of(render(RunData.read(write_run(tmp_path / "run", steps=600, teleport=True))))
    assert "This run used a teleporting reset (teleport), which no real robot has." in words


def test_an_environment_without_robot_reports_returns(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_run(folder, steps=600, robot=False)
    run = RunData.read(folder)
    run.evals = [
        {
            "kind": "eval",
            "step": step,
            "deterministic": True,
            "success_rate": 0.0,
            "low": 0.0,
            "high": 1.0,
            "mean_return": value,
            "mean_length": 200.0,
            "episodes": [{"success": False, "return": value, "length": 200}],
        }
        for step, value in ((200, -1200.0), (600, -150.0))
    ]
    words = text_of(render(run))
    assert "mean return from -1200 to -150" in words
    assert "Contact force" not in words


def test_strips_ablation_and_missing_pictures_are_shown(tmp_path: Path) -> None:
    from PIL import Image

    folder = write_run(tmp_path / "run", steps=600)
    (folder / "strips").mkdir()
    Image.new("RGB", (64, 16)).save(folder / "strips" / "success.png")
    captions = {"success": "final policy, <seed> 7", "failed": "no episode to show: none of the tries ended as failure"}
    (folder / "strips" / "captions.json").write_text(json.dumps(captions))
    rows = [{"name": "untrained base", "success_rate": 0.4, "episodes": 100, "steps": 6000}]
    (folder / "ablation.json").write_text(json.dumps({"rows": rows, "note": "What each part is worth."}))
    page = render(RunData.read(folder))
    assert "final policy, &lt;seed&gt; 7" in page
    assert "no episode to show: none of the tries ended as failure" in page
    assert "untrained base" in page
    assert "What each part is worth." in page


def test_a_run_with_nothing_measured_and_no_run_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a run folder with config\.json at .*found none"):
        write_report(tmp_path)
    RunFolder.open(tmp_path / "run", FinetuneConfig(out="x", task="t")).close()
    with pytest.raises(UserError, match="holds no episode and no evaluation yet"):
        write_report(tmp_path / "run")


def test_a_run_stopped_within_its_first_episode_still_reports(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        RunFolder.open(folder, FinetuneConfig(out=str(folder), task="t")),
        MetricsLog(folder, tensorboard=False) as log,
    ):
        log.write(
            {"kind": "episode", "step": 3, "episode": 1, "wall_s": 0.1, **episode(np.random.default_rng(0), 1.0, 0)}
        )
    assert "t: 1 training episodes, 3 steps, not evaluated yet" in text_of(render(RunData.read(folder)))


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_interval_holds_the_rate_and_mirrors(successes: int, more: int) -> None:
    count = successes + more
    low, high = wilson_interval(successes, count)
    assert 0.0 <= low <= successes / count <= high <= 1.0
    mirrored = wilson_interval(count - successes, count)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


def test_wilson_interval_of_known_figures() -> None:
    assert wilson_interval(95, 100) == pytest.approx((0.8882, 0.9785), abs=2e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="expected 0 <= successes <= count, got 3 of 2"):
        wilson_interval(3, 2)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_bootstrap_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = bootstrap_interval(values, np.random.default_rng(0), draws=200)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=8), min_size=2, max_size=4))
def test_hierarchical_interval_lies_within_the_values(groups: list[list[float]]) -> None:
    low, high = hierarchical_interval(groups, np.random.default_rng(0), draws=200)
    values = [value for group in groups for value in group]
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    whole = [[float(np.mean(groups[0]))] * len(groups[0])] * 3
    assert np.ptp(hierarchical_interval(whole, np.random.default_rng(0), draws=50)) == pytest.approx(0.0, abs=1e-9)


def test_hierarchical_interval_covers_the_mean_where_seeds_differ_and_the_pooled_one_does_not() -> None:
    """Seeds N(0, 0.5²) around a mean of 0, 50 episodes N(seed, 1) each: share of 300 studies that cover 0."""
    rng = np.random.default_rng(0)

    def coverage(seeds: int) -> tuple[float, float]:
        hits = np.zeros(2)
        for _ in range(300):
            values = 0.5 * rng.standard_normal((seeds, 1)) + rng.standard_normal((seeds, 50))
            intervals = (
                hierarchical_interval(values.tolist(), rng, 300),
                bootstrap_interval(values.ravel().tolist(), rng, 300),
            )
            hits += [low <= 0.0 <= high for low, high in intervals]
        return float(hits[0] / 300), float(hits[1] / 300)

    (three, pooled_three), (twelve, pooled_twelve) = coverage(3), coverage(12)
    assert twelve > 0.88 and pooled_twelve < 0.5
    assert three > 0.7 > 0.5 > pooled_three


def test_one_seed_is_the_plain_bootstrap_and_too_few_values_give_none() -> None:
    values = np.random.default_rng(1).standard_normal(200).tolist()
    one = hierarchical_interval([values], np.random.default_rng(0))
    assert one == pytest.approx(bootstrap_interval(values, np.random.default_rng(2)), abs=0.03)
    for groups in ([], [[1.0]], [[1.0, 2.0], []]):
        assert np.isnan(hierarchical_interval(groups, np.random.default_rng(0))).all()


def test_a_rate_of_none_or_all_has_wilsons_interval() -> None:
    rng = np.random.default_rng(0)
    assert rate_interval([[0.0] * 100] * 2, rng) == wilson_interval(0, 200)
    assert rate_interval([[1.0] * 100] * 2, rng) == wilson_interval(200, 200)
    assert rate_interval([], rng) == (0.0, 1.0)
    low, high = rate_interval([[0.0] * 99 + [1.0]] * 2, rng)
    assert 0.0 <= low < 0.01 < high < 0.04


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40), st.integers(1, 10))
def test_rolling_mean_equals_the_plain_one(values: list[float], window: int) -> None:
    expected = [float(np.mean(values[max(0, end - window) : end])) for end in range(1, len(values) + 1)]
    assert rolling_mean(values, window) == pytest.approx(expected, abs=1e-9)
