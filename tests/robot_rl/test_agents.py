from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import robot_rl.agents
from controllers.types import Source
from data.errors import UserError
from robot_rl.agents.base import AgentSpec
from robot_rl.agents.registry import agent_class, agent_names, make_agent
from robot_rl.learning.replay import Batch, Replay
from robot_rl.learning.sac import ActorView

F32 = NDArray[np.float32]
torch.set_num_threads(1)
SMALL: dict[str, Any] = {"hidden": (32, 32), "batch_size": 64, "actor_rate": 1e-3, "critic_rate": 1e-3}
ON_BASE = ["residual", "expo", "dsrl"]


class LinearBase:
    """A poor base policy: steps towards 0 instead of 0.5, moved by its noise."""

    obs_size, action_size, horizon, execute = 1, 1, 4, 1

    def base(self, obs: F32, noise: F32, n: int) -> F32:
        shaped = noise.reshape(len(obs), n, self.horizon, self.action_size)
        return np.clip(-obs[:, None, None] + 0.5 * shaped, -1, 1).astype(np.float32)


def make(name: str, seed: int = 0, **options: Any) -> Any:
    base = None if name == "rlpd" else LinearBase()
    return make_agent(name, AgentSpec(1, 1), SMALL | options, base, seed)


class Reach:
    """A 1-D task: get within 0.1 of 0.5 by steps of up to 0.2, reward 1 there."""

    def __init__(self, agent: Any, seed: int = 0) -> None:
        self.agent, self.rng = agent, np.random.default_rng(seed)
        self.replay = Replay(5000, 1, 1, agent.extras_shapes)
        self.sampler = agent.make_sampler(self.replay, None)
        self.sources: list[int] = []

    def episode(self, learn: bool, limit: int = 15) -> bool:
        x = self.rng.uniform(-1, 1, 1).astype(np.float32)
        self.agent.begin_episode()
        extras = self.agent.prepare(x, self.rng)
        for step in range(limit):
            proposal = self.agent.act(x, extras, deterministic=not learn)
            assert proposal.action.shape == (1,) and proposal.action.dtype == np.float32
            assert np.abs(proposal.action).max() <= 1.0
            y = np.clip(x + 0.2 * proposal.action, -1, 1).astype(np.float32)
            there, following = bool(abs(y[0] - 0.5) < 0.1), self.agent.prepare(y, self.rng)
            if learn:
                self.sources.append(proposal.source)
                self.replay.add(
                    x, proposal.action, float(there), y, there, step == limit - 1, proposal.source, extras, following
                )
                self.agent.update(self.sampler)
            x, extras = y, following
            if there:
                return True
        return False

    def success(self, episodes: int = 20) -> float:
        return float(np.mean([self.episode(learn=False) for _ in range(episodes)]))


@pytest.mark.parametrize("name", ["rlpd", *ON_BASE])
def test_learns_a_small_task_within_a_few_hundred_updates(name: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "rlpd": {},
        "residual": {"scale": 0.6, "warm_up": 50},
        "expo": {"scale": 0.4, "warm_up": 50, "critics": 3},
        "dsrl": {"utd": 1, "bound": 2.5, "warm_up": 50},
    }
    agent = make(name, average_rate=1.0, **options[name])  # so few updates leave no time for an average
    task = Reach(agent)
    before = task.success()
    while agent.updates < 450:
        task.episode(learn=True)
    assert task.success() >= 0.9 > before
    assert all(np.isfinite(value) for value in agent.metrics.values())


@pytest.mark.parametrize("name", ["rlpd", "residual"])
def test_acting_deterministically_takes_the_averaged_actor(name: str) -> None:
    agent = make(name, average_rate=0.25, **({} if name == "rlpd" else {"warm_up": 0}))
    task = Reach(agent)
    task.episode(learn=True)
    sac = agent.sac
    before = sac.average.flat.clone()
    agent.update(task.sampler)
    assert torch.equal(sac.average.flat, torch.lerp(before, sac.actor.flat, 0.25))
    obs = np.array([0.1], np.float32)
    extras = agent.prepare(obs, task.rng)
    steady = agent.act(obs, extras, deterministic=True).action
    sac.actor.flat.zero_()
    assert np.array_equal(agent.act(obs, extras, deterministic=True).action, steady)


