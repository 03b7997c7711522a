"""A critic may see depth and tilt about the task's surface; one that does not is to the last bit what it was."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.envs.make import chain_of
from robot_rl.learning.torch_setup import quick_torch
from robot_rl.safety_critic.inference import risks_of
from robot_rl.safety_critic.networks import CriticNetworks
from robot_rl.safety_critic.training import CriticTrainer, CriticTrainingConfig
from robot_rl.safety_critic.trajectories import Trajectory
from robot_rl.tasks.registry import make_task
from safety.reference_limiter import ReferenceLimiterConfig
from safety.risk_critic import RiskCriticConfig, dense, risk_of_features
from safety.risk_memory import ACTION_FEATURES, BLIND_FEATURES, FEATURE_NAMES, FEATURES, PLACE_FEATURES, RISK, WIDTH
from safety.risk_weights import WeightsRefusal, examine_weights, inputs_of
from tests.safety.critic_tools import random_weights, reference_risk

SHORT = CriticTrainingConfig(updates=10, batch_size=64)
DEPTH = FEATURE_NAMES.index("depth")


def remembered(weights: Any, features: Any) -> tuple[float, Any]:
    """What the tick says of these features, and its memory afterwards."""
    risk = np.zeros(1, RISK)
    risk["features"] = features
    return float(risk_of_features(weights.reshape(1)[0], risk[0])), risk[0]


def tick(weights: Any, features: Any) -> tuple[float, int]:
    """The risk, and whether the features lie outside the training box."""
    value, risk = remembered(weights, features)
    return value, int(risk["outside"])


def narrow_hidden(weights: Any, features: Any, net: int) -> list[Any]:
    """Both hidden layers as networks without inputs for places compute them, by the tick's own kernel."""
    seen = slice(BLIND_FEATURES)
    x = ((features - weights["centre"]) * weights["inverse_scale"])[seen].astype(np.float32)
    layers = [np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)]
    dense(x, np.ascontiguousarray(weights["first"][net, seen]), weights["first_bias"][net], layers[0])
    dense(layers[0], weights["second"][net], weights["second_bias"][net], layers[1])
    return layers


def episodes(seed: int, count: int = 8) -> list[Trajectory]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        features = rng.normal(size=(300, FEATURES)).astype(np.float32)
        found.append(Trajectory(features, 0.002, 0.6, "violation" if number % 2 else "over", 0.1, number))
    return found


def trained(surface: tuple[float, ...] | None) -> Any:
    chain = chain_of(make_task("maze"))
    trainer = CriticTrainer(SHORT, replace(chain, critic=replace(chain.critic, surface=surface)))
    trainer.add(episodes(0))
    with quick_torch():
        trainer.fit()
    return trainer.weights()


def test_places_come_after_all_that_a_blind_critic_sees() -> None:
    assert FEATURE_NAMES[PLACE_FEATURES] == ("depth", "reference_depth", "tilt_x", "tilt_y")
    assert {name.rsplit("_", 1)[0] for name in FEATURE_NAMES[ACTION_FEATURES]} == {"ahead", "goal_stiffness"}
    assert (BLIND_FEATURES, FEATURES) == (44, 48)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_blind_critic_says_to_the_last_bit_what_it_said_before_there_were_places(seed: int) -> None:
    weights, features = random_weights(seed=seed), np.random.default_rng(seed).normal(size=FEATURES).astype(np.float32)
    features[PLACE_FEATURES] = 0.0
    value, risk = remembered(weights, features)
    np.testing.assert_array_equal(risk["hidden"], narrow_hidden(weights, features, net=1))  # the one that came last
    assert value == pytest.approx(reference_risk(weights, features)[0], abs=1e-6) and not risk["outside"]


def test_the_maze_is_blind_in_task_training_and_weights() -> None:
    assert chain_of(make_task("maze")).critic.surface is None
    recipe = make_task("maze").critic_recipe
    assert recipe is not None and [dict(changes) for changes in recipe.held_out_configs] == [{}]
    assert not recipe.critic_config, "it is trained and judged as it was"
    weights = trained(None)
    assert inputs_of(weights) == BLIND_FEATURES
    assert not weights["first"][:, BLIND_FEATURES:].any() and not weights["centre"][BLIND_FEATURES:].any()
    assert (weights["box_high"][BLIND_FEATURES:] > 1e20).all() and (weights["box_low"][BLIND_FEATURES:] < -1e20).all()
    elsewhere = np.zeros((4, FEATURES), np.float32)
    elsewhere[:, PLACE_FEATURES] = [[0.0] * 4, [3.0] * 4, [-9.0] * 4, [1e6] * 4]
    assert len(set(risks_of(weights, elsewhere))) == 1


def test_the_peg_sees_the_plate_and_is_afraid_of_depths_that_it_never_trained_at() -> None:
    surface = chain_of(make_task("peg_insertion")).critic.surface
    assert surface is not None and surface == chain_of(make_task("peg_insertion", "tight")).critic.surface
    weights = trained(surface)
    assert inputs_of(weights) == FEATURES and weights["first"][:, PLACE_FEATURES].any()
    inside = np.zeros(FEATURES, np.float32)
    assert tick(weights, inside)[0] < 1.0
    for edge, beyond in (("box_low", -0.01), ("box_high", 0.01)):
        features = inside.copy()
        features[DEPTH] = weights[edge][DEPTH] + beyond
        assert tick(weights, features) == (1.0, 1)
        assert risks_of(weights, features[None])[0] == 1.0


def test_weights_for_another_surface_are_refused() -> None:
    here, there = (0.45, 0.0, 0.12, 0.0, 0.0, -1.0), (0.45, 0.0, 0.15, 0.0, 0.0, -1.0)
    for wanted, given_surface in ((here, there), (here, None), (None, here)):
        record = RiskCriticConfig(surface=wanted).to_record(ReferenceLimiterConfig(), 1e-3)
        weights = random_weights(config=RiskCriticConfig(surface=given_surface))
        assert examine_weights(weights, 0, record) == WeightsRefusal.LIMITS
        assert examine_weights(random_weights(config=RiskCriticConfig(surface=wanted)), 0, record) == 0


@pytest.mark.parametrize("surface", [(0.0,) * 6, (0.1, 0.0, 0.0), (math.nan, 0.0, 0.0, 0.0, 0.0, 1.0)])
def test_a_surface_is_a_point_and_a_unit_vector(surface: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"surface must be a point \(3\) \[m\] and a unit vector \(3\)"):
        RiskCriticConfig(surface=surface)


def test_networks_do_not_go_on_from_weights_that_see_something_else() -> None:
    with pytest.raises(ValueError, match="expected networks that see 48 features, got some that see 44"):
        CriticNetworks(0).load_weights(random_weights())


def test_the_pegs_critic_is_made_of_steady_and_of_trembling_operators() -> None:
    recipe = make_task("peg_insertion").critic_recipe
    assert recipe is not None
    for changes in (recipe.task_configs, recipe.held_out_configs):
        noises = [make_task("peg_insertion", "default", dict(change)).config.operator_noise for change in changes]  # type: ignore[attr-defined]
        assert noises[0] == 0.14 and max(noises) >= 0.4
