"""What is no critic, no trajectory and no setting is refused in one line that says what was expected and what came."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError
from robot_rl.agents.base import config_from
from robot_rl.safety_critic.calibration import Calibration, calibrate
from robot_rl.safety_critic.files import Critic, load_critic, save_critic
from robot_rl.safety_critic.targets import lookahead_s
from robot_rl.safety_critic.training import CriticTrainingConfig
from robot_rl.safety_critic.trajectories import Trajectory, load_trajectory, save_trajectory
from safety.risk_critic import RiskCriticConfig
from safety.risk_memory import FEATURES
from tests.safety.critic_tools import constant_weights

FIGURES = Calibration(0.3, 0.2, 0.01, 0.97, 0.9, 0.01, 0.0, 40, 100, 1000, 0.05)
Edit = Callable[[dict[str, Any]], Any]


def refused(load: Callable[[Path], Any], path: Path) -> str:
    """Returns the one line with which a file is refused."""
    with pytest.raises(UserError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def edited(path: Path, name: str, facts: Edit | None = None, arrays: Edit | None = None) -> None:
    """Rewrites a file: `facts` and `arrays` change what is there in place; what `facts` returns takes its place."""
    held, metadata = load_arrays(path)
    values: Any = json.loads(metadata[name])
    if facts is not None:
        other = facts(values)
        values = values if other is None else other
    if arrays is not None:
        arrays(held)
    save_arrays_atomic(path, held, {name: values if isinstance(values, str) else json.dumps(values)})


@pytest.fixture
def critic_file(tmp_path: Path) -> Path:
    path = tmp_path / "critic.safetensors"
    save_critic(path, Critic(constant_weights(0.05), 0.3, "maze", calibration=FIGURES))
    assert load_critic(path).threshold == 0.3
    return path


def drop(*names: str) -> Edit:
    def edit(values: dict[str, Any]) -> None:
        for name in names[:-1]:
            values = values[name]
        del values[names[-1]]

    return edit


def put(value: Any, *names: str) -> Edit:
    def edit(values: dict[str, Any]) -> None:
        for name in names[:-1]:
            values = values[name]
        values[names[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (lambda _: "{", "is not valid JSON"),
        (lambda _: [1, 2], r"expected a mapping of facts, got \[1, 2\]"),
        (drop("layout"), "lacks 'layout'"),
        (put("7", "layout"), "expected an integer as layout, got '7'"),
        (drop("calibration"), "lacks 'calibration'"),
        (put([], "calibration"), r"expected a mapping as calibration, got \[\]"),
        (drop("calibration", "recall"), "lacks 'recall'"),
        (put(1.0, "calibration", "beauty"), "unknown fact 'beauty'"),
        (put(float("nan"), "calibration", "recall"), "expected a finite number as recall, got nan"),
        (put(1, "colour"), "unknown fact 'colour'"),
        (put(0.0, "threshold"), r"expected a threshold in \(0, 1\), got 0.0"),
        (put(1.0, "threshold"), r"expected a threshold in \(0, 1\), got 1.0"),
        (put(float("nan"), "threshold"), "expected a finite number as threshold, got nan"),
        (put(True, "threshold"), "expected a finite number as threshold, got True"),
        (drop("scalars", "discount"), "lacks 'discount'"),
        (put(10**30, "scalars", "version"), "expected an integer as version"),
        (put(0.5, "scalars", "discount"), "do not match their checksum"),
        (drop("sha256"), "no checksum of its weights, so another version made it; make it again"),
        (put("0" * 64, "sha256"), "do not match their checksum"),
        (put(None, "about"), "expected a mapping as about, got None"),
    ],
)
def test_a_critic_file_with_other_facts_is_refused(critic_file: Path, facts: Edit, message: str) -> None:
    edited(critic_file, "critic", facts)
    with pytest.raises(UserError, match=message):
        load_critic(critic_file)
    refused(load_critic, critic_file)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (drop("risk_head"), "lacks the array 'risk_head'"),
        (put(np.zeros(3, np.float32), "third"), "has the unknown array 'third'"),
        (put(np.zeros(3, np.float32), "centre"), r"expected centre as float32 of shape \(48,\), got float32 of shape"),
        (put(np.zeros(FEATURES), "centre"), r"got float64 of shape \(48,\)"),
        (put(np.full(2, 0.125, np.float32), "risk_bias"), "do not match their checksum"),
    ],
)
def test_a_critic_file_with_other_arrays_is_refused(critic_file: Path, arrays: Edit, message: str) -> None:
    edited(critic_file, "critic", arrays=arrays)
    with pytest.raises(UserError, match=message):
        load_critic(critic_file)
    refused(load_critic, critic_file)


@pytest.mark.parametrize("kept", [0, 7, 200, -1])
def test_a_truncated_critic_file_is_refused(critic_file: Path, kept: int) -> None:
    critic_file.write_bytes(critic_file.read_bytes()[:kept])
    assert "not a whole safetensors file" in refused(load_critic, critic_file)


@pytest.fixture
def episode_file(tmp_path: Path) -> Path:
    path = tmp_path / "episode-000000.safetensors"
    trajectory = Trajectory(np.zeros((50, FEATURES), np.float32), 0.002, 0.1, "over", 0.1, 3)
    save_trajectory(path, trajectory, {"task": "maze"}, RiskCriticConfig())
    assert load_trajectory(path).sha256 == trajectory.sha256
    return path


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (lambda _: "{", "is not valid JSON"),
        (lambda _: [], r"expected a mapping of facts, got \[\]"),
        (drop("end"), "lacks 'end'"),
        (put("tired", "end"), "expected as end one of violation, over, cut, got tired"),
        (put(0.0, "interval_s"), "expected as interval_s a time above 0, got 0.0"),
        (put(float("nan"), "interval_s"), "expected a finite number as interval_s, got nan"),
        (put(-0.1, "decision_s"), "expected as decision_s a time above 0, got -0.1"),
        (put(0.01, "end_s"), "expected as end_s a time after the last sample, 0.098, got 0.01"),
        (put("3", "seed"), "expected an integer as seed, got '3'"),
        (drop("layout"), "lacks 'layout'"),
        (put(7, "layout"), "holds other features than this version computes"),
        (drop("measured_by"), "lacks 'measured_by'"),
    ],
)
def test_a_trajectory_with_other_facts_is_refused(episode_file: Path, facts: Edit, message: str) -> None:
    edited(episode_file, "facts", facts)
    with pytest.raises(UserError, match=message):
        load_trajectory(episode_file)
    refused(load_trajectory, episode_file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_force_n": 40.0}, "was measured with max_force_n=30.0, and its task asks for max_force_n=40.0: collect"),
        ({"surface": (0.5, 0.0, 0.1, 0.0, 0.0, -1.0)}, r"with surface=None, and its task asks for surface=\[0.5, 0.0"),
    ],
)
def test_a_trajectory_measured_by_other_limits_is_refused(
    episode_file: Path, changes: dict[str, Any], message: str
) -> None:
    limits = RiskCriticConfig()
    assert len(load_trajectory(episode_file, limits).features) == 50
    with pytest.raises(UserError, match=message):
        load_trajectory(episode_file, replace(limits, **changes))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (put(np.zeros((50, 3), np.float32), "features"), r"got float32 of shape \(50, 3\)"),
        (put(np.zeros((50, FEATURES)), "features"), r"got float64 of shape \(50, 48\)"),
        (put(np.zeros(50, np.float32), "features"), r"got float32 of shape \(50,\)"),
        (put(np.zeros(3), "more"), "2 arrays in all"),
        (put(np.full((50, FEATURES), np.nan, np.float32), "features"), "a feature is NaN or infinite"),
    ],
)
def test_a_trajectory_with_other_features_is_refused(episode_file: Path, arrays: Edit, message: str) -> None:
    edited(episode_file, "facts", arrays=arrays)
    with pytest.raises(UserError, match=message):
        load_trajectory(episode_file)
    refused(load_trajectory, episode_file)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("updates", 0, "at least 1"),
        ("recovery_every", 0, "at least 1"),
        ("batch_size", 0, "at least 3"),
        ("seed", -1, "at least 0"),
        ("time_constant_s", -1.0, "a finite number above 0"),
        ("time_constant_s", float("inf"), "a finite number above 0"),
        ("return_s", 0.0, "a finite number above 0"),
        ("learning_rate", float("nan"), "a finite number above 0"),
        ("positive_share", 2.0, r"a share in \(0, 1\)"),
        ("target_rate", 0.0, r"a share in \(0, 1\]"),
        ("box_share", float("nan"), r"a share in \(0, 1\]"),
        ("noise_share", -0.1, r"a share in \[0, 1\]"),
        ("noise", float("nan"), "a finite number of at least 0"),
        ("weight_decay", -1.0, "a finite number of at least 0"),
        ("wrench_bias_n", float("inf"), "a finite number of at least 0"),
        ("delay_s", -0.02, "a finite number of at least 0"),
    ],
)
def test_a_training_setting_out_of_bounds_is_named(name: str, value: float, allowed: str) -> None:
    with pytest.raises(UserError, match=rf"critic_config\.{name}={value} does not fit: expected {allowed}"):
        config_from(CriticTrainingConfig, {name: value}, "critic")


def alarm_at(sample: int, count: int, end_s: float) -> Trajectory:
    """Decisions of 0.1 s, samples every 10 ms, one of which is outside the training box; a violation ends it."""
    features = np.zeros((count, FEATURES), np.float32)
    features[sample, 0] = 100.0
    return Trajectory(features, 0.01, end_s, "violation", 0.1)


@given(st.integers(1, 60), st.data())
def test_an_alarm_is_right_during_the_decision_of_the_violation_or_within_the_look_ahead(
    count: int, data: st.DataObject
) -> None:
    sample = data.draw(st.integers(0, count - 1))
    end_s = (count - 0.5) * 0.01
    weights = constant_weights(0.001)
    weights["discount"] = np.exp(-1.0 / 0.1)
    ahead_s = lookahead_s(0.5, 0.1)
    figures = calibrate(weights, [alarm_at(sample, count, end_s)], 0.05, threshold=0.5)
    same_decision = sample // 10 == (count - 1) // 10
    right = same_decision or end_s - 0.01 * sample <= ahead_s
    assert figures.false_reflexes * figures.decisions == pytest.approx(0.0 if right else 1.0)


def test_an_alarm_a_decision_before_the_look_ahead_is_for_nothing() -> None:
    weights = constant_weights(0.001)
    weights["discount"] = np.exp(-1.0 / 0.1)
    assert lookahead_s(0.5, 0.1) < 0.07
    false, right = (calibrate(weights, [alarm_at(k, 25, 0.245)], 0.05, threshold=0.5).false_reflexes for k in (14, 20))
    assert false == pytest.approx(1 / 3) and right == 0.0
