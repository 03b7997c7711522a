from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from controllers.types import Source
from data.errors import UserError
from robot_rl.learning.config import SacConfig
from robot_rl.learning.gaussian import draw, head_gradient
from robot_rl.learning.networks import EPSILON, Layer, Mlp, Tape
from robot_rl.learning.optimiser import Adam
from robot_rl.learning.replay import Batch
from robot_rl.learning.sac import ActorView, Sac, place

SMALL = SacConfig(hidden=(16, 8), batch_size=8, critics=3, subset=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_forward(layers: list[Layer], x: Tensor) -> Tensor:
    """The network written for automatic differentiation."""
    for layer in layers[:-1]:
        x = torch.baddbmm(layer.bias, x, layer.weight)
        if layer.gain is not None and layer.shift is not None:
            x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON) * layer.gain + layer.shift
        x = x.relu()
    return torch.baddbmm(layers[-1].bias, x, layers[-1].weight)


def some_batch(obs_size: int, action_size: int, count: int = 8, demos: int = 4) -> Batch:
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    return Batch(
        normal(count, obs_size), np.tanh(normal(count, action_size)), normal(count), normal(count, obs_size),
        np.full(count, 0.9, np.float32), (np.arange(count) % 3 > 0).astype(np.float32),
        np.full(count, Source.SCRIPTED, np.int64), np.arange(count) >= count - demos,
    )  # fmt: skip


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("sizes", [(5, 16, 8, 3), (5, 16, 8, 1), (5, 7, 1)])
def test_written_out_gradients_agree_with_automatic_differentiation(sizes: tuple[int, ...], layer_norm: bool) -> None:
    net = Mlp(sizes, 3, layer_norm, generator())
    net.flat += 0.2 * torch.randn(net.flat.shape, generator=generator(1))
    x, weight = torch.randn(7, 5, generator=generator(2)), torch.randn(3, 7, sizes[-1], generator=generator(3))
    tape = Tape()
    out = net.forward(x, tape)
    input_grad = net.backward(tape, weight, columns=slice(2, 5))
    flat, inputs = net.flat.clone().requires_grad_(), x.clone().requires_grad_()
    expected = plain_forward(net._views(flat), inputs.expand(3, 7, 5))
    (expected * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None and inputs.grad is not None
    torch.testing.assert_close(out, expected.detach())
    torch.testing.assert_close(net.grad, flat.grad, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(input_grad, inputs.grad[:, 2:], atol=2e-5, rtol=1e-4)


def test_single_members_agree_with_the_whole() -> None:
    net = Mlp((5, 16, 8, 3), 4, True, generator())
    x = torch.randn(6, 5, generator=generator(1))
    torch.testing.assert_close(net.forward(x, members=[3, 1]), net.forward(x)[[3, 1]])


def test_adam_agrees_with_torch() -> None:
    ours = torch.randn(50, generator=generator())
    theirs = ours.clone().requires_grad_()
    adam, reference = Adam(ours, 1e-2), torch.optim.Adam([theirs], 1e-2)
    for step in range(5):
        grad = torch.randn(50, generator=generator(step))
        adam.step(grad)
        theirs.grad = grad.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


@given(st.integers(0, 1000))
def test_tanh_gaussian_density_and_gradients(seed: int) -> None:
    head = (2.0 * torch.randn(6, 8, generator=generator(seed), dtype=torch.float64)).requires_grad_()
    noise, wa, wl, wm = torch.randn(4, 6, 4, generator=generator(seed + 1), dtype=torch.float64)
    sample = draw(head, noise, -0.5, 0.5)
    ((sample.action * wa) + (sample.log_prob * wl) + (sample.mean * wm)).sum().backward()
    torch.testing.assert_close(head_gradient(draw(head.detach(), noise, -0.5, 0.5), wa, wl, wm), head.grad)
    normal = torch.distributions.Normal(sample.mean, sample.std)
    u = sample.mean + sample.std * noise
    slope = 1.0 - torch.tanh(u).square()
    expected = normal.log_prob(u) - slope.log()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(sample.log_prob, expected, atol=1e-6, rtol=1e-6)


def actor_loss(sac: Sac, batch: Batch, view: ActorView, noise: Tensor, flat: Tensor) -> Tensor:
    """The actor's loss as documented, for automatic differentiation."""
    head = plain_forward(sac.actor._views(flat), view.x[None])[0]
    sample = draw(head, noise, sac.config.log_std_min, sac.config.log_std_max)
    base = torch.zeros(1) if view.base is None else view.base
    action = (base + view.scale * sample.action).clamp(-1, 1)
    q = plain_forward(sac.critics.layers, torch.cat([torch.from_numpy(batch.obs), action], 1).expand(3, -1, -1))
    loss = sac.log_alpha.exp() * sample.log_prob.sum(1).mean() - q.mean()
    mean = (base + view.scale * torch.tanh(sample.mean)).clamp(-1, 1)[torch.from_numpy(batch.demo)]
    error = mean - torch.from_numpy(batch.action[batch.demo])
    return loss + sac.config.bc_weight * error.square().sum(1).mean()


def test_what_a_recovery_did_in_a_demonstration_is_not_imitated_but_judged() -> None:
    sac, batch = Sac(4, 2, replace(SMALL, bc_weight=0.3), 0), some_batch(4, 2)
    batch.source[[0, 5, 6]] = Source.RECOVERY
    assert batch.imitable.tolist() == [False] * 4 + [True, False, False, True]
    action = torch.tanh(sac.actor.forward(torch.from_numpy(batch.obs))[0][:, :2])
    error = (action - torch.from_numpy(batch.action))[[4, 7]]
    view = ActorView(torch.from_numpy(batch.obs), None, 1.0)
    assert float(sac.actor_step(batch, view)["bc_loss"]) == pytest.approx(float(error.square().sum(1).mean()), rel=1e-5)
    batch.source[:] = Source.RECOVERY
    assert float(sac.actor_step(batch, view)["bc_loss"]) == 0.0
    assert sac.critic_step(batch, torch.zeros(8, 2), None)["y"].shape == (8,)


@pytest.mark.parametrize("on_base", [False, True])
def test_the_actors_gradient_agrees_with_automatic_differentiation(on_base: bool) -> None:
    sac = Sac(4, 2, replace(SMALL, bc_weight=0.3, alpha0=0.2), 0, actor_size=6 if on_base else 4, scale=0.7)
    batch = some_batch(4, 2)
    obs, base = torch.from_numpy(batch.obs), torch.from_numpy(batch.action)
    view = ActorView(torch.cat([obs, base], 1), base, 0.7) if on_base else ActorView(obs, None, 0.7)
    noise = torch.randn((8, 2), generator=torch.Generator().set_state(sac.generator.get_state()))
    flat = sac.actor.flat.clone().requires_grad_()
    actor_loss(sac, batch, view, noise, flat).backward()  # type: ignore[no-untyped-call]
    sac.actor_step(batch, view)
    assert flat.grad is not None
    torch.testing.assert_close(sac.actor.grad, flat.grad, atol=2e-5, rtol=1e-3)


def test_the_critics_target_is_masked_and_discounted_also_with_entropy_backup() -> None:
    for backup in (False, True):
        sac = Sac(4, 2, replace(SMALL, critics=2, subset=2, alpha0=0.5, entropy_backup=backup), 0)
        batch = some_batch(4, 2)
        action, log_prob = torch.zeros(8, 2), torch.linspace(-1, 1, 8)
        pairs = torch.cat([torch.from_numpy(batch.next_obs), action], 1)
        value = sac.targets.forward(pairs)[..., 0].amin(0) - 0.5 * float(backup) * log_prob
        expected = batch.reward + batch.discount * batch.mask * value.numpy()
        np.testing.assert_allclose(sac.critic_step(batch, action, log_prob)["y"].numpy(), expected, rtol=1e-5)
        ended = batch.mask == 0
        np.testing.assert_array_equal(expected[ended], batch.reward[ended])


def test_targets_follow_the_critics_by_tau() -> None:
    sac = Sac(4, 2, replace(SMALL, tau=0.25), 0)
    before = sac.targets.flat.clone()
    sac.critic_step(some_batch(4, 2), torch.zeros(8, 2), None)
    torch.testing.assert_close(sac.targets.flat, before + 0.25 * (sac.critics.flat - before))


def test_trap_9_temperature_does_not_count_the_gripper() -> None:
    dims = np.array([True, True, False])
    with_gripper = Sac(4, 3, SMALL, 0, entropy_dims=dims)
    assert with_gripper.target_entropy == -1.0 and Sac(4, 2, SMALL, 0).target_entropy == -1.0
    batch = some_batch(4, 3)
    sac = Sac(4, 3, SMALL, 0, entropy_dims=dims)
    sac.actor.layers[-1].bias[..., 5] = -3.0  # a nearly deterministic gripper: a log-probability that must not matter
    view = ActorView(torch.from_numpy(batch.obs))
    assert torch.equal(sac.actor_step(batch, view)["entropy"], with_gripper.actor_step(batch, view)["entropy"])
    assert torch.equal(sac.log_alpha, with_gripper.log_alpha)


def test_trap_10_entropy_of_a_scaled_action_is_corrected_by_log_beta() -> None:
    batch = some_batch(4, 2)
    figures: list[tuple[float, float, float]] = []
    view = ActorView(torch.from_numpy(batch.obs))
    for scale in (1.0, 0.1):
        sac = Sac(4, 2, SMALL, 0, scale=scale)
        _, log_prob = sac.propose(replace(view, scale=scale))
        entropy = sac.actor_step(batch, replace(view, scale=scale))["entropy"]
        figures.append((log_prob.mean().item(), entropy.item() - sac.target_entropy, sac.log_alpha.item()))
    whole, scaled = figures
    assert scaled[0] == pytest.approx(whole[0] - 2 * math.log(0.1), rel=1e-4)
    assert scaled[1] == pytest.approx(whole[1], abs=1e-4) and scaled[2] == pytest.approx(whole[2], abs=1e-6)


def test_trap_16_critics_for_the_target_are_drawn_anew_and_without_replacement() -> None:
    sac = Sac(4, 2, replace(SMALL, critics=5, subset=2), 0)
    drawn = [tuple(sac.draw_members() or ()) for _ in range(400)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert {frozenset(pair) for pair in drawn} == {frozenset((a, b)) for a in range(5) for b in range(a)}
    obs, action = torch.zeros(1, 4), torch.zeros(1, 2)
    every = sac.targets.forward(torch.cat([obs, action], 1))[:, 0, 0]
    pairs = {round(min(float(every[a]), float(every[b])), 5) for a in range(5) for b in range(a)}
    assert {round(float(sac.target_value(obs, action, sac.draw_members())), 5) for _ in range(100)} == pairs


def test_trap_16_each_critic_update_draws_its_own_critics_once() -> None:
    sac, batch, action = Sac(4, 2, replace(SMALL, critics=5, subset=2), 0), some_batch(4, 2), torch.zeros(8, 2)
    pairs = torch.cat([torch.from_numpy(batch.next_obs), action], 1)
    twin = np.random.default_rng([0, 1])  # the generator that the learner has from its seed
    used = set()
    for _ in range(12):
        members = twin.permutation(5)[:2]
        value = sac.targets.forward(pairs)[members, :, 0].amin(0).numpy()
        y = sac.critic_step(batch, action, None)["y"].numpy()
        np.testing.assert_allclose(y, batch.reward + batch.discount * batch.mask * value, rtol=1e-5)
        used.add(frozenset(members.tolist()))
    assert len(used) > 3
    assert sac.rng.bit_generator.state == twin.bit_generator.state, "one draw an update"


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(1, 100))
def test_actions_never_leave_their_box(base: int, output: int, scale: int) -> None:
    view = ActorView(torch.zeros(1, 1), torch.tensor([[base / 100]]), scale / 100)
    assert abs(place(torch.tensor([[output / 100]]), view).item()) <= 1.0


def test_weights_of_another_width_are_refused() -> None:
    state = Sac(4, 2, SMALL, 0).state()
    with pytest.raises(UserError, match=r"weights 'actor' have \d+ numbers, this agent needs \d+"):
        Sac(5, 2, SMALL, 0).load_state(state)


def test_every_part_of_a_saved_state_is_checked() -> None:
    whole = Sac(4, 2, SMALL, 0).state()
    assert {"critic_adam.mean", "critic_adam.square", "alpha_adam.steps", "generator", "rng"} < set(whole)
    for name, array in whole.items():
        lacking = {key: value for key, value in whole.items() if key != name}
        with pytest.raises(UserError, match=f"weights have no array '{name}': expected one of {array.size} numbers"):
            Sac(4, 2, SMALL, 0).load_state(lacking)
        longer = whole | {name: np.append(array, array)}
        with pytest.raises(UserError, match=f"weights '{name}' have {2 * array.size} numbers, this agent needs"):
            Sac(4, 2, SMALL, 0).load_state(longer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"critics": 2, "subset": 3}, "subset=3 does not fit: expected a number from 1 to critics=2"),
        ({"gamma": 1.5}, "gamma=1.5 does not fit"),
        ({"hidden": ()}, "one or more widths"),
        ({"alpha0": float("nan")}, "alpha0=nan does not fit"),
        ({"log_std0": 9.0}, "log_std0=9.0 does not fit"),
    ],
)
def test_settings_out_of_bounds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SacConfig(**options)


def test_flat_vector_holds_every_layer_once() -> None:
    net = Mlp((5, 16, 8, 3), 4, True, generator())
    count = sum(4 * (a * b + b) for a, b in pairwise((5, 16, 8, 3))) + 4 * 2 * (16 + 8)
    assert net.flat.numel() == net.grad.numel() == count