@pytest.mark.parametrize("name", ["rlpd", *ON_BASE])
def test_traps_14_and_15_equal_seeds_give_equal_numbers_and_a_resumed_agent_goes_on_to_the_same(name: str) -> None:
    options = {"critics": 3, "subset": 2} | ({} if name == "rlpd" else {"warm_up": 10})
    first = Reach(make(name, **options), seed=3)
    for _ in range(4):
        first.episode(learn=True)
    second = Reach(make(name, **options), seed=3)
    np.random.seed(5)  # noqa: NPY002  the global generators must not matter
    torch.manual_seed(5)
    for _ in range(4):
        second.episode(learn=True)
    for key, value in first.agent.state().items():
        np.testing.assert_array_equal(second.agent.state()[key], value, err_msg=key)
    resumed = make(name, seed=99, **options)
    resumed.load_state(first.agent.state())
    second.agent = resumed
    first.episode(learn=True)
    second.episode(learn=True)
    for key, value in first.agent.state().items():
        np.testing.assert_array_equal(resumed.state()[key], value, err_msg=key)
    assert resumed.metrics == first.agent.metrics


@pytest.mark.parametrize("name", ["rlpd", *ON_BASE])
def test_acting_elsewhere_needs_only_the_weights(name: str) -> None:
    options = {} if name == "rlpd" else {"warm_up": 5}
    task = Reach(make(name, **options))
    for _ in range(3):
        task.episode(learn=True)
    other, obs = make(name, seed=7, **options), np.array([0.3], np.float32)
    other.load_weights(task.agent.weights())
    extras = other.prepare(obs, np.random.default_rng(0))
    np.testing.assert_array_equal(other.act(obs, extras, True).action, task.agent.act(obs, extras, True).action)


@pytest.mark.parametrize("name", ["rlpd", *ON_BASE])
def test_evaluating_leaves_learning_as_it_is(name: str) -> None:
    task = Reach(make(name, critics=3, subset=2, **({} if name == "rlpd" else {"warm_up": 5})))
    for _ in range(3):
        task.episode(learn=True)
    task.agent.begin_episode()
    before = task.agent.state()
    task.success(3)
    task.agent.begin_episode()
    for key, value in before.items():
        np.testing.assert_array_equal(task.agent.state()[key], value, err_msg=key)


@pytest.mark.parametrize("name", ON_BASE)
def test_the_base_acts_alone_during_the_warm_up(name: str) -> None:
    agent = make(name, warm_up=1000)
    obs = np.array([0.3], np.float32)
    extras = agent.prepare(obs, np.random.default_rng(0))
    proposal = agent.act(obs, extras, deterministic=True)
    np.testing.assert_array_equal(proposal.action, extras["base"][0])
    assert proposal.source == Source.BASE


def test_sources_tell_who_acted() -> None:
    for name, expected in [("rlpd", {Source.POLICY}), ("residual", {Source.BASE, Source.RESIDUAL}),
                           ("expo", {Source.BASE, Source.EDIT}), ("dsrl", {Source.BASE, Source.NOISE})]:  # fmt: skip
        task = Reach(make(name, **({} if name == "rlpd" else {"warm_up": 20})))
        while task.agent.updates < 60:
            task.episode(learn=True)
        assert set(task.sources) == expected, name


def test_expo_chooses_the_candidate_that_its_critics_rate_highest() -> None:
    agent = make("expo", warm_up=0, edits=0)
    obs = torch.rand(5, 1)
    base = torch.rand(5, 4, 1)
    action, _, value = agent.choose(obs, base, None, deterministic=True)
    pairs = torch.cat([obs.repeat_interleave(4, 0), base.view(20, 1)], 1)
    q = agent.sac.targets.forward(pairs)[..., 0].amin(0).view(5, 4)
    torch.testing.assert_close(value, q.amax(1))
    torch.testing.assert_close(action, base[torch.arange(5), q.argmax(1)])


def some_batch(agent: Any, count: int = 6) -> Batch:
    """Transitions with what the agent caches of them."""
    rng = np.random.default_rng(4)
    obs, next_obs = rng.uniform(-1, 1, (2, count, 1)).astype(np.float32)
    ones, action = np.ones(count, np.float32), rng.uniform(-1, 1, (count, 1)).astype(np.float32)
    return Batch(
        obs, action, 0.5 * ones, next_obs, 0.9 * ones, ones, np.zeros(count, np.int64), np.zeros(count, np.bool_),
        agent.prepare(obs, rng), agent.prepare(next_obs, rng),
    )  # fmt: skip


def same_draws(sac: Any) -> torch.Generator:
    """A generator that draws what `sac` is about to draw."""
    return torch.Generator().set_state(sac.generator.get_state())


def target_of(agent: Any, batch: Batch, action: Any) -> Any:
    """R + gamma^k m min Q'(s', a'), written out."""
    pairs = torch.cat([torch.from_numpy(batch.next_obs), torch.as_tensor(action)], 1)
    value = agent.sac.targets.forward(pairs)[..., 0].amin(0).numpy()
    return batch.reward + batch.discount * batch.mask * value


