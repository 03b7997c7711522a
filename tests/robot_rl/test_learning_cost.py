"""An energy budget in the learner: targets, gradients, the multiplier, and that nothing changes without one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from data.errors import UserError
from robot_rl.agents.base import AgentSpec
from robot_rl.agents.registry import make_agent
from robot_rl.learning.config import SacConfig
from robot_rl.learning.cost import CostCritic, Multiplier
from robot_rl.learning.gaussian import draw
from robot_rl.learning.networks import EPSILON, Layer
from robot_rl.learning.replay import Batch, Replay
from robot_rl.learning.sac import ActorView, Sac
from tests.robot_rl.training_fakes import TINY, PoorBase

BUDGET_J = 4.0
SMALL = SacConfig(hidden=(16, 8), batch_size=8, critics=3, subset=2, energy_budget_j=BUDGET_J)


def plain_forward(layers: list[Layer], x: Tensor) -> Tensor:
    """The network written for automatic differentiation."""
    for layer in layers[:-1]:
        x = torch.baddbmm(layer.bias, x, layer.weight)
        if layer.gain is not None and layer.shift is not None:
            x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON) * layer.gain + layer.shift
        x = x.relu()
    return torch.baddbmm(layers[-1].bias, x, layers[-1].weight)


def some_batch(count: int = 8) -> Batch:
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    action = np.tanh(normal(count, 2))
    return Batch(
        normal(count, 4), action, normal(count), normal(count, 4), rng.uniform(0.5, 1, count).astype(np.float32),
        (np.arange(count) % 3 > 0).astype(np.float32), np.zeros(count, np.int64), np.zeros(count, np.bool_),
        cost=np.abs(normal(count)), proposed=action,
    )  # fmt: skip


def shaken(config: SacConfig, price: float, **named: Any) -> tuple[Sac, CostCritic]:
    """A learner whose cost critics differ, now one the higher and now the other, and its multiplier set."""
    sac = Sac(4, 2, config, 0, **named)
    assert sac.cost is not None
    for net in (sac.cost.critics, sac.cost.targets, sac.critics):
        net.flat += 0.3 * torch.randn(net.flat.shape, generator=torch.Generator().manual_seed(7))
    batch = some_batch()
    pairs = torch.cat([torch.from_numpy(batch.next_obs), torch.from_numpy(batch.action)], 1)
    for net in (sac.cost.critics, sac.cost.targets):
        net.layers[-1].bias -= net.forward(pairs).mean(1, keepdim=True)
    sac.cost.multiplier.value = price
    return sac, sac.cost


def test_the_target_is_the_energy_in_budgets_and_the_discounted_higher_of_both_critics() -> None:
    _, cost = shaken(SMALL, 0.0)
    batch, action = some_batch(), torch.linspace(-1, 1, 16).view(8, 2)
    pairs = torch.cat([torch.from_numpy(batch.next_obs), action], 1)
    both = cost.targets.forward(pairs)[..., 0].numpy()
    expected = batch.cost / BUDGET_J + batch.discount * batch.mask * both.max(0)
    np.testing.assert_allclose(cost.step(batch, action)["cost_y"].numpy(), expected, rtol=1e-5)
    assert (both.argmax(0) == 0).any() and (both.argmax(0) == 1).any()
    ended = batch.mask == 0
    np.testing.assert_allclose(expected[ended], batch.cost[ended] / BUDGET_J)


def test_the_cost_critics_gradient_agrees_with_automatic_differentiation() -> None:
    _, cost = shaken(SMALL, 0.0)
    batch, action = some_batch(), torch.zeros(8, 2)
    pairs = torch.cat([torch.from_numpy(batch.next_obs), action], 1)
    later = cost.targets.forward(pairs)[..., 0].amax(0)
    y = torch.from_numpy(batch.cost) / BUDGET_J + torch.from_numpy(batch.discount * batch.mask) * later
    flat = cost.critics.flat.clone().requires_grad_()
    here = torch.cat([torch.from_numpy(batch.obs), torch.from_numpy(batch.action)], 1)
    q = plain_forward(cost.critics._views(flat), here.expand(2, -1, -1))[..., 0]
    (q - y).square().mean().backward()  # type: ignore[no-untyped-call]
    before = cost.targets.flat.clone()
    cost.step(batch, action)
    assert flat.grad is not None
    torch.testing.assert_close(cost.critics.grad, flat.grad, atol=2e-5, rtol=1e-3)
    torch.testing.assert_close(cost.targets.flat, before + SMALL.tau * (cost.critics.flat - before))


def lagrangian_loss(sac: Sac, batch: Batch, view: ActorView, noise: Tensor, flat: Tensor) -> Tensor:
    """The actor's loss as documented, for automatic differentiation."""
    assert sac.cost is not None
    head = plain_forward(sac.actor._views(flat), view.x[None])[0]
    sample = draw(head, noise, sac.config.log_std_min, sac.config.log_std_max)
    base = torch.zeros(1) if view.base is None else view.base
    action = (base + view.scale * sample.action).clamp(-1, 1)
    pairs = torch.cat([torch.from_numpy(batch.obs), action], 1)
    q = plain_forward(sac.critics.layers, pairs.expand(3, -1, -1)).mean()
    q_cost = plain_forward(sac.cost.critics.layers, pairs.expand(2, -1, -1))[..., 0].max(0).values.mean()
    price = sac.cost.multiplier.value
    return sac.log_alpha.exp() * sample.log_prob.sum(1).mean() - (q - price * q_cost) / (1 + price)


