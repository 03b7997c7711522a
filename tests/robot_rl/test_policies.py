from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.errors import UserError
from data.normalisation import Normaliser
from robot_rl.config import CollectConfig, PretrainConfig
from robot_rl.policies.diffusion import DiffusionConfig, DiffusionPolicy
from robot_rl.policies.encoders import make_encoder
from robot_rl.policies.pretrain import pretrain
from robot_rl.training.recipe import AgentRecipe
from robot_rl.workflows import collect
from robot_rl.workflows import pretrain as pretrain_workflow

F32 = NDArray[np.float32]
torch.set_num_threads(1)
SMALL = DiffusionConfig(horizon=4, width=64, blocks=1, steps=400, batch_size=64)


def demonstrations(rng: np.random.Generator, count: int = 20, length: int = 30) -> tuple[list[F32], list[F32]]:
    """A point driven to 0 by either of two speeds: two modes, of which the mean is neither."""
    observations, actions = [], []
    for _ in range(count):
        x, speed = rng.uniform(-1, 1, 2), rng.choice([0.4, 0.8])
        seen, done = [x], []
        for _ in range(length):
            done.append(-speed * np.sign(x))
            x = x + 0.1 * done[-1]
            seen.append(x)
        observations.append(np.array(seen, np.float32))
        actions.append(np.array(done, np.float32))
    return observations, actions


@pytest.fixture(scope="module")
def policy() -> DiffusionPolicy:
    observations, actions = demonstrations(np.random.default_rng(0))
    config = replace(SMALL, prediction="sample")
    return pretrain(observations, actions, config, np.random.default_rng(1), None, ("x", "y"), ("point",))