def learned(name: str, **options: Any) -> Any:
    """An agent past its warm-up whose actor is no longer near zero."""
    agent = make(name, warm_up=0, **options)
    for net in (agent.sac.actor, agent.noise.actor if name == "dsrl" else agent.sac.actor):
        net.flat += 0.3 * torch.randn(net.flat.shape, generator=torch.Generator().manual_seed(1))
    return agent


def test_the_residuals_target_is_the_value_of_the_corrected_next_base_action() -> None:
    agent = learned("residual", scale=0.3, candidates=2)
    batch = some_batch(agent)
    base, obs = torch.from_numpy(batch.next_extras["base"][:, 0]), torch.from_numpy(batch.next_obs)
    mean, log_std = agent.sac.actor.forward(torch.cat([obs, base], 1))[0].chunk(2, 1)
    u = mean + log_std.clamp(-5, 2).exp() * torch.randn((6, 1), generator=same_draws(agent.sac))
    expected = (base + 0.3 * torch.tanh(u)).clamp(-1, 1)
    wanted = target_of(agent, batch, expected)
    action, log_prob = agent.next_action(batch)
    torch.testing.assert_close(action, expected)
    np.testing.assert_allclose(agent.sac.critic_step(batch, action, log_prob)["y"].numpy(), wanted, rtol=1e-5)


def test_dsrls_target_is_the_value_of_the_action_of_the_chosen_next_noise() -> None:
    agent = learned("dsrl", bound=2.0)
    batch = some_batch(agent)
    mean, log_std = agent.noise.actor.forward(torch.from_numpy(batch.next_obs))[0].chunk(2, 1)
    u = mean + log_std.clamp(-5, 2).exp() * torch.randn((6, 4), generator=same_draws(agent.noise))
    chosen = (2.0 * torch.tanh(u)).numpy()
    expected = LinearBase().base(np.asarray(batch.next_obs, np.float32), chosen[:, None], 1)[:, 0, 0]
    wanted = target_of(agent, batch, expected)
    action, log_prob = agent.next_action(batch)
    np.testing.assert_allclose(action, expected, rtol=1e-5)
    np.testing.assert_allclose(agent.sac.critic_step(batch, action, log_prob)["y"].numpy(), wanted, rtol=1e-5)