@pytest.mark.parametrize("price", [0.0, 0.3, 7.0])
@pytest.mark.parametrize("on_base", [False, True])
def test_the_actors_gradient_agrees_with_automatic_differentiation(on_base: bool, price: float) -> None:
    sac, _ = shaken(replace(SMALL, alpha0=0.2), price, actor_size=6 if on_base else 4, scale=0.7)
    batch = some_batch()
    obs, base = torch.from_numpy(batch.obs), torch.from_numpy(batch.action)
    view = ActorView(torch.cat([obs, base], 1), base, 0.7) if on_base else ActorView(obs, None, 0.7)
    noise = torch.randn((8, 2), generator=torch.Generator().set_state(sac.generator.get_state()))
    flat = sac.actor.flat.clone().requires_grad_()
    lagrangian_loss(sac, batch, view, noise, flat).backward()  # type: ignore[no-untyped-call]
    sac.actor_step(batch, view)
    assert flat.grad is not None
    torch.testing.assert_close(sac.actor.grad, flat.grad, atol=2e-5, rtol=1e-3)


def test_without_a_budget_and_at_price_zero_the_update_is_the_same_to_the_last_bit() -> None:
    """Without a budget nothing of the cost exists; with one that is kept, it exists and moves nothing else."""
    batch, states = some_batch(), {}
    for budget_j in (None, BUDGET_J):
        sac = Sac(4, 2, replace(SMALL, energy_budget_j=budget_j), 0)
        for _ in range(5):
            view = ActorView(torch.from_numpy(batch.obs))
            sac.critic_step(batch, sac.propose(view)[0], None)
            sac.actor_step(batch, view)
        states[budget_j] = sac.state()
    free, kept = states[None], states[BUDGET_J]
    assert set(kept) - set(free) == {
        "cost_critics", "cost_targets", "cost_adam.mean", "cost_adam.square", "cost_adam.steps", "multiplier",
    }  # fmt: skip
    assert not any("cost" in name for name in free)
    for name, array in free.items():
        np.testing.assert_array_equal(array, kept[name], err_msg=name)


def with_episodes(*energies_j: float) -> Replay:
    """A replay of finished episodes, two steps each, and one that goes on."""
    replay, x = Replay(1000, 1, 1), 0.0
    for energy_j in energies_j:
        replay.add([x], [0.0], 0.0, [x + 1], False, False, cost=0.25 * energy_j)
        replay.add([x + 1], [0.0], 0.0, [x + 2], False, True, cost=0.75 * energy_j)
        x += 3
    replay.add([x], [0.0], 0.0, [x + 1], False, False, cost=1000.0)
    return replay


