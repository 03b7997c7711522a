"""Experiments on the safety layers: what a cell stores and refuses, what is measured of a critic, what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.types import REPORT
from data.errors import UserError
from robot_rl.config import ExperimentConfig
from robot_rl.envs.make import chain_of, make_env
from robot_rl.envs.sensing import lowest_energy
from robot_rl.runs import environment
from robot_rl.safety_critic.calibration import Calibration
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, save_critic
from robot_rl.tasks.base import CriticRecipe
from robot_rl.tasks.maze import Maze
from robot_rl.tasks.registry import make_task
from robot_rl.workflows import safety_experiment
from robot_rl.workflows.safety_claims import Claim, verdict
from robot_rl.workflows.safety_critics import MEASURED_FILE, measure_critic, publish_critics
from robot_rl.workflows.safety_experiment import origin_of, run_arm
from robot_rl.workflows.safety_grids import OFF, SAFETY_GRIDS, Arm, SafetyGrid
from robot_rl.workflows.safety_tables import estimate, write_bars, write_table
from robot_rl.workflows.safety_trials import Trial
from robot_rl.workflows.trial_files import Origin, digest_of_policy, read_trials, run_trials, write_trials
from tests.safety.critic_tools import constant_weights

SHORT = {"decision_s": 0.5, "time_limit_s": 2.0}
HASTY = {"decision_s": 0.5, "time_limit_s": 6.0, "max_force_n": 4.0}
"""Mazes in which the explorer presses too hard in most episodes."""
TINY = SafetyGrid(
    "tiny",
    "Does it run?",
    "maze",
    (
        Arm("with", "all layers", task_config=SHORT),
        Arm("without", "no layer", safety_config=OFF, task_config=SHORT, critic=False),
    ),
    episodes=2,
    fairness=("Both have the same mazes.",),
)


def made_up_critic(out: Path, risk: float = 0.05, seed: int = 0) -> Path:
    """Puts a critic that answers `risk` for every state where the experiment looks for the one of its maze."""
    path = out / "critics" / f"maze-critic-{seed}" / CRITIC_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = Calibration(0.3, 0.2, 0.01, 0.97, 0.9, 0.01, 0.0, 40, 100, 1000, 0.05)
    weights = constant_weights(risk, 3, chain_of(make_task("maze")).critic)
    save_critic(path, Critic(weights, 0.3, "maze", calibration=figures))
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny grid has run with seed 0."""
    folder = tmp_path_factory.mktemp("experiment")
    made_up_critic(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SAFETY_GRIDS, "tiny", TINY)
        patch.setattr(Maze, "critic_recipe", CriticRecipe(4, ({},), "heldout", (HASTY,)))
        config = ExperimentConfig(name="tiny", out=str(folder), results=str(folder / "results"), seeds=[0])
        assert safety_experiment.run(config)["rows"] == 2
    return folder


def test_a_cell_stores_what_made_it_and_is_taken_up(out: Path) -> None:
    path = out / "tiny/with-0.json"
    origin, trials = read_trials(path)
    assert origin.settings["task_config"] == SHORT and origin.settings["variant"] == "heldout"
    assert str(out) not in path.read_text(), "paths are of one machine"
    assert set(origin.digests) == {"critic"} and origin.commits == (environment()["commit"] or "unknown",)
    assert sorted(trials) == [1_000_000, 1_000_001]
    for trial in trials.values():
        assert 0 < trial.decisions <= 4 and trial.seconds <= 2.0 + 1e-6 and 0.0 < trial.lowest_energy_j < 10.0
    before = path.read_bytes()
    row = run_arm(TINY, TINY.arms[0], 0, out / "tiny")
    assert path.read_bytes() == before and row["commits"] == list(origin.commits)
    assert row["trials"]["peak_force_n"] == [round(trials[seed].peak_force_n, 1) for seed in sorted(trials)]


def test_what_is_published_tells_what_is_compared(out: Path) -> None:
    results = out / "results"
    assert {path.name for path in results.iterdir()} == {"critic.json", "critic.md", "tiny.json", "tiny.md", "tiny.svg"}
    text = (results / "tiny.md").read_text()
    assert "- Both have the same mazes.\n" in text and "| with | 0 | 2 | " in text
    rows = json.loads((results / "critic.json").read_text())["rows"]
    assert [(row["decision_s"], row["gated"], row["episodes"]) for row in rows] == [(0.1, True, 100), (0.5, False, 4)]
    assert rows[1]["violations"] >= 1 and rows[1]["recall"] == 0.0, "a risk of 0.05 is no alarm at 0.3"
    assert "| maze | 0 | 0.5 | measured only | 0.3 |" in (results / "critic.md").read_text()


