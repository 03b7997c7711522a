"""From the info of a step to a policy that keeps its energy budget: decisions, replay, trainer, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from controllers.types import Source
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.agents.base import AgentSpec, Proposal
from robot_rl.agents.registry import make_agent
from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.report import figures, sections
from robot_rl.report.run_data import RunData
from robot_rl.training import wire
from robot_rl.training.decision import decision_of
from robot_rl.training.demonstrations import fill_replay
from robot_rl.training.gym_workplace import GymWorkplace
from robot_rl.training.recording import record_acting
from robot_rl.training.settings import TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.workplace import Outcome
from tests.robot_rl.training_fakes import Line, line_trainer


class Haul(gymnasium.Env[Any, Any]):
    """Haul a point from near 0 to 1 within ten steps, the sooner the better; an action takes 2 a^2 joules.

    Going as fast as pays takes more than 8 J; what keeps a budget of 2 J is to go slowly.
    """

    def __init__(self, told: bool = True) -> None:
        self.observation_space = spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.told, self.x, self.t = told, 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.uniform(0.0, 0.2)), 0
        return np.array([self.x], np.float32), {}

    def step(self, action: Any) -> Any:
        a = float(action[0])
        self.x, self.t = float(np.clip(self.x + 0.2 * a, -2.0, 2.0)), self.t + 1
        info = {"energy_spent_j": 2.0 * a * a} if self.told else {}
        return np.array([self.x], np.float32), -abs(1.0 - self.x), False, self.t >= 10, info


gymnasium.register("Haul-v0", entry_point=lambda **options: Haul(**options), disable_env_checker=True)
BUDGET_J = 2.0
QUICK: dict[str, Any] = {
    "hidden": (32, 32), "batch_size": 64, "gamma": 0.95, "n_step": 1, "utd": 1, "critic_rate": 1e-3, "actor_rate": 1e-3,
}  # fmt: skip


def haul_trainer(folder: Path, budget_j: float | None, log: Any = None, **settings: Any) -> SyncTrainer:
    """A trainer on `Haul`."""
    figures: dict[str, Any] = {"steps": 3000, "warmup": 100, "eval_every": 0, "checkpoint_every": 100}
    agent = make_agent("rlpd", AgentSpec(1, 1), QUICK | {"energy_budget_j": budget_j})
    write = (lambda record: None) if log is None else log
    workplaces = GymWorkplace("Haul-v0"), GymWorkplace("Haul-v0")
    return SyncTrainer(agent, *workplaces, None, folder, TrainSettings(**figures | settings), write)


@pytest.mark.slow
def test_with_a_budget_the_policy_keeps_it_and_without_one_it_spends_more(tmp_path: Path) -> None:
    spent_j = {}
    for budget_j in (None, BUDGET_J):
        trainer = haul_trainer(tmp_path / str(budget_j), budget_j)
        trainer.run()
        spent_j[budget_j] = trainer.evaluate(20)["mean_energy_j"]
    assert spent_j[BUDGET_J] < 1.1 * BUDGET_J < 2.0 * BUDGET_J < spent_j[None]
    assert spent_j[BUDGET_J] > 0.5 * BUDGET_J, "a budget is to be used, not shunned"


def final(folder: Path) -> bytes:
    return max((folder / "checkpoints").glob("step_*.safetensors")).read_bytes()


class Crash(Exception):
    """Ends a run in the midst of a step."""


def test_a_run_with_a_budget_that_crashed_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    haul_trainer(tmp_path / "whole", BUDGET_J, steps=400).run()
    trainer = haul_trainer(tmp_path / "crashed", BUDGET_J, steps=400)

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == 257:
            raise Crash

    trainer.tick = tick
    with pytest.raises(Crash):
        trainer.run()
    again = haul_trainer(tmp_path / "crashed", BUDGET_J, steps=400)
    assert again.resume() and again.agent.sac.cost.multiplier.value > 0.0
    again.run()
    assert final(tmp_path / "whole") == final(tmp_path / "crashed")


def test_multiplier_cost_and_energy_are_logged_and_drawn(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    haul_trainer(tmp_path, BUDGET_J, records.append, steps=300, eval_every=200, eval_episodes=2).run()
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "config.json").write_text(json.dumps({"task": "gym", "agent_config": {"energy_budget_j": BUDGET_J}}))
    updates = [record for record in records if record["kind"] == "update"]
    assert {"lambda", "q_cost", "cost_loss", "energy_mean_j"} <= set(updates[-1])
    episodes = [record["energy_j"] for record in records if record["kind"] == "episode"]
    assert updates[-1]["energy_mean_j"] == pytest.approx(np.mean(episodes[-10:]), rel=1e-5)
    run = RunData.read(tmp_path)
    picture = figures.energy(run)
    assert run.energy_budget_j == BUDGET_J and picture is not None and picture.startswith("data:image/svg+xml")
    assert "energy of an episode" in sections.before_after(run)


def test_a_budget_needs_an_environment_and_demonstrations_that_tell_their_energy(tmp_path: Path) -> None:
    silent = GymWorkplace("Haul-v0", options={"told": False})
    agent = make_agent("rlpd", AgentSpec(1, 1), QUICK | {"energy_budget_j": BUDGET_J})
    settings = TrainSettings(10, eval_every=0)
    trainer = SyncTrainer(agent, silent, None, None, tmp_path / "run", settings, lambda record: None)
    with pytest.raises(UserError, match=r"energy_budget_j needs the energy of each step as info\['energy_spent_j'\]"):
        trainer.run()
    for told in (True, False):
        workplace = GymWorkplace("Haul-v0", options={"told": told})
        path = str(tmp_path / f"{told}.zarr")
        with EpisodeStore.create_or_open(path, workplace.store_spec("mujoco", {})) as store:
            store.append(record_acting(workplace, Steady(), store.spec, 0)[0])
            episodes = list(store)
        demos = Replay(100, 1, 1)
        if told:
            fill_replay(demos, episodes, workplace, agent, np.random.default_rng(0))
            np.testing.assert_allclose(demos.cost[demos.has_action], 0.5)
            assert list(demos.episode_costs) == [5.0]
        else:
            with pytest.raises(UserError, match="energy_budget_j needs demonstrations with the energy of each step"):
                fill_replay(demos, episodes, workplace, agent, np.random.default_rng(0))


class Steady:
    """Always half the way."""

    def begin_episode(self) -> None:
        pass

    def prepare(self, obs: Any, rng: Any) -> dict[str, Any]:
        return {}

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Proposal:
        return Proposal(np.array([0.5], np.float32), Source.SCRIPTED)


def test_what_the_info_does_not_tell_has_its_stated_default() -> None:
    decision = decision_of({}, 10.0, Source.POLICY)
    assert (decision.steps, decision.energy_j, decision.interrupted, decision.source) == (1.0, None, False, 1)
    assert not decision.preempted
    assert decision_of({"duration_s": 0.03}, None, 1).steps == 1.0, "without a rate time means nothing"
    ticks = sum([0.001] * 100)
    assert ticks != 0.1 and decision_of({"duration_s": ticks}, 10.0, 1).steps == 1.0


@pytest.mark.parametrize(
    ("duration_s", "interrupted", "source", "preempted"),
    [
        (0.1, False, Source.POLICY, False),
        (0.049, True, Source.POLICY, True),
        (0.051, True, Source.POLICY, False),
        (0.1, True, Source.RECOVERY, True),
        (0.08, True, Source.HOLD, True),
        (0.049, False, Source.POLICY, False),
    ],
)
def test_a_decision_is_preempted_where_less_than_half_was_the_policys_own(
    duration_s: float, interrupted: bool, source: int, preempted: bool
) -> None:
    info = {"duration_s": duration_s, "interrupted": interrupted, "source": int(source), "energy_spent_j": 0.5}
    decision = decision_of(info, 10.0, Source.POLICY)
    assert decision.preempted is preempted
    assert decision.steps == pytest.approx(10.0 * duration_s) and decision.energy_j == 0.5


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"energy_spent_j": float("nan")}, "expected a finite energy of at least 0 J"),
        ({"energy_spent_j": -1e-3}, "energy_spent_j=-0.001 does not fit"),
        ({"energy_spent_j": float("inf")}, "expected a finite energy"),
        ({"duration_s": 0.0}, "expected a finite time above 0 s"),
        ({"duration_s": float("nan")}, "duration_s=nan does not fit"),
    ],
)
def test_energies_and_durations_that_cannot_be_are_refused(info: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decision_of(info, 10.0, Source.POLICY)
    for cost in (float("nan"), float("inf"), 1e39, -0.1):
        with pytest.raises(UserError, match="transition 0: expected a finite cost of at least 0 J"):
            Replay(4, 1, 1).add([0.0], [0.0], 0.0, [1.0], False, False, cost=cost)


class Reflexive(Line):
    """A line on which a reflex takes every third decision away after 40 % of its time, and pushes the other way."""

    def step(self, action: Any, source: int = 0) -> Outcome:
        outcome = super().step(action, source)
        struck = self.t % 3 == 0
        outcome.info.update(energy_spent_j=0.5 * self.t, duration_s=0.04 if struck else 0.1, interrupted=struck)
        outcome.info["source"] = int(Source.RECOVERY) if struck else source
        return outcome


def test_the_trainer_stores_what_became_of_each_decision(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = line_trainer(
        tmp_path, workplace=Reflexive(length=6), log=records.append, steps=36, eval_every=0, reflex_penalty=0.25
    )
    trainer.run()
    replay = trainer.replay
    rows = np.flatnonzero(replay.has_action)
    struck = replay.source[rows] == Source.RECOVERY
    assert 0 < struck.sum() < len(rows)
    np.testing.assert_allclose(replay.steps[rows], np.where(struck, 0.4, 1.0))
    np.testing.assert_allclose(replay.reward[rows], replay.terminated[rows] - 0.25 * struck)
    assert np.abs(replay.proposed[rows]).max() > np.abs(replay.action[rows]).max(), "the limiter came between"
    assert trainer.counters.robot_s == pytest.approx(0.1 * replay.steps[rows].sum())
    episodes = [record for record in records if record["kind"] == "episode"]
    assert sum(record["interrupted"] for record in episodes) == struck.sum()
    assert sum(record["energy_j"] for record in episodes) == pytest.approx(replay.cost[rows].sum())
    assert all(record["return"] == float(record["success"]) for record in episodes), "the penalty is the learner's only"
    assert "recovery" in episodes[0]["source_share"] or episodes[0]["length"] < 3


def test_robot_time_counts_shortened_decisions_also_after_a_crash(tmp_path: Path) -> None:

    def trainer() -> SyncTrainer:
        return line_trainer(tmp_path, workplace=Reflexive(restorable=False, length=6), steps=36, eval_every=0)

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == 17:
            raise Crash

    before, after = trainer(), trainer()
    before.tick = tick
    with pytest.raises(Crash):
        before.run()
    assert after.resume()
    assert after.counters.robot_s == pytest.approx(before.counters.robot_s) and before.counters.robot_s < 1.7


def test_a_decision_cut_short_is_discounted_by_the_time_that_passed_also_within_n_steps() -> None:
    replay, gamma = Replay(10, 1, 1), 0.9
    replay.add([0.0], [0.0], 1.0, [1.0], False, False, steps=0.25, cost=2.0)
    replay.add([1.0], [0.0], 1.0, [2.0], False, False, steps=3.0, cost=4.0)
    replay.add([2.0], [0.0], 1.0, [3.0], True, False, steps=0.5, cost=8.0)
    for count, elapsed in ((1, 0.25), (2, 3.25), (3, 3.75)):
        batch = replay.sample(64, np.random.default_rng(0), count, gamma)
        first = batch.obs[:, 0] == 0.0
        weights = np.array([1.0, gamma**0.25, gamma**3.25])[:count]
        np.testing.assert_allclose(batch.discount[first], gamma**elapsed, rtol=1e-6)
        np.testing.assert_allclose(batch.reward[first], weights.sum(), rtol=1e-6)
        np.testing.assert_allclose(batch.cost[first], weights @ np.array([2.0, 4.0, 8.0])[:count], rtol=1e-6)
    with pytest.raises(UserError, match="a finite number of steps above 0"):
        replay.add([5.0], [0.0], 0.0, [6.0], False, False, steps=0.0)


def mixed() -> Replay:
    """Transitions with every new field, an episode that was cut among them."""
    replay, rng = Replay(50, 1, 1), np.random.default_rng(0)
    for x in range(9):
        told: dict[str, Any] = {"steps": rng.uniform(0.1, 2.0), "cost": rng.uniform(0, 3)}
        told["proposed"] = rng.uniform(-1, 1, 1)
        replay.add([x], [0.1 * x], 0.0, [x + 1], False, x == 2, int(Source.RECOVERY), **told)
        if x == 6:
            replay.interrupt()
    return replay


def assert_equal(one: Replay, other: Replay) -> None:
    for name in ("steps", "cost", "proposed", "source", "cut", "truncated", "starts", "obs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.episodes == other.episodes == 1
    assert list(one.episode_costs) == list(other.episode_costs)


def test_file_and_wire_carry_cost_duration_and_proposed_action_and_a_cut_episode_is_no_measurement(
    tmp_path: Path,
) -> None:
    source, loaded, sent = mixed(), Replay(50, 1, 1), Replay(50, 1, 1)
    source.interrupt()
    source.save_increment(tmp_path)
    loaded.load(tmp_path)
    wire.add_records(sent, wire.records_of(source, 0))
    assert_equal(source, loaded)
    assert_equal(source, sent)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    mixed().save_increment(tmp_path)
    path = tmp_path / journal.FILE
    path.write_bytes(path.read_bytes().replace(b"robot-rl replay 2", b"robot-rl replay 1", 1))
    with pytest.raises(UserError, match="robot-rl replay 1.*go on with the version that wrote it, or begin anew"):
        Replay(50, 1, 1).load(tmp_path)


def test_a_penalty_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="reflex_penalty=-1.0 does not fit"):
        TrainSettings(10, reflex_penalty=-1.0)
