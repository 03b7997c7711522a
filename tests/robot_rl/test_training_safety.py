"""What the safety layers did is counted in each episode, summed up in each evaluation, and said by each command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.agents.base import Proposal
from robot_rl.config import CollectConfig
from robot_rl.envs.layer_table import unarmed
from robot_rl.metrics import scalars
from robot_rl.safety_critic.calibration import Calibration
from robot_rl.safety_critic.files import Critic, load_critic, save_critic
from robot_rl.training.evaluation import EpisodeMeter, EpisodeRecord, evaluate, summary_of
from robot_rl.training.safety_counts import SafetyCounts
from robot_rl.training.workplace import F32, Outcome, make_workplace
from robot_rl.workflows import collect
from robot_rl.workflows.finetune import figures_of
from robot_rl.workflows.safety_notes import NO_CRITIC, layers_of, note_layers, safety_words, say_layers
from tests.robot_rl.training_fakes import Line, line_trainer
from tests.safety.critic_tools import constant_weights

NOTHING: dict[str, Any] = {
    "violation": False, "held": False, "interventions": 0, "reflexes": 0, "bursts": 0, "holds": 0,
    "recovery_s": 0.0, "soft_s": 0.0, "tank_energy_j": 4.0, "granted": 1.0,
}  # fmt: skip
"""What RobotEnv.step tells of its layers when they have nothing to do."""


class WatchedLine(Line):
    """A line that tells what an arm tells; pressing on ends in a violation, standing still in a latch."""

    def step(self, action: F32, source: int = 0) -> Outcome:
        outcome = super().step(action, source)
        pressed, held = float(action[0]) > 0.9, float(action[0]) == 0.0
        told = {**NOTHING, "violation": pressed, "held": held, "reflexes": self.t, "tank_energy_j": 4.0 - 0.1 * self.t}
        ends, cut = outcome.terminated or pressed, outcome.truncated or held
        success = outcome.success and not pressed
        return Outcome(outcome.obs, outcome.reward, ends, cut, outcome.executed, success, {**outcome.info, **told})


class Constant:
    """Proposes the same action always."""

    def __init__(self, action: float) -> None:
        self.action = np.array([action], np.float32)

    def begin_episode(self) -> None:
        pass

    def prepare(self, obs: F32, rng: np.random.Generator) -> dict[str, F32]:
        return {}

    def act(self, obs: F32, extras: Any, deterministic: bool) -> Any:
        return Proposal(self.action, 0)


def outcome(terminated: bool = False, truncated: bool = False, success: bool = False, **info: Any) -> Outcome:
    return Outcome(np.zeros(2, np.float32), 0.0, terminated, truncated, np.zeros(1, np.float32), success, info)


def metered(*infos: dict[str, Any]) -> EpisodeRecord:
    meter = EpisodeMeter(0, {}, 10.0)
    for info in infos:
        meter.add(outcome(**info), np.zeros(1, np.float32), 0)
    return meter.finish()


def test_counts_are_those_of_the_last_step_and_extremes_those_of_all() -> None:
    first = {**NOTHING, "violation": True, "reflexes": 1, "recovery_s": 0.1, "tank_energy_j": 1.5, "granted": 0.25}
    last = {**NOTHING, "reflexes": 2, "bursts": 1, "interventions": 3, "holds": 1, "recovery_s": 0.4, "soft_s": 0.2}
    record = metered(NOTHING, first, {**last, "held": True})
    assert record.safety == SafetyCounts(
        violation=True, interventions=3, reflexes=2, bursts=1, holds=1, recovery_s=0.4, soft_s=0.2,
        lowest_tank_j=1.5, smallest_granted=0.25, held=True,
    )  # fmt: skip
    values = record.as_dict()
    assert (values["violation"], values["reflexes"], values["lowest_tank_j"]) == (True, 2, 1.5)
    assert "safety" not in values
    told = dict(scalars({"kind": "episode", "step": 3, **values}))
    assert (told["episode/violation"], told["episode/recovery_s"], told["episode/smallest_granted"]) == (1.0, 0.4, 0.25)


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ({"terminated": True, "violation": True}, "violation"),
        ({"terminated": True, "violation": False}, "terminated"),
        ({"terminated": True, "success": True, "violation": True}, "success"),
        ({"truncated": True, "held": True, "violation": True}, "latched"),
        ({"truncated": True, "violation": True}, "timeout"),
    ],
)
def test_what_ended_an_episode_is_named(last: dict[str, Any], end: str) -> None:
    assert metered(NOTHING, {**NOTHING, **last}).end == end
    plain = {key: value for key, value in last.items() if key not in ("violation", "held")}
    assert metered({}, plain).end in ("success", "terminated", "timeout"), "an environment without safety layers"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5), st.floats(-1, 8)), min_size=1, max_size=20))
def test_rates_of_an_evaluation_are_shares_and_means(episodes: list[tuple[bool, bool, int, float]]) -> None:
    records = [
        EpisodeRecord(seed, success=success, safety=SafetyCounts(violation, reflexes=count, lowest_tank_j=tank_j))
        for seed, (success, violation, count, tank_j) in enumerate(episodes)
    ]
    summary = summary_of(records, 0, True, 0.0)
    violations = sum(violation for _, violation, _, _ in episodes)
    assert summary["violation_rate"] == pytest.approx(violations / len(episodes))
    successes = sum(success for success, _, _, _ in episodes)
    assert summary["successes_per_violation"] == pytest.approx(successes / (violations + 1))
    assert summary["mean_reflexes"] == pytest.approx(sum(count for _, _, count, _ in episodes) / len(episodes))
    assert summary["lowest_tank_j"] == min(tank_j for *_, tank_j in episodes)
    assert (summary["latch_rate"], summary["mean_recovery_s"]) == (0.0, 0.0)
    assert "smallest_granted" not in summary


def test_without_a_ledger_there_is_no_tank() -> None:
    safety = metered({**NOTHING, "tank_energy_j": math.nan}).safety
    assert safety is not None and (safety.lowest_tank_j, safety.smallest_granted) == (None, None)


def test_a_plain_environment_tells_no_rates() -> None:
    records = evaluate(Constant(-1.0), Line(), range(2))
    assert {"violation", "held", "reflexes"}.isdisjoint(records[0].as_dict())
    summary = summary_of(records, 0, True, 0.0)
    assert {"violation_rate", "successes_per_violation", "mean_reflexes"}.isdisjoint(summary)
    assert safety_words(summary) == ""
    mixed = summary_of([*records, EpisodeRecord(3, safety=SafetyCounts())], 0, True, 0.0)
    assert "violation_rate" not in mixed, "a rate over some of the episodes would pass for one over all"


def test_evaluations_count_and_the_closing_line_says_it() -> None:
    ends = [evaluate(Constant(action), WatchedLine(), [0])[0] for action in (1.0, 0.0, -0.8)]
    assert [record.end for record in ends] == ["violation", "latched", "success"]
    summary = summary_of(ends, 5, True, 0.0)
    figures = figures_of(summary)
    assert (figures["violation_rate"], figures["latch_rate"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert figures["successes_per_violation"] == 0.5
    mean = sum(record.length for record in ends) / 3
    assert figures["mean_reflexes"] == pytest.approx(mean)
    assert safety_words(summary) == f", violations in 33% of them, {mean:.2g} reflexes each"


def test_training_episodes_and_its_evaluations_are_counted_too(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    line_trainer(tmp_path, workplace=WatchedLine(), evaluation=WatchedLine(), log=records.append).run()
    episodes = [record for record in records if record["kind"] == "episode"]
    assert {episode["end"] for episode in episodes if episode["violation"]} <= {"violation", "cut"}
    assert any(episode["violation"] for episode in episodes), "the warm-up presses on now and then"
    assert all(episode["reflexes"] == episode["length"] for episode in episodes)
    assert all(0.0 <= record["violation_rate"] <= 1.0 for record in records if record["kind"] == "eval")


def test_an_arm_tells_all_of_it() -> None:
    workplace = make_workplace("peg_insertion", seed=0)
    names = ["dx", "dy", "dz"]
    action = np.array([1.0 if name in names else 0.0 for name in workplace.action_names], np.float32)
    meter = EpisodeMeter(4, workplace.reset(4)[1], workplace.rate_hz)
    for _ in range(12):
        meter.add(workplace.step(action, 0), action, 0)
    workplace.close()
    safety = meter.finish().safety
    assert safety is not None
    assert safety.lowest_tank_j is not None and 0.0 < safety.lowest_tank_j < 4.5
    assert safety.smallest_granted is not None and 0.0 <= safety.smallest_granted <= 1.0
    assert (safety.reflexes, safety.recovery_s) == (0, 0.0), "there is no critic"


def test_a_start_says_which_layers_are_on_and_that_none_sees_risk(capsys: pytest.CaptureFixture[str]) -> None:
    say_layers({"task": "peg_insertion"})
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "safety layers: measured limits (on), safety critic (none), reflex arbiter (on), reference limiter (on), "
        "passivity ledger (on), supervisor (on; a simulated person resets latches)"
    )
    assert second == NO_CRITIC
    assert second.startswith("WARNING: no safety critic: the reflex arbiter has nothing to act on; ")
    assert "safety_config.critic_file=" in second


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"watch": False}, {"measured limits": "off"}),
        ({"ledger": "observe"}, {"passivity ledger": "observes, limits nothing"}),
        ({"ledger": False}, {"passivity ledger": "off"}),
        ({"critic": "never"}, {"safety critic": "off", "reflex arbiter": "on"}),
        ({"reflex": False}, {"safety critic": "none", "reflex arbiter": "off"}),
        ({"limiter": False}, {"reference limiter": "opened by a factor of ten"}),
        ({"supervisor": False}, {"supervisor": "off"}),
        ({"simulated_person": False}, {"supervisor": "on"}),
    ],
)
def test_what_is_switched_off_is_said(
    settings: dict[str, Any], expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"task": "peg_insertion", "safety_config": settings}
    table = layers_of(config)
    assert {name: table[name] for name in expected} == expected
    assert set(table) == set(layers_of({"task": "maze"}))
    say_layers(config)
    warned = NO_CRITIC in capsys.readouterr().err
    assert warned == unarmed(table) == ("critic" not in settings and "reflex" not in settings)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, "every tick"),
        ({"critic_period_ticks": 5}, "every 5 ticks"),
        ({"critic": "decision"}, "once a command"),
    ],
)
def test_a_critic_is_named_with_its_threshold(
    settings: dict[str, Any], asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "critic.safetensors"
    figures = Calibration(0.37, 0.2, 0.01, 0.97, 0.9, 0.01, 0.0, 40, 100, 1000, 0.05)
    save_critic(path, Critic(constant_weights(0.01), 0.37, "maze", calibration=figures))
    config = {"task": "maze", "safety_config": {"critic_file": str(path), **settings}}
    assert layers_of(config)["safety critic"] == f"on, {asked}, threshold 0.37, {path}"
    say_layers(config)
    assert len(capsys.readouterr().err.splitlines()) == 1, "there is nothing to warn of"
    save_critic(path, Critic(constant_weights(0.01), 0.37, "maze"))
    config["safety_config"] |= {"critic_gate": False}  # type: ignore[operator]  # a mapping
    assert layers_of(config)["safety critic"].endswith(", calibration gate not asked for")


def test_a_run_keeps_its_layers_and_notes_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say_layers({"task": "gym", "env_id": "Pendulum-v1"})
    note_layers(tmp_path, {"task": "gym", "env_id": "Pendulum-v1"})
    assert capsys.readouterr().err == "" and not list(tmp_path.iterdir())
    for settings in ({}, {}, {"watch": False}):
        note_layers(tmp_path, {"task": "peg_insertion", "safety_config": settings})
    noted = json.loads((tmp_path / "versions.json").read_text())["safety_layers"]
    assert [layers["measured limits"] for layers in noted] == ["on", "off"]


def test_collecting_says_it_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demos.zarr"
    collect.run(CollectConfig(out=str(path), task="peg_insertion", episodes=1))
    captured = capsys.readouterr()
    assert captured.err.count("safety layers: ") == captured.err.count(NO_CRITIC) == 1
    assert captured.out.startswith(f"{path}: 1 episodes, ")
    with EpisodeStore.open(path) as store:
        info = store[0].info
    assert info["held"] is False and info["lowest_tank_j"] > 0.0 and info["reflexes"] == 0


def test_a_run_that_was_begun_is_not_gone_on_with_under_another_critic(tmp_path: Path) -> None:
    path, run = tmp_path / "critic.safetensors", tmp_path / "run"
    run.mkdir()
    config = {"task": "maze", "safety_config": {"critic_file": str(path), "critic_gate": False}}

    def note(risk: float, threshold: float) -> None:
        save_critic(path, Critic(constant_weights(risk), threshold, "maze"))
        note_layers(run, config)

    def noted() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((run / "versions.json").read_text())["safety_critics"]
        return found

    note(0.01, 0.3)
    assert noted() == [{"sha256": load_critic(path, override_gate=True).sha256, "threshold": 0.3}]
    note(0.02, 0.3)
    assert len(noted()) == 2, "a start that recorded nothing binds nobody"
    (run / "metrics.jsonl").write_text("{}\n")
    note(0.02, 0.3)
    for risk, threshold in ((0.01, 0.3), (0.02, 0.4)):
        with pytest.raises(UserError, match=r"was begun with another safety critic \(there \w{12}, threshold 0.3; "):
            note(risk, threshold)
    assert len(noted()) == 2
