"""`robot-rl safety collect|train|calibrate|evaluate`, from the scripted operator to a critic that an arm runs with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from robot_rl.config_critic import (
    SafetyCalibrateConfig,
    SafetyCollectConfig,
    SafetyEvaluateConfig,
    SafetyTrainConfig,
)
from robot_rl.envs.layers import layers_from
from robot_rl.envs.make import chain_of, make_env
from robot_rl.safety_critic.calibration import Calibration
from robot_rl.safety_critic.files import Critic, load_critic, save_critic
from robot_rl.safety_critic.trajectories import load_folder, load_trajectory, save_trajectory
from robot_rl.tasks.base import Task
from robot_rl.tasks.maze import Maze
from robot_rl.tasks.registry import make_task
from robot_rl.workflows import safety_collect, safety_evaluate, safety_train
from safety.risk_critic import RiskCriticConfig
from tests.safety.critic_tools import constant_weights

HASTY = {"max_force_n": 8.0, "time_limit_s": 4.0}
"""Mazes in which the explorer presses too hard in most episodes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Episodes to train on and to judge by."""
    path = tmp_path_factory.mktemp("safety")
    for name, variant, seed in (("train", "default", 0), ("heldout", "heldout", 1)):
        config = SafetyCollectConfig(
            out=str(path / name), task="maze", variant=variant, episodes=10, seed=seed, task_config=HASTY
        )
        figures = safety_collect.run(config)
        assert figures["episodes"] == 10 and figures["violations"] >= 2
    yield path


@pytest.fixture(scope="module")
def critic_file(folder: Path) -> Path:
    settings = {"updates": 150, "batch_size": 128}
    config = SafetyTrainConfig(data=str(folder / "train"), out=str(folder / "run"), critic_config=settings)
    figures = safety_train.run(config)
    assert safety_train.run(config)["critic"] == figures["critic"], "a trained critic is not trained again"
    return Path(figures["critic"])


def test_collecting_goes_on_where_it_was_stopped(folder: Path) -> None:
    first = folder / "train" / "episode-000003.safetensors"
    content, others = first.read_bytes(), (folder / "train" / "episode-000002.safetensors").stat().st_mtime_ns
    first.unlink()
    config = SafetyCollectConfig(out=str(folder / "train"), task="maze", episodes=10, task_config=HASTY)
    safety_collect.run(config)
    assert (folder / "train" / "episode-000002.safetensors").stat().st_mtime_ns == others, "what is there stays"
    again = load_folder(folder / "train")[3]
    assert first.is_file() and len(content) > 0 and again.seed == 3


def test_an_uncalibrated_critic_is_refused_and_calibrating_says_what_it_is_worth(
    folder: Path, critic_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="was not calibrated"):
        load_critic(critic_file)
    with pytest.raises(UserError, match="was trained on"):
        safety_train.calibrate_file(SafetyCalibrateConfig(critic=str(critic_file), data=str(folder / "train")))
    figures = safety_train.calibrate_file(SafetyCalibrateConfig(critic=str(critic_file), data=str(folder / "heldout")))
    stored = load_critic(critic_file, override_gate=True).calibration
    assert stored is not None and stored.recall == figures["recall"] and figures["violations"] >= 2
    assert ("passes" if figures["ok"] else "does not pass") in capsys.readouterr().out


def test_no_episode_that_was_learned_from_judges_wherever_it_lies(folder: Path, critic_file: Path) -> None:
    about = load_critic(critic_file, override_gate=True).about
    assert about["training"]["data"] == str((folder / "train").resolve())
    assert len(about["learned_from"]["episodes"]) == 10 and len(about["learned_from"]["sha256"]) == 64
    copied = folder / "copied"
    shutil.copytree(folder / "train", copied)
    config = SafetyCalibrateConfig(critic=str(critic_file), data=str(copied))
    with pytest.raises(UserError, match=r"^10 of 10 episodes in .*copied are among those that .* was trained on"):
        safety_train.calibrate_file(config)
    for path in sorted(copied.glob("episode-*"))[1:]:
        path.unlink()
    changed = copied / "episode-000000.safetensors"
    one = load_trajectory(changed)
    save_trajectory(changed, replace(one, features=one.features[:-1]), {}, limits_of(copied))
    with pytest.raises(UserError, match="1 of 1 episodes"):  # the same world, if not the same motion
        safety_train.calibrate_file(config)
    figures = safety_evaluate.run(
        SafetyEvaluateConfig(critic=str(critic_file), data=str(folder / "train"), out=str(folder / "seen.html"))
    )
    assert "trained on 10 of these 10 episodes" in Path(figures["out"]).read_text()


def limits_of(folder: Path) -> RiskCriticConfig:
    """Of the task that a folder's configuration tells."""
    stored = json.loads((folder / "config.json").read_text())
    return chain_of(make_task(stored["task"], stored["variant"], stored["task_config"])).critic