def test_the_multiplier_moves_by_the_documented_step_once_for_ended_episodes() -> None:
    config = replace(SMALL, lambda_rate=0.1, lambda_gain=0.5, energy_window=2)
    multiplier = Multiplier(BUDGET_J, config)
    multiplier.adapt(Replay(10, 1, 1))
    assert multiplier.value == 0.0
    replay = with_episodes(100.0, 6.0, 10.0)
    for _ in range(3):  # the newest two took 8 J in the mean: e = 1
        multiplier.adapt(replay)
        assert multiplier.value == pytest.approx(0.1 + 0.5) and multiplier.energy_j == pytest.approx(8.0)
    multiplier.adapt(with_episodes(0.0, 0.0, 4.0, 8.0))  # e = 0.5
    assert multiplier.value == pytest.approx(0.15 + 0.25)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.floats(0.0, 10.0), st.floats(0.0, 10.0))
def test_the_multiplier_stays_within_its_bounds(energies_j: list[float], rate: float, gain: float) -> None:
    config = replace(SMALL, lambda_rate=rate, lambda_gain=gain, lambda_max=3.0)
    multiplier = Multiplier(BUDGET_J, config)
    for count in range(1, len(energies_j) + 1):
        multiplier.adapt(with_episodes(*energies_j[:count]))
        assert 0.0 <= multiplier.value <= 3.0
    if max(energies_j) < 0.99 * BUDGET_J:
        assert multiplier.value == 0.0, "a budget that was never exceeded has no price"


def test_expo_chooses_the_candidate_of_the_highest_value_less_the_price_of_its_cost() -> None:
    options = TINY | {"candidates": 4, "edits": 0, "warm_up": 0, "energy_budget_j": BUDGET_J}
    agent: Any = make_agent("expo", AgentSpec(2, 1), options, PoorBase())
    sac = agent.sac
    for net in (sac.cost.targets, sac.targets):
        net.flat += torch.randn(net.flat.shape, generator=torch.Generator().manual_seed(2))
    obs, base = torch.rand(50, 2), 2 * torch.rand(50, 4, 1) - 1
    free = agent.choose(obs, base, None, deterministic=True)[1]
    sac.cost.multiplier.value = 3.0
    _, index, value = agent.choose(obs, base, None, deterministic=True)
    pairs = torch.cat([obs.repeat_interleave(4, 0), base.view(200, 1)], 1)
    q, q_cost = (net.forward(pairs)[..., 0] for net in (sac.targets, sac.cost.targets))
    expected = ((q.amin(0) - 3.0 * q_cost.amax(0)) / 4.0).view(50, 4)
    torch.testing.assert_close(value, expected.amax(1))
    assert torch.equal(index, expected.argmax(1)) and not torch.equal(index, free)
    elsewhere: Any = make_agent("expo", AgentSpec(2, 1), options, PoorBase(), seed=9)
    elsewhere.load_weights(agent.weights())
    assert torch.equal(elsewhere.choose(obs, base, None, deterministic=True)[1], index)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dsrl", {"energy_budget_j": 1.0}, "energy_budget_j=1.0 does not fit: expected null, as dsrl's actor follows"),
        ("rlpd", {"energy_budget_j": 0.0}, "expected a finite number above 0, or null for no budget"),
        ("rlpd", {"energy_budget_j": float("nan")}, "expected a finite number above 0, or null for no budget"),
        ("rlpd", {"lambda_max": 0.0}, "lambda_max=0.0 does not fit: expected a finite number above 0"),
        ("rlpd", {"lambda_rate": -1.0}, "lambda_rate=-1.0 does not fit: expected a finite number of at least 0"),
        ("rlpd", {"energy_window": 101}, "energy_window=101 does not fit: expected a number from 1 to 100"),
    ],
)
def test_budgets_that_do_not_fit_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_agent(name, AgentSpec(2, 1), TINY | options, PoorBase() if name == "dsrl" else None)


def test_a_state_saved_without_a_budget_is_refused_by_an_agent_with_one() -> None:
    with pytest.raises(UserError, match="weights have no array 'cost_critics'"):
        Sac(4, 2, SMALL, 0).load_state(Sac(4, 2, replace(SMALL, energy_budget_j=None), 0).state())