def noise_for(policy: DiffusionPolicy, rows: int, n: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal((rows, n, policy.noise_size), np.float32)


def test_imitates_within_the_demonstrated_range_and_varies_with_the_noise(policy: DiffusionPolicy) -> None:
    obs = np.array([[0.5, -0.5]], np.float32)
    first = policy.base(obs, noise_for(policy, 1, 64), 64)[0, :, 0]
    assert first.shape == (64, 2) and np.abs(first).max() <= 0.8 + 1e-5
    assert (first[:, 0] < 0).mean() > 0.9 and (first[:, 1] > 0).mean() > 0.9
    assert np.ptp(first[:, 0]) > 0.05


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_what_the_network_predicts_is_a_choice(prediction: str) -> None:
    observations, actions = demonstrations(np.random.default_rng(0))
    config = replace(SMALL, prediction=prediction)
    policy = pretrain(observations, actions, config, np.random.default_rng(1))
    first = policy.base(np.array([[0.5, -0.5]], np.float32), noise_for(policy, 1, 64), 64)[0, :, 0]
    assert (first[:, 0] < 0).mean() > 0.65 and (first[:, 1] > 0).mean() > 0.65


def test_trap_11_equal_noise_gives_equal_chunks_whatever_else_is_in_the_batch(policy: DiffusionPolicy) -> None:
    obs = np.random.default_rng(2).uniform(-1, 1, (9, 2)).astype(np.float32)
    noise = noise_for(policy, 9, 3)
    chunks = policy.base(obs, noise, 3)
    assert chunks.shape == (9, 3, 4, 2)
    np.testing.assert_array_equal(policy.base(obs, noise, 3), chunks)
    for row in range(9):
        alone = policy.base(obs[row : row + 1], noise[row : row + 1], 3)
        np.testing.assert_allclose(alone[0], chunks[row], atol=1e-5)
    single = policy.base(obs, noise[:, 1], 1)
    np.testing.assert_allclose(single[:, 0], chunks[:, 1], atol=1e-5)


def test_trap_12_the_normalisers_are_saved_with_the_policy(policy: DiffusionPolicy, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    policy.save(path)
    loaded = DiffusionPolicy.load(path, obs_size=2, action_names=("x", "y"), obs_keys=("point",))
    obs, noise = np.array([[0.3, 0.9]], np.float32), noise_for(policy, 1, 2)
    np.testing.assert_array_equal(loaded.base(obs, noise, 2), policy.base(obs, noise, 2))
    assert loaded.config == policy.config
    np.testing.assert_array_equal(loaded.obs_normaliser.scale, policy.obs_normaliser.scale)


def test_weights_of_another_task_are_refused_with_both_sides_told(policy: DiffusionPolicy, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    policy.save(path)
    for wanted, message in [
        ({"obs_size": 3}, "its observation width is 2, the task's is 3; pretrain a policy for this task"),
        ({"action_names": ("x", "z")}, r"its action names is \('x', 'y'\), the task's is \('x', 'z'\)"),
        ({"obs_keys": ("pose",)}, r"its observation keys is \('point',\), the task's is \('pose',\)"),
    ]:
        with pytest.raises(UserError, match=message):
            DiffusionPolicy.load(path, **wanted)  # type: ignore[arg-type]
    recipe = AgentRecipe("residual", 2, ("x", "y"), {}, str(path), obs_keys=("pose",))
    with pytest.raises(UserError, match=r"its observation keys is \('point',\)"):
        AgentRecipe.from_json(json.loads(json.dumps(recipe.to_json()))).build()
    assert replace(recipe, obs_keys=("point",)).build().base.obs_keys == ("point",)
    assert replace(recipe, obs_keys=()).build().base.obs_keys == ("point",)
    Normaliser.fit(np.zeros((2, 2))).save(path)
    with pytest.raises(UserError, match="is not a diffusion policy"):
        DiffusionPolicy.load(path)


def test_equal_seeds_train_equal_policies_and_leave_global_generators_alone() -> None:
    observations, actions = demonstrations(np.random.default_rng(0), 3)
    short, before = replace(SMALL, steps=5), torch.random.get_rng_state()
    first, second = (pretrain(observations, actions, short, np.random.default_rng(4)) for _ in range(2))
    for name, value in first.modules().state_dict().items():
        assert torch.equal(second.modules().state_dict()[name], value), name
    assert torch.equal(torch.random.get_rng_state(), before)


def test_demonstrations_that_cannot_be_learned_from_are_refused() -> None:
    good, broken = np.zeros((4, 2), np.float32), np.full((4, 2), np.nan, np.float32)
    cases: list[tuple[list[F32], list[F32], str]] = [
        ([], [], "needs demonstrations with at least one step each, got 0 observation and 0 action arrays"),
        ([good], [broken], "demonstration 0 has numbers that are not finite"),
        ([good[:2]], [good], r"expected shapes \(T, n_obs\) and \(T, A\), got \(2, 2\) and \(4, 2\)"),
        ([good, good[:, :1]], [good, good], "demonstrations differ in their"),
    ]
    for observations, actions, message in cases:
        with pytest.raises(UserError, match=message):
            pretrain(observations, actions, SMALL, np.random.default_rng(0))


def test_an_image_at_the_end_of_the_observation_goes_through_the_convolutions(tmp_path: Path) -> None:
    rng, shape = np.random.default_rng(0), (16, 20, 3)
    size = 2 + int(np.prod(shape))
    obs = [np.concatenate([rng.normal(size=(6, 2)), rng.integers(0, 256, (6, size - 2))], 1).astype(np.float32)]
    config = replace(SMALL, encoder="conv", image_shape=shape, steps=3)
    policy = pretrain(obs, [rng.uniform(-1, 1, (5, 2)).astype(np.float32)], config, rng)
    noise = noise_for(policy, 6, 1)
    chunks = policy.base(obs[0], noise, 1)
    changed = obs[0].copy()
    changed[:, 2:] = 255.0 - changed[:, 2:]
    assert np.abs(policy.base(changed, noise, 1) - chunks).max() > 1e-4
    policy.save(tmp_path / "p")
    np.testing.assert_array_equal(DiffusionPolicy.load(tmp_path / "p").base(obs[0], noise, 1), chunks)


def test_encoders_are_found_by_name_and_check_their_input() -> None:
    encoder: Any = make_encoder("conv", 3, (32, 32, 1))
    pixels = torch.randint(0, 256, (2, 1024), dtype=torch.uint8)
    assert encoder(torch.cat([torch.zeros(2, 3, dtype=torch.uint8), pixels], 1)).shape == (2, encoder.width)
    with pytest.raises(UserError, match="unknown encoder 'vit': valid ones: conv, state"):
        make_encoder("vit", 3, None)
    with pytest.raises(UserError, match="'state' takes no image"):
        make_encoder("state", 3, (32, 32, 1))
    with pytest.raises(UserError, match="'conv' needs image_shape"):
        make_encoder("conv", 3, None)


def test_settings_out_of_bounds_are_refused() -> None:
    with pytest.raises(UserError, match="sample_times=99 does not fit: expected a number from 1 to train_times=50"):
        DiffusionConfig(sample_times=99)


@pytest.mark.slow
def test_the_imitated_base_of_the_insertion_leaves_something_to_learn(tmp_path: Path) -> None:
    """Between half and four fifths, with the settings of the published experiment."""
    task: dict[str, Any] = {"task": "peg_insertion", "variant": "default", "seed": 1}
    demos = str(tmp_path / "demos.zarr")
    collect.run(CollectConfig(out=demos, episodes=20, **task))
    figures = pretrain_workflow.run(PretrainConfig(out=str(tmp_path / "base"), data=demos, **task))
    assert figures["episodes"] == 100
    assert 0.5 <= figures["success_rate"] <= 0.8