def other_setup(folder: Path, name: str, **changes: Any) -> Path:
    """The held-out episodes, as if they were of another task."""
    other = folder / name
    shutil.copytree(folder / "heldout", other)
    stored = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**stored, **changes}))
    for path in other.glob("episode-*"):
        save_trajectory(path, load_trajectory(path), {}, limits_of(other))
    return other


def test_episodes_of_other_limits_than_their_folder_tells_are_refused(folder: Path) -> None:
    odd = folder / "odd"
    shutil.copytree(folder / "heldout", odd)
    stored = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps({**stored, "task_config": {**HASTY, "max_force_n": 9.0}}))
    with pytest.raises(UserError, match="was measured with max_force_n=8.0, and its task asks for max_force_n=9.0"):
        safety_train.run(SafetyTrainConfig(data=str(odd), out=str(folder / "odd-run")))


def test_task_and_limits_of_data_and_critic_must_agree(folder: Path, critic_file: Path) -> None:
    hard = other_setup(folder, "hard", task_config={**HASTY, "max_force_n": 40.0})
    peg = other_setup(folder, "peg", task="peg_insertion", variant="default", task_config={})
    for data, message in (
        (hard, "hard holds episodes with max_force_n=40, .* with max_force_n=8: collect episodes with the same"),
        (peg, "peg holds episodes of task peg_insertion, .* of maze: one critic, one task"),
    ):
        with pytest.raises(UserError, match=message):
            safety_train.calibrate_file(SafetyCalibrateConfig(critic=str(critic_file), data=str(data)))
        with pytest.raises(UserError, match=message):
            safety_evaluate.run(SafetyEvaluateConfig(critic=str(critic_file), data=str(data)))
        with pytest.raises(UserError, match=message):
            safety_train.run(SafetyTrainConfig(data=str(folder / "train"), also=[str(data)], out=str(folder / "mixed")))


@pytest.mark.parametrize(("text", "message"), [("{}", "tells no task"), ("[]", "tells no task"), ("{", "cannot read")])
def test_a_folder_that_does_not_tell_its_task_is_refused(folder: Path, tmp_path: Path, text: str, message: str) -> None:
    shutil.copytree(folder / "heldout", tmp_path / "odd")
    (tmp_path / "odd" / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        safety_train.run(SafetyTrainConfig(data=str(tmp_path / "odd"), out=str(tmp_path / "run")))


@pytest.mark.parametrize(("out", "message"), [("/nonexistent/x.html", "expected a folder"), ("/tmp", "cannot write")])
def test_a_page_that_cannot_be_written_is_told_before_measuring(
    folder: Path, critic_file: Path, out: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        safety_evaluate.run(SafetyEvaluateConfig(critic=str(critic_file), data=str(folder / "heldout"), out=out))


def test_a_task_without_a_scripted_operator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Maze, "operator", Task.operator)
    with pytest.raises(UserError, match="task maze has no scripted operator"):
        safety_collect.run(SafetyCollectConfig(out=str(tmp_path / "none"), task="maze", episodes=1))


def test_evaluating_writes_one_page(folder: Path, critic_file: Path) -> None:
    out = folder / "critic.html"
    config = SafetyEvaluateConfig(critic=str(critic_file), data=str(folder / "heldout"), out=str(out))
    figures = safety_evaluate.run(config)
    text = out.read_text()
    assert f"{figures['recall']:.3f}" in text and "Reliability" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def passing(critic: Critic, path: Path) -> Path:
    """Says of a critic that it passes, for what comes after the gate."""
    figures = Calibration(0.3, 0.2, 0.01, 0.97, 0.9, 0.01, 0.0, 40, 100, 1000, 0.05)
    save_critic(path, replace(critic, threshold=0.3, calibration=figures))
    return path


def test_an_environment_runs_with_the_critic_of_a_file(critic_file: Path, tmp_path: Path) -> None:
    task = make_task("maze")
    limits = chain_of(task).critic
    calm = Critic(constant_weights(0.05, 3, limits), 0.3, "maze")
    path = passing(calm, tmp_path / "calm.safetensors")
    layers = layers_from({"critic_file": str(path)})
    assert chain_of(task, layers).reflex.eps_hard == 0.3
    env = make_env(task, layers=layers, teleport=True)
    env.reset(seed=0)
    info: dict[str, Any] = env.step(np.zeros(env.action_space.shape or (), np.float32))[4]
    assert info["risk"] == pytest.approx(0.05, abs=1e-5)
    env.close()
    with pytest.raises(UserError, match="was not calibrated|does not pass"):
        make_env(task, layers=layers_from({"critic_file": str(critic_file)}), teleport=True)
    other = Critic(constant_weights(0.05, 3), 0.3, "peg_insertion")
    wrong = passing(other, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="other violation limits"):
        make_env(task, layers=layers_from({"critic_file": str(wrong)}), teleport=True)