class Repeating:
    """A sampler that always returns the same batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def sample(self, rng: np.random.Generator) -> Batch:
        return self.batch


def test_dsrls_entropy_backup_takes_the_noise_policys_temperature() -> None:
    means = {}
    for backup in (False, True):
        agent = learned("dsrl", entropy_backup=backup, utd=1, candidates=2)
        agent.noise.log_alpha.fill_(np.log(0.7))
        batch = some_batch(agent)
        view = ActorView(torch.from_numpy(batch.next_obs), None, agent.config.bound)
        state = agent.noise.generator.get_state()
        _, log_prob = agent.noise.propose(view)
        agent.noise.generator.set_state(state)
        means[backup] = agent.update(Repeating(batch))["target_mean"]
    expected = means[False] - 0.9 * 0.7 * log_prob.mean().item()
    assert means[True] == pytest.approx(expected, rel=1e-4)
    assert abs(means[True] - means[False]) > 0.1


def test_expo_edits_are_among_the_candidates_and_the_target_chooses_as_acting_does() -> None:
    agent = learned("expo", edits=2, candidates=3, critics=4, subset=2, scale=0.5)
    batch = some_batch(agent)
    obs, base = torch.from_numpy(batch.next_obs), torch.from_numpy(batch.next_extras["base"])
    wide, first = obs.repeat_interleave(2, 0), base[:, :2].reshape(12, 1)
    mean, log_std = agent.sac.actor.forward(torch.cat([wide, first], 1))[0].chunk(2, 1)
    u = mean + log_std.clamp(-5, 2).exp() * torch.randn((12, 1), generator=same_draws(agent.sac))
    edited = (first + 0.5 * torch.tanh(u)).clamp(-1, 1).view(6, 2, 1)
    options = torch.cat([base, edited], 1)
    members = [int(i) for i in copy.deepcopy(agent.sac.rng).permutation(4)[:2]]
    pairs = torch.cat([obs.repeat_interleave(5, 0), options.view(30, 1)], 1)
    best = agent.sac.targets.forward(pairs)[members, :, 0].amin(0).view(6, 5).argmax(1)
    action, log_prob = agent.next_action(batch)
    assert log_prob is None
    assert best.max() >= 3, "an edit wins somewhere"
    torch.testing.assert_close(action, options[torch.arange(6), best])
    for row in range(6):  # acting, by the same draws
        twin = learned("expo", edits=2, candidates=3, critics=4, subset=2, scale=0.5)
        expected = twin.choose(obs[row : row + 1], base[row : row + 1], [0, 1], deterministic=True)
        acted = agent.act(batch.next_obs[row], {"base": batch.next_extras["base"][row]}, deterministic=True)
        np.testing.assert_array_equal(acted.action, expected[0][0])
        assert acted.source == (Source.EDIT if int(expected[1]) >= 3 else Source.BASE)


@pytest.mark.parametrize("name", ["residual", "expo", "dsrl"])
def test_trap_10_each_agent_corrects_its_target_entropy_by_its_scale(name: str) -> None:
    scale = {"dsrl": "bound"}.get(name, "scale")
    for given, own in ((None, -0.5 if name != "dsrl" else -2.0), (0.25, 0.25)):
        options: dict[str, Any] = {"target_entropy": given, scale: 0.3}
        agent = make(name, **options)
        learner, dims = (agent.noise, 4) if name == "dsrl" else (agent.sac, 1)
        assert learner.target_entropy == pytest.approx(own + dims * np.log(0.3))


def test_an_agents_own_saved_numbers_are_checked() -> None:
    for name, keys in (("rlpd", ["acting_rng", "updates"]), ("residual", ["chunk_used", "chunks"])):
        agent = make(name)
        for key in keys:
            state = agent.state()
            size = state.pop(key).size
            with pytest.raises(UserError, match=f"weights have no array '{key}': expected one of {size} numbers"):
                agent.load_state(state)


def test_a_helper_module_is_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helper.py").write_text('"""Uses AGENT."""\nraise RuntimeError("imported")\n')
    (tmp_path / "mine.py").write_text("AGENT = dict\n")
    monkeypatch.setattr(robot_rl.agents, "__path__", [*robot_rl.agents.__path__, str(tmp_path)])
    assert agent_names() == ["dsrl", "expo", "mine", "residual", "rlpd"]
    assert agent_class("mine") is dict


def test_names_of_agents_are_found_without_torch() -> None:
    program = "import sys, robot_rl.agents.registry as registry; registry.agent_names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_chunks_are_used_in_order_also_for_recorded_episodes() -> None:
    agent = make("residual", replan=3)
    observations = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    recorded = agent.prepare_episode(observations, np.random.default_rng(0))["base"]
    rng = np.random.default_rng(0)
    agent.begin_episode()
    acted = np.stack([agent.prepare(row, rng)["base"] for row in observations])
    np.testing.assert_array_equal(recorded, acted)
    noise = np.random.default_rng(0).standard_normal((1, 1, 4), np.float32)
    np.testing.assert_array_equal(acted[:3, 0], LinearBase().base(observations[:1], noise, 1)[0, 0, :3])


def test_unknown_names_options_and_unfit_bases_are_told() -> None:
    assert agent_names() == ["dsrl", "expo", "residual", "rlpd"]
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: make_agent("rpld", AgentSpec(1, 1)), r"unknown agent 'rpld'; did you mean rlpd\? \(valid: dsrl"),
        (lambda: make("rlpd", utdd=3), r"unknown agent option 'utdd'; did you mean utd.*\? \(valid: actor_rate"),
        (lambda: make("rlpd", utd="many"), "utd=many does not fit SacConfig: expected an integer"),
        (lambda: make_agent("residual", AgentSpec(1, 1)), "ResidualAgent fine-tunes a base policy"),
        (lambda: make_agent("dsrl", AgentSpec(1, 1)), "DsrlAgent fine-tunes a base policy"),
        (lambda: make_agent("expo", AgentSpec(2, 1), {}, LinearBase()), r"widths \(1, 1\), the task needs \(2, 1\)"),
        (lambda: make("residual", replan=9), "at most the base's horizon 4"),
        (lambda: make("dsrl", bc_weight=0.1), "bc_weight=0.1 does not fit"),
        (lambda: make("expo", entropy_backup=True), "expected false: EXPO's target has no entropy term"),
        (lambda: AgentSpec(1, 2, gripper_index=2), "gripper_index=2 does not fit"),
    ]
    for action, message in cases:
        with pytest.raises(UserError, match=message):
            action()


def test_an_observation_that_is_not_finite_is_refused() -> None:
    with pytest.raises(UserError, match=r"observation has numbers that are not finite at \[0\]"):
        make("rlpd").act(np.array([np.nan], np.float32), {}, False)
    with pytest.raises(UserError, match=r"observation needs 1 numbers, got shape \(2,\)"):
        make("rlpd").act(np.zeros(2, np.float32), {}, False)
