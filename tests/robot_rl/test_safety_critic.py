"""Training and calibration of the safety critic, where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from controllers.chain import ChainConfig
from controllers.types import FeatureLog
from data.errors import UserError
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.safety_critic.calibration import (
    Calibration,
    calibrate,
    expected_calibration_error,
    rescale,
    time_constant_of,
)
from robot_rl.safety_critic.files import Critic, load_critic, save_critic
from robot_rl.safety_critic.inference import outside_box, risks_of
from robot_rl.safety_critic.networks import ActionScales, CriticNetworks
from robot_rl.safety_critic.targets import discount_over, lookahead_s, realised, tabulate
from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig, training_box
from robot_rl.safety_critic.trajectories import (
    Trajectory,
    TrajectoryRecorder,
    load_trajectory,
    save_trajectory,
    split,
    violation_index,
)
from safety.risk_critic import RECOVERY_STIFFNESS, RiskCriticConfig
from safety.risk_memory import ACTION_FEATURES, BLIND_FEATURES, FEATURE_NAMES, FEATURES
from tests.safety.critic_tools import constant_weights, random_weights, reference_risk

TAU_S, INTERVAL_S = 0.1, 0.005
GOAL_STIFFNESS = slice(ACTION_FEATURES.stop - 6, ACTION_FEATURES.stop)
FORCE, SPEED, AHEAD = (FEATURE_NAMES.index(name) for name in ("fx", "vx", "ahead_x"))
QUIET = CriticTrainingConfig(noise_share=0.0, time_constant_s=TAU_S, return_s=0.3, batch_size=256, recovery_every=4)


def wall_trajectory(rng: np.random.Generator, interval_s: float = INTERVAL_S) -> Trajectory:
    """A point that moves on at constant speed towards a wall, its distance told by the force feature, or turns away.

    The time until contact is distance / speed; what turns away never meets the wall: the truth is exp(-T / tau) or 0.
    """
    speed, distance, away = rng.uniform(0.5, 1.5), rng.uniform(0.2, 1.0), rng.uniform() < 0.5
    contact_s = distance / speed
    count = max(int(contact_s / interval_s), 2)
    times_s = contact_s - interval_s * np.arange(count, 0, -1)
    features = np.zeros((count, FEATURES), np.float32)
    features[:, FORCE] = 1.0 - (distance - speed * times_s)
    features[:, SPEED] = speed
    features[:, AHEAD] = rng.uniform(0.2, 1.0) * (-1.0 if away else 1.0)
    features[:, GOAL_STIFFNESS] = rng.uniform(0.0, 0.8)  # stiffness: of no consequence here, but never the same
    end_s = contact_s - float(times_s[0])
    return Trajectory(features, interval_s, end_s, "over" if away else "violation", 0.02)


def truth(features: Any) -> Any:
    time_s = (1.0 - features[:, FORCE]) / features[:, SPEED]
    return np.where(features[:, AHEAD] > 0.0, np.exp(-time_s / TAU_S), 0.0)


@pytest.fixture(scope="module")
def wall() -> tuple[Any, list[Trajectory], CriticTrainer]:
    """A critic trained on the wall, with its held-out trajectories."""
    rng = np.random.default_rng(0)
    trajectories = [wall_trajectory(rng) for _ in range(300)]
    fit, held = split(trajectories, 0.3, rng)
    with quick_torch():
        trainer = CriticTrainer(QUIET, ChainConfig())
        trainer.add(fit)
        trainer.fit(1200)
    weights = trainer.weights()
    rescale(weights, held, TAU_S)
    return weights, held, trainer


def test_the_critic_learns_the_time_to_contact(wall: Any) -> None:
    weights, held, _ = wall
    features, outcomes = realised(held, TAU_S, 0.5)
    np.testing.assert_allclose(outcomes, truth(features), atol=0.02)
    error = np.abs(risks_of(weights, features) - truth(features))
    assert error.mean() < 0.02 and np.quantile(error, 0.95) < 0.08
    assert expected_calibration_error(risks_of(weights, features), outcomes) < 0.02


def test_a_good_critic_passes_the_gate_and_looks_the_right_time_ahead(wall: Any) -> None:
    weights, held, _ = wall
    figures = calibrate(weights, held, stopping_time_s=0.02, threshold=0.3)
    assert figures.shortcomings() == []
    assert figures.lookahead_s == pytest.approx(TAU_S * np.log(1.0 / 0.3))
    first_s = []
    for trajectory in held:
        if trajectory.violated:
            alarms = risks_of(weights, trajectory.features) > 0.3
            first_s.append(float(trajectory.remaining_s[alarms].max()))
    assert np.median(first_s) == pytest.approx(figures.lookahead_s, abs=0.02)


def test_one_critic_serves_every_rate(wall: Any) -> None:
    """Asked every 5 ms or once in 100 ms, the same risk means the same look-ahead in seconds."""
    weights, held, _ = wall
    fine = [trajectory for trajectory in held if trajectory.violated]
    coarse = [replace(one, features=one.features[::20], interval_s=20 * one.interval_s) for one in fine]
    table_fine, table_coarse = tabulate(fine, TAU_S, 0.3), tabulate(coarse, TAU_S, 0.3)
    rows = np.concatenate([[True] + [False] * (len(one.features) - 1) for one in fine])
    rows_coarse = np.concatenate([[True] + [False] * (len(one.features) - 1) for one in coarse])
    np.testing.assert_allclose(table_fine.known[rows], table_coarse.known[rows_coarse], rtol=1e-12)
    assert discount_over(0.1, TAU_S) == pytest.approx(discount_over(0.005, TAU_S) ** 20)
    one = np.concatenate([trajectory.features for trajectory in coarse])
    assert np.quantile(np.abs(risks_of(weights, one) - truth(one)), 0.95) < 0.1
    assert lookahead_s(float(np.exp(-2.0)), TAU_S) == pytest.approx(2.0 * TAU_S)


def test_training_goes_on_with_what_was_executed_since(wall: Any) -> None:
    _, held, trainer = wall
    rng = np.random.default_rng(5)
    with quick_torch():
        other = CriticTrainer(QUIET, ChainConfig())
        other.warm_start(trainer.weights())
        other.add([wall_trajectory(rng) for _ in range(100)])
        other.fit(200)
    assert other.version == trainer.version + 1
    features, outcomes = realised(held, TAU_S, 0.5)
    assert expected_calibration_error(risks_of(other.weights(), features), outcomes) < 0.05


def test_the_recovery_learns_what_lowers_the_risk(wall: Any) -> None:
    _, held, trainer = wall
    near = np.concatenate([one.features[-10:] for one in held if one.violated])
    with torch.no_grad():
        after = trainer.networks.recovering(torch.from_numpy(near), trainer.scales).numpy()
    assert after[:, AHEAD].mean() < -0.03, "back, away from the wall"
    assert risks_of_networks(trainer, near).mean() > 0.4
    assert risks_of_networks(trainer, after).mean() < 0.05


def risks_of_networks(trainer: CriticTrainer, features: Any) -> Any:
    with torch.no_grad():
        return torch.sigmoid(trainer.networks.logits(torch.from_numpy(features))).amax(0).numpy()


@pytest.mark.parametrize("surface", [None, (0.4, 0.0, 0.1, 0.0, 0.0, -1.0)])
def test_torch_numpy_and_the_equations_agree(surface: Any) -> None:
    inputs = BLIND_FEATURES if surface is None else FEATURES
    networks, rng = CriticNetworks(3, inputs), np.random.default_rng(3)
    networks.centre = torch.from_numpy(rng.normal(size=inputs).astype(np.float32))
    weights = networks.to_weights(random_weights(config=RiskCriticConfig(surface=surface)))
    weights["box_low"], weights["box_high"] = -50.0, 50.0
    features = rng.normal(size=(64, FEATURES)).astype(np.float32)
    with torch.no_grad():
        by_torch = torch.sigmoid(networks.logits(torch.from_numpy(features))).amax(0).numpy()
    by_numpy = risks_of(weights, features)
    by_hand = [reference_risk(weights, row) for row in features]
    np.testing.assert_allclose(by_torch, by_numpy, atol=1e-5)
    np.testing.assert_allclose(by_numpy, [row[0] for row in by_hand], atol=1e-5)
    scales = ActionScales(np.full(6, 0.02), np.full(6, 0.05))
    with torch.no_grad():
        after = networks.recovering(torch.from_numpy(features), scales).numpy()
    spring = FEATURE_NAMES.index("spring_x")
    for row, features_after, (_, offset_m, stiffness) in zip(features, after, by_hand, strict=True):
        ahead = np.clip((offset_m - 0.02 * row[spring : spring + 3]) / 0.05, -1.0, 1.0)
        np.testing.assert_allclose(features_after[AHEAD : AHEAD + 3], ahead, atol=1e-5)
        np.testing.assert_allclose(features_after[GOAL_STIFFNESS.start], np.log10(stiffness[0] / 100.0), atol=1e-5)
    assert RECOVERY_STIFFNESS[0][0] <= by_hand[0][2][0] <= RECOVERY_STIFFNESS[0][1]


def test_weights_survive_the_way_through_torch() -> None:
    weights = random_weights()
    networks = CriticNetworks(0, BLIND_FEATURES)
    networks.load_weights(weights)
    again = networks.to_weights(weights)
    for name in weights.dtype.names or ():
        np.testing.assert_array_equal(again[name], weights[name], err_msg=name)


def test_the_training_box_holds_its_share_and_leaves_room() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    features[:, 7] = 1.0  # never changed
    weights = random_weights()
    weights["box_low"], weights["box_high"] = training_box(features, 0.999)
    assert outside_box(weights, features).mean() < 0.001
    strange = np.zeros((3, FEATURES), np.float32)
    strange[:, 7] = 1.0
    strange[0, 3], strange[1, 7], strange[2, 5] = 9.0, 1.5, np.nan
    assert outside_box(weights, strange).all()
    assert (risks_of(weights, strange) == 1.0).all()


def test_returns_know_violation_success_and_an_end_that_was_cut() -> None:
    features = np.zeros((5, FEATURES), np.float32)
    violated = Trajectory(features, 0.1, 0.5, "violation", 0.1)
    over, cut = replace(violated, end="over"), replace(violated, end="cut")
    table = tabulate([violated, over, cut], 0.1, 0.25)
    np.testing.assert_allclose(table.known[:5], [0.0, 0.0, 0.0, np.exp(-2.0), np.exp(-1.0)])
    np.testing.assert_allclose(table.boot[:5], [np.exp(-2.0)] * 3 + [0.0] * 2)
    assert (table.known[5:] == 0.0).all() and (table.boot[8:10] == 0.0).all()
    assert table.later.tolist() == [2, 3, 4, 4, 4, 7, 8, 9, 9, 9, 12, 13, 14, 14, 14]
    assert table.usable.tolist() == [True] * 14 + [False]
    kept, outcomes = realised([cut], 0.1, 0.25)
    assert len(kept) == 3 and not outcomes.any()


def test_the_recorder_ends_at_the_very_tick_of_the_violation() -> None:
    recorder = TrajectoryRecorder(10.0, 3.0, 1e-3, 0.1, stride_ticks=2)
    calm, hard = np.zeros((99, 6)), np.zeros((101, 6))
    hard[60:, 0] = 10.5
    rows = np.arange(200, dtype=np.float32)[:, None] * np.ones((1, FEATURES), np.float32)
    assert not recorder.add(FeatureLog(rows[:99], calm))
    assert recorder.add(FeatureLog(rows[99:], hard))
    trajectory = recorder.finish(over=True, seed=4)
    assert trajectory.violated and trajectory.end_s == pytest.approx(0.161)  # three samples make a peak
    assert trajectory.features[:, 0].tolist() == list(range(0, 161, 2))
    assert violation_index(np.full((50, 6), 0.1), 10.0, 3.0) is None


def test_a_trajectory_survives_its_file(tmp_path: Path) -> None:
    trajectory = wall_trajectory(np.random.default_rng(1))
    save_trajectory(tmp_path / "one.safetensors", trajectory, {"task": "wall"}, RiskCriticConfig())
    again = load_trajectory(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(again.features, trajectory.features)
    assert (again.end, again.end_s, again.interval_s) == (trajectory.end, trajectory.end_s, trajectory.interval_s)


def critic_with(weights: Any, calibration: Calibration | None) -> Critic:
    return Critic(weights, 0.3, "maze", task_config={"bolts": 2}, calibration=calibration)


def test_the_gate_refuses_a_critic_that_knows_nothing(wall: Any, tmp_path: Path) -> None:
    good, held, _ = wall
    path = tmp_path / "critic.safetensors"
    nothing = constant_weights(0.5)
    nothing["discount"] = good["discount"]
    save_critic(path, critic_with(nothing, calibrate(nothing, held, 0.02, 0.3)))
    with pytest.raises(
        UserError, match=r"does not pass its calibration gate: calibration error 0\.\d+ .*false reflexes"
    ):
        load_critic(path)
    assert load_critic(path, override_gate=True).threshold == 0.3
    save_critic(path, critic_with(good, None))
    with pytest.raises(UserError, match="was not calibrated: run robot-rl safety calibrate"):
        load_critic(path)


def test_a_calibrated_critic_survives_its_file(wall: Any, tmp_path: Path) -> None:
    weights, held, _ = wall
    path = tmp_path / "critic.safetensors"
    save_critic(path, critic_with(weights, calibrate(weights, held, 0.02, 0.3)))
    again = load_critic(path)
    assert again.task_config == {"bolts": 2} and again.calibration is not None
    assert again.calibration.recall >= 0.95
    for name in weights.dtype.names or ():
        np.testing.assert_array_equal(again.weights[name], weights[name], err_msg=name)
    assert time_constant_of(again.weights) == pytest.approx(TAU_S)


def test_damaged_files_and_nan_are_refused_in_one_line(wall: Any, tmp_path: Path) -> None:
    weights, held, _ = wall
    path = tmp_path / "critic.safetensors"
    broken = weights.copy()
    broken["second"][0, 1, 2] = np.nan
    save_critic(path, critic_with(broken, calibrate(weights, held, 0.02, 0.3)))
    with pytest.raises(UserError, match="NaN or infinite"):
        load_critic(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_critic(path)


def test_nothing_is_said_of_recall_without_violations() -> None:
    calm = Trajectory(np.zeros((10, FEATURES), np.float32), 0.005, 0.05, "over", 0.1)
    with pytest.raises(UserError, match="expected episodes with violations"):
        calibrate(constant_weights(0.1), [calm], 0.05)