def test_other_settings_and_another_critic_are_refused(out: Path, tmp_path: Path) -> None:
    arm = TINY.arms[0]
    slower = replace(arm, task_config={**SHORT, "decision_s": 0.25})
    with pytest.raises(UserError, match=r"trials with other settings: task_config \(there .*0\.5.*0\.25.*delete the"):
        run_arm(TINY, slower, 0, out / "tiny")
    path = tmp_path / "tiny/with-0.json"
    path.parent.mkdir()
    path.write_bytes((out / "tiny/with-0.json").read_bytes())
    made_up_critic(tmp_path, risk=0.06)
    with pytest.raises(UserError, match="another critic than the one that is there now; delete the file"):
        run_arm(TINY, arm, 0, tmp_path / "tiny")


def test_trials_of_a_former_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "with-0.json"
    path.write_text(json.dumps({"trials": [{"seed": 1, "lowest_tank_j": 2.0}]}))
    with pytest.raises(UserError, match="of another version, which did not store what made the trials; delete"):
        run_trials(path, Origin({}, {}), [1], Trial)


def test_a_file_goes_on_with_its_note_and_all_commits(tmp_path: Path) -> None:
    path, origin = tmp_path / "cell-0.json", Origin({"task": "maze"}, {"critic": "abc"}, ("aaa",), "Of another day.")
    write_trials(path, origin, [Trial(1, success=True)])
    trials, made = run_trials(path, Origin({"task": "maze"}, {"critic": "abc"}), [1, 2], Trial)
    assert [trial.success for trial in trials] == [True, False]
    assert made.note == "Of another day." and made.commits == ("aaa", environment()["commit"] or "unknown")
    assert read_trials(path) == (made, {1: trials[0], 2: trials[1]})
    assert trials[1].lowest_energy_j == np.inf, "no ledger ran"


def test_a_policy_is_told_by_its_newest_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a checkpoint of the policy"):
        digest_of_policy(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    digests = []
    for step, content in ((1, b"one"), (2, b"two"), (2, b"three")):
        (tmp_path / f"checkpoints/step_{step:09d}.safetensors").write_bytes(content)
        digests.append(digest_of_policy(tmp_path))
    assert len(set(digests)) == 3
    passive = SAFETY_GRIDS["passive"]
    agnostic, filtered = (origin_of(passive, passive.arms[index], None, tmp_path) for index in (0, 2))
    assert agnostic.digests == filtered.digests == {"policy": digests[-1]}
    with pytest.raises(UserError, match="other settings: safety_config"):
        agnostic.require_same(filtered, tmp_path / "agnostic-0.json")


def test_a_critic_is_measured_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Maze, "critic_recipe", CriticRecipe(4, ({},), "heldout", (HASTY,)))
    path = out / "critics/maze-critic-0" / CRITIC_FILE
    stored = json.loads((path.parent / MEASURED_FILE).read_text())
    stored["rows"][1]["recall"] = 0.5
    (path.parent / MEASURED_FILE).write_text(json.dumps(stored))
    assert measure_critic("maze", 0, path, out / "critics")[1]["recall"] == 0.5
    stored["critic_sha256"] = "that of another critic"
    (path.parent / MEASURED_FILE).write_text(json.dumps(stored))
    assert measure_critic("maze", 0, path, out / "critics")[1]["recall"] == 0.0


def test_rows_of_other_critics_stay(tmp_path: Path) -> None:
    figures = {"threshold": 0.2, "lookahead_s": 0.3, "recall": 1.0, "false_reflexes": 0.0, "ece": 0.0}
    common = {"task": "maze", "gated": True, "commit": "aaa", "violations": 1, "episodes": 2, "decisions": 3, **figures}
    publish_critics([{**common, "seed": 1, "decision_s": 0.1}], tmp_path)
    own = [{**common, "seed": 0, "decision_s": period_s} for period_s in (0.5, 0.1)]
    assert [(row["seed"], row["decision_s"]) for row in publish_critics(own, tmp_path)] == [
        (0, 0.1),
        (0, 0.5),
        (1, 0.1),
    ]


def row(cell: str, seed: int, violations: list[int], **changes: Any) -> dict[str, Any]:
    names = ("success", "energy_violation", "energy_j", "peak_force_n", "interventions")
    plain = {name: [0.0] * len(violations) for name in names}
    return {"cell": cell, "seed": seed, "commits": ["aaa"], "trials": {**plain, "violation": violations}, **changes}


