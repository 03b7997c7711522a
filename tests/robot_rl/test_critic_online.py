"""The safety critic that `finetune` trains along: what is learned from, handed over, recorded, and taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.link import LockstepLink
from data.errors import UserError
from robot_rl.config import FinetuneConfig
from robot_rl.config_critic import SafetyCollectConfig, SafetyTrainConfig
from robot_rl.envs.layers import reflex_at
from robot_rl.envs.make import make_env
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.metrics import read_metrics
from robot_rl.safety_critic import calibration, online
from robot_rl.safety_critic.files import CRITIC_FILE, Critic, load_critic, save_critic
from robot_rl.safety_critic.inference import logits_of
from robot_rl.safety_critic.online import OnlineConfig, OnlineCritic
from robot_rl.safety_critic.targets import realised
from robot_rl.safety_critic.trajectories import Trajectory, load_folder
from robot_rl.tasks.registry import make_task
from robot_rl.training.critic_learner import CriticLearner
from robot_rl.workflows import finetune, safety_collect, safety_train
from robot_rl.workflows.critic_online import critic_learner, own_critic
from safety.risk_memory import FEATURES
from tests.safety.critic_tools import constant_weights

HASTY = {"max_force_n": 8.0, "time_limit_s": 1.0}
"""Mazes in which the explorer presses too hard in most episodes, over after ten decisions."""
TINY: dict[str, Any] = {"hidden": [16, 16], "batch_size": 16}
EVERY: dict[str, Any] = {"every": 2, "updates": 5, "keep_every": 2}


@pytest.fixture(scope="module")
def critic_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A critic that hardly learned, with the episodes that it learned from."""
    path = tmp_path_factory.mktemp("critic")
    config = SafetyCollectConfig(
        out=str(path / "train"), task="maze", episodes=12, task_config={**HASTY, "time_limit_s": 4.0}
    )
    assert safety_collect.run(config)["violations"] >= 4
    settings = {"updates": 60, "batch_size": 64}
    figures = safety_train.run(
        SafetyTrainConfig(data=str(path / "train"), out=str(path / "run"), critic_config=settings)
    )
    yield Path(figures["critic"])


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of the gate that a critic passes after a few updates: what follows from passing is under test here."""
    for name, value in (("MAX_ECE", 1.0), ("MIN_RECALL", 0.0), ("MAX_FALSE_REFLEXES", 1.0)):
        monkeypatch.setattr(calibration, name, value)
    monkeypatch.setattr(online, "stopping_time_s", lambda *limits: 0.0)


def settings_of(out: Path, critic_file: Path, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "steps": 60,
        "warmup": 40,
        "eval_every": 0,
        "final_episodes": 1,
        "checkpoint_every": 15,
        "agent_config": TINY,
        "task_config": HASTY,
        "critic_config": EVERY,
        "safety_config": {"critic_file": str(critic_file), "critic_gate": False},
    }
    return {"out": str(out), "task": "maze", **given, **changes}


def run(out: Path, critic_file: Path, **changes: Any) -> list[dict[str, Any]]:
    finetune.run(FinetuneConfig(**settings_of(out, critic_file, **changes)))
    return read_metrics(out)


def final(out: Path) -> bytes:
    return max((out / "checkpoints").glob("step_*.safetensors")).read_bytes()


def without_clocks(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clocks = {"wall_s", "eval_wall_s", "update_s", "critic_s"}
    return [{key: value for key, value in record.items() if key not in clocks} for record in records]


class Crash(Exception):
    """Ends a run in the midst of an episode, as a kill would."""


@pytest.mark.usefixtures("lenient")
def test_every_episode_is_learned_from_and_what_passes_is_handed_over(
    critic_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[float, int]] = []
    adopt = LockstepLink._adopt_critic

    def seen(link: LockstepLink, weights: Any, reflex: Any) -> None:
        adopt(link, weights, reflex)
        record = link.chain.config_record
        handed.append((float(record["reflex"]["eps_hard"][0]), link.chain.critic_version))

    monkeypatch.setattr(LockstepLink, "_adopt_critic", seen)
    records = run(tmp_path / "run", critic_file)
    episodes = [record for record in records if record["kind"] == "episode"]
    updates = [record for record in records if record["kind"] == "critic"]
    assert len(episodes) >= 4 and len(updates) == len(episodes) // 2
    assert [record["update"] for record in updates] == list(range(1, len(updates) + 1))
    assert all(record["accepted"] and record["shortcomings"] == [] for record in updates)
    assert {"ece", "recall", "false_reflexes", "threshold", "version", "step", "critic_s"} <= set(updates[0])
    kept = load_folder(tmp_path / "run" / "critic")
    assert len(kept) == len(episodes)
    assert kept[0].decision_s == pytest.approx(0.1) and kept[0].interval_s == pytest.approx(0.002)
    lasted_s = [record["robot_s"] for record in episodes]
    for trajectory, episode_s in zip(kept, lasted_s, strict=True):
        assert trajectory.end_s == pytest.approx(episode_s, abs=0.002) or trajectory.violated
    newest = load_critic(tmp_path / "run" / CRITIC_FILE)
    first = load_critic(critic_file, override_gate=True)
    assert int(newest.weights["version"]) == updates[-1]["version"] == int(first.weights["version"]) + len(updates)
    assert newest.threshold == updates[-1]["threshold"]
    assert handed[-1] == (newest.threshold, int(newest.weights["version"])), "evaluations take the newest as well"
    assert own_critic(tmp_path / "run") == {"critic_file": str(tmp_path / "run" / CRITIC_FILE)}


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("step", [3, 25, 47])
def test_trap_14_a_run_that_crashed_goes_on_with_the_critic_of_its_checkpoint(
    critic_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = run(tmp_path / "whole", critic_file)
    update = CriticLearner.step
    count = 0

    def crashing(learner: CriticLearner, outcome: Any) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise Crash
        update(learner, outcome)

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(CriticLearner, "step", crashing)
        run(tmp_path / "crashed", critic_file)
    rest = run(tmp_path / "crashed", critic_file)
    assert without_clocks(rest) == without_clocks(whole)
    assert final(tmp_path / "whole") == final(tmp_path / "crashed")
    for name in ("whole", "crashed"):
        assert (tmp_path / name / CRITIC_FILE).is_file()
    mine, other = (load_critic(tmp_path / name / CRITIC_FILE) for name in ("whole", "crashed"))
    np.testing.assert_array_equal(mine.weights.tobytes(), other.weights.tobytes())


def test_a_critic_that_does_not_pass_stays_out(critic_file: Path, tmp_path: Path) -> None:
    records = run(tmp_path / "run", critic_file, steps=40)
    updates = [record for record in records if record["kind"] == "critic"]
    assert updates and not any(record["accepted"] for record in updates)
    assert all(record["shortcomings"] for record in updates)
    assert len({record["version"] for record in updates}) == 1, "the one in use stays in use"
    assert not (tmp_path / "run" / CRITIC_FILE).exists() and own_critic(tmp_path / "run") == {}


def test_without_critic_config_nothing_of_it_is_there(critic_file: Path, tmp_path: Path) -> None:
    records = run(tmp_path / "run", critic_file, critic_config={}, steps=30)
    assert {record["kind"] for record in records} <= {"episode", "update", "eval"}
    assert not (tmp_path / "run" / "critic").exists()


def test_the_oldest_episodes_are_let_go(critic_file: Path) -> None:
    episodes = load_folder(critic_file.parent.parent / "train")
    critic = load_critic(critic_file, override_gate=True)
    chain = make_task("maze", settings=HASTY).chain_config()
    learner = OnlineCritic(critic, chain, episodes, OnlineConfig(max_episodes=3, updates=1))
    for number in range(1, 8):
        learner.add(number, episodes[number])
    assert learner.numbers == [5, 6, 7]
    calm = [episode for episode in episodes if not episode.violated]
    with pytest.raises(UserError, match=r"expected episodes with violations among those kept back"):
        OnlineCritic(critic, chain, calm)


def test_updates_depend_on_critic_and_episodes_only(critic_file: Path) -> None:
    episodes = load_folder(critic_file.parent.parent / "train")
    critic = load_critic(critic_file, override_gate=True)
    chain = make_task("maze", settings=HASTY).chain_config()
    figures = []
    with quick_torch():
        for order in ((1, 2, 3), (3, 1, 2)):
            learner = OnlineCritic(critic, chain, episodes, OnlineConfig(updates=3))
            for number in order:
                learner.add(number, episodes[number])
            figures.append(learner.update(seed=3))
            if figures[-1].shortcomings():
                assert learner.critic is critic
    assert figures[0] == figures[1]


def test_weights_and_thresholds_change_at_the_same_reset() -> None:
    env = make_env(make_task("maze"), teleport=True)
    with closing(env):
        link = env.link
        assert isinstance(link, LockstepLink)
        weights = constant_weights(0.05, 3, link.chain.config.critic)
        link.load_critic(weights, reflex_at(link.chain.config.reflex, 0.4))
        before = float(link.chain.config_record["reflex"]["eps_hard"][0])
        assert before != 0.4 and link.chain.critic_version == 0
        link.reset()
        record = link.chain.config_record["reflex"]
        assert (record["eps_hard"][0], record["eps_soft"][0]) == (0.4, 0.2) and link.chain.critic_version == 3
        assert record["exit_hard"][0] == pytest.approx(0.7 * 0.4)
        link.load_critic(constant_weights(0.05, 4, link.chain.config.critic))
        link.reset()
        assert link.chain.config_record["reflex"]["eps_hard"][0] == 0.4, "without settings those in use stay"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "async"}, "critic_config.every trains the safety critic between episodes, with mode=sync only"),
        ({"safety_config": {}}, r"give safety_config\.critic_file"),
        ({"critic_config": {"evry": 2}}, "unknown critic option 'evry'; did you mean every"),
        ({"critic_config": {"every": -1}}, r"critic_config\.every=-1 does not fit: expected at least 0"),
        ({"critic_config": {"every": 2, "data": ["/nowhere"]}}, "expected a run folder with config.json at /nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    critic_file: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", critic_file, **changes)


def test_a_critic_whose_episodes_are_gone_stays_as_it_is(
    critic_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    critic: Critic = load_critic(critic_file, override_gate=True)
    path = tmp_path / "other.safetensors"
    save_critic(path, replace(critic, about={"training": {"data": str(tmp_path / "gone")}}))
    records = run(tmp_path / "run", path, steps=20)
    assert not any(record["kind"] == "critic" for record in records)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the safety critic is not")]
    assert len(said) == 1 and str(tmp_path / "gone") in said[0] and "critic_config.data" in said[0]


def test_any_gymnasium_environment_has_no_critic(critic_file: Path) -> None:
    from tests.robot_rl.training_fakes import Line

    config = settings_of(Path("unused"), critic_file, mode="sync")
    with pytest.raises(UserError, match="needs an arm in lock-step"):
        critic_learner(config, Path("unused"), Line(), Line())
    assert json.dumps(config["critic_config"])


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_scaling_the_answers_converges_where_they_hardly_differ() -> None:
    """Full Newton steps overflow there; the scaled answers must fit better than the best constant."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(3000):
        features = rng.uniform(0.0, 1.0, (1, FEATURES)).astype(np.float32)
        end = "violation" if rng.uniform() < 0.2 * features[0, 0] else "over"
        episodes.append(Trajectory(features, 0.002, rng.uniform(0.0, 0.3), end, 0.1))
    weights = constant_weights(0.001)
    for name in ("first", "second", "first_bias", "second_bias", "centre"):
        weights[name] = 0.0
    weights["inverse_scale"], weights["first"][:2, 0, 0], weights["second"][:2, 0, 0] = 1.0, 1.0, 1.0
    weights["risk_head"][:, 0] = 0.1
    rows, outcomes = realised(episodes, 0.1, 0.5)
    calibration.rescale(weights, episodes, 0.1)
    risk = 1.0 / (1.0 + np.exp(-logits_of(weights, rows)))
    mean = outcomes.mean()
    entropy = -(outcomes * np.log(risk) + (1.0 - outcomes) * np.log(1.0 - risk)).mean()
    assert entropy < -(mean * np.log(mean) + (1.0 - mean) * np.log(1.0 - mean))