def test_a_table_shows_the_seeds_and_no_interval_of_no_width(tmp_path: Path) -> None:
    some = [[0] * 98 + [1] * 2, [0] * 99 + [1], [0] * 97 + [1] * 3]
    rows = [row("with", seed, [0] * 100) for seed in range(3)]
    rows += [row("without", seed, values, note="Of another day.") for seed, values in enumerate(some)]
    write_table(tmp_path / "tiny.md", TINY, rows)
    text = (tmp_path / "tiny.md").read_text()
    low, high = estimate([[float(value) for value in group] for group in some], rate=True)[1:]
    assert 0.0 < low < 0.02 < high < 0.05
    assert f"2.0 % ({100 * low:.1f}-{100 * high:.1f} %; seeds 2.0, 1.0, 3.0)" in text
    assert "| with | 0, 1, 2 | 300 | 0.0 % (0.0-1.3 %; seeds 0.0, 0.0, 0.0) |" in text
    assert "Source commits of the cells: aaa." in text
    former = row("with", 0, [0] * 100, commit="bbb")
    del former["commits"]
    write_table(tmp_path / "former.md", TINY, [former, rows[1]])
    assert "Source commits of the cells: aaa, bbb." in (tmp_path / "former.md").read_text()
    assert "Of another day. Cells (seeds): without (0), without (1), without (2)." in text
    write_bars(tmp_path / "tiny.svg", TINY, rows)
    assert (tmp_path / "tiny.svg").read_text().startswith("<?xml")


def test_energy_is_judged_at_the_lowest_tick_and_with_the_spring() -> None:
    reports = np.zeros(4, REPORT)
    reports["tank_energy_j"], reports["spring_energy_j"] = [1.0, -0.5, -0.2, 0.4], [0.0, 0.6, 0.0, 0.0]
    assert lowest_energy(reports) == pytest.approx(-0.2)
    info = {"held": False, "peak_force_n": 0.0, "granted": 1.0, "lowest_energy_j": 0.1}
    calm, poor = Trial(0), Trial(1)
    for told_j in (0.1, lowest_energy(reports), 0.1):
        calm.add(info, 0.1)
        poor.add({**info, "lowest_energy_j": told_j}, 0.1)
    assert (calm.energy_violation, poor.energy_violation) == (False, True)
    assert poor.lowest_energy_j == pytest.approx(-0.2)
    reports["tank_energy_j"] = reports["spring_energy_j"] = np.nan
    assert np.isnan(lowest_energy(reports))


def test_the_environment_tells_of_the_lowest_energy() -> None:
    env = make_env(make_task("maze"), teleport=True)
    env.reset(seed=0)
    info: dict[str, Any] = env.step(np.ones(env.action_space.shape or (), np.float32))[4]
    env.close()
    assert 0.0 < info["lowest_energy_j"] < info["tank_energy_j"] + 5.0


@pytest.mark.parametrize("grid", SAFETY_GRIDS.values(), ids=lambda grid: grid.name)
def test_every_grid_says_what_it_compares(grid: SafetyGrid) -> None:
    assert len({arm.name for arm in grid.arms}) == len(grid.arms) and grid.fairness
    for arm in grid.arms:
        assert arm.driver == "operator" or arm.driver in grid.policies
        make_task(arm.task or grid.task, safety_experiment.variant_of(grid, arm), arm.task_config)


@pytest.mark.slow
def test_a_cell_of_a_policy_trains_it_once(tmp_path: Path) -> None:
    learn: dict[str, Any] = {"steps": 40, "warmup": 20, "eval_every": 0, "final_episodes": 1}
    learn |= {"agent_config": {"hidden": [16, 16], "batch_size": 16}, "safety_config": {"critic": "never"}}
    arm = Arm("learned", "a policy", "learner", {"critic": "never"}, critic=False)
    grid = replace(TINY, arms=(arm,), episodes=1, policies={"learner": learn}, demonstrations=1)
    first = run_arm(grid, arm, 0, tmp_path)
    versions = tmp_path / "policy-learner-0/versions.json"
    before = versions.stat().st_mtime_ns
    assert run_arm(grid, arm, 0, tmp_path) == first
    assert versions.stat().st_mtime_ns == before and set(read_trials(tmp_path / "learned-0.json")[0].digests) == {
        "policy"
    }


@pytest.mark.parametrize(
    ("left", "success", "words"),
    [(1, 9, "**Holds**"), (3, 9, "**Does not hold**"), (1, 8, "**Holds**"), (1, 7, "**Does not hold**")],
)
def test_a_claim_holds_by_violations_and_success(left: int, success: int, words: str) -> None:
    def row(cell: str, violations: int, successes: int) -> dict[str, Any]:
        violated, succeeded = ([1] * count + [0] * (10 - count) for count in (violations, successes))
        return {"cell": cell, "seed": 0, "trials": {"violation": violated, "success": succeeded}}

    claim = Claim("few are left", "with", "without", ratio=0.2, success_loss=10.0)
    line = verdict(claim, [row("with", left, success), row("without", 5, 9)])
    assert line is not None and line.startswith(words)
    assert verdict(claim, [row("with", 1, 9)]) is None
    nothing = verdict(claim, [row("with", 0, 9), row("without", 0, 9)])
    assert nothing is not None and nothing.startswith("**Does not hold**"), "nothing to be avoided, nothing shown"
