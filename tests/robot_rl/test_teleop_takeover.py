"""Takeover and hand-back: who acts, what is learned from it, and that a resumed run goes on alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.types import Source
from data.errors import UserError
from robot_rl.agents.base import AgentSpec, Proposal
from robot_rl.agents.registry import make_agent
from robot_rl.envs.make import make_env
from robot_rl.learning.replay import Replay
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.training import wire
from robot_rl.training.demonstrations import imitation_pairs
from robot_rl.training.evaluation import evaluate, summary_of
from robot_rl.training.interventions import InterventionPartition
from robot_rl.training.recording import record_episode
from robot_rl.training.settings import TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.takeover import RLIF_REWARD, PersonTakeover, PlayedPerson, Takeover, TakeoverConfig
from robot_rl.training.workplace import ArmWorkplace, Outcome
from robot_rl.workflows.collect_by_hand import without_waiting
from tests.robot_rl.training_fakes import TINY, Line, PoorBase

Wish = Callable[[int], bool]


class OnTheLine:
    """A person who wants the arm for the decisions that `wish` names, by their number in the episode, and goes left."""

    def __init__(self, wish: Wish) -> None:
        self.wish, self.t, self.mark = wish, 0, None
        self.seeds: list[int] = []

    def begin(self, seed: int) -> None:
        self.t = 0
        self.seeds.append(seed)

    def wants_arm(self, outcome: Outcome | None) -> bool:
        self.t += outcome is not None
        return self.wish(self.t)

    def act(self) -> Proposal:
        return Proposal(np.array([-0.25], np.float32), Source.SCRIPTED)

    def verdict(self) -> bool | None:
        return self.mark


def third_to_fifth(t: int) -> bool:
    return 2 <= t < 5


def trainer_with(
    folder: Path, wish: Wish = third_to_fifth, rlif: bool = False, agent: str = "rlpd", log: Any = None, **changes: Any
) -> SyncTrainer:
    figures: dict[str, Any] = {"steps": 120, "warmup": 20, "eval_every": 0, "checkpoint_every": 30}
    settings = TrainSettings(**figures | changes)
    learner = make_agent(agent, AgentSpec(2, 1), TINY, PoorBase() if agent != "rlpd" else None, settings.seed)
    demos = Replay(600, 2, 1, learner.extras_shapes)
    takeover = PersonTakeover(OnTheLine(wish), rlif)
    write = log or (lambda record: None)
    return SyncTrainer(learner, Line(), Line(), demos, folder, settings, write, takeover=takeover)


def episodes_of(replay: Replay) -> list[np.ndarray[Any, Any]]:
    """Rows of each episode, in their order."""
    rows = np.flatnonzero(replay.has_action)
    return np.split(rows, np.flatnonzero(replay.starts[rows])[1:])


def test_each_transition_says_who_made_it(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path)
    trainer.run()
    for rows in episodes_of(trainer.replay):
        sources = trainer.replay.source[rows].tolist()
        assert sources[:2] == [Source.POLICY] * min(2, len(rows))
        assert sources[2:5] == [Source.SCRIPTED] * len(sources[2:5])
        assert sources[5:] == [Source.POLICY] * len(sources[5:])
    assert (trainer.replay.action[trainer.replay.source == Source.SCRIPTED][:, 0] == -0.25).all()


def test_intervened_transitions_join_the_demonstrations_once_and_with_the_executed_action(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path)
    trainer.run()
    demos, replay = trainer.demos, trainer.replay
    assert demos is not None
    own = np.flatnonzero(replay.has_action & (replay.source == Source.SCRIPTED))
    there = np.flatnonzero(demos.has_action)
    assert len(own) == len(there) > 10
    for name in ("obs", "action", "reward", "terminated", "steps"):
        np.testing.assert_array_equal(getattr(demos, name)[there], getattr(replay, name)[own], err_msg=name)
    np.testing.assert_array_equal(demos.obs[there + 1], replay.obs[own + 1])
    batch = trainer.sampler.sample(np.random.default_rng(0))
    assert set(batch.source[batch.demo]) == {Source.SCRIPTED}


def test_a_stretch_of_a_persons_decisions_ends_where_it_was_handed_back(tmp_path: Path) -> None:
    """n-step returns in the partition stay within a stretch, and bootstrap at its end."""
    trainer = trainer_with(tmp_path)
    trainer.run()
    assert trainer.demos is not None
    there = np.flatnonzero(trainer.demos.has_action)
    lengths = np.diff([*np.flatnonzero(trainer.demos.starts[there]), len(there)])
    assert lengths.max() == 3
    batch = trainer.demos.sample(300, np.random.default_rng(0), n_step=5, gamma=0.5, demo=True)
    assert batch.discount.min() >= 0.5**3


@pytest.mark.parametrize("agent", ["rlpd", "residual", "expo", "dsrl"])
@pytest.mark.parametrize("step", [45, 77])
def test_a_run_with_a_person_resumes_to_the_same_bytes(tmp_path: Path, agent: str, step: int) -> None:
    def final(folder: Path) -> bytes:
        return max((folder / "checkpoints").glob("step_*.safetensors")).read_bytes()

    trainer_with(tmp_path / "whole", agent=agent).run()
    crashed = trainer_with(tmp_path / "crashed", agent=agent)

    class Crash(Exception):
        pass

    def tick(counters: Any, metrics: Any) -> None:
        if counters.step == step:
            raise Crash

    crashed.tick = tick
    with pytest.raises(Crash):
        crashed.run()
    again = trainer_with(tmp_path / "crashed", agent=agent)
    assert again.resume()
    again.run()
    assert final(tmp_path / "whole") == final(tmp_path / "crashed")


def test_rlif_punishes_the_decision_that_made_a_person_intervene_and_no_other(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, rlif=True)
    trainer.run()
    replay = trainer.replay
    for rows in episodes_of(replay):
        expected = [RLIF_REWARD if t == 1 and len(rows) > 2 else 0.0 for t in range(len(rows))]
        assert replay.reward[rows].tolist() == expected
    assert not (replay.reward[replay.source == Source.SCRIPTED]).any()


def test_taking_over_before_the_first_decision_punishes_nobody(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = trainer_with(tmp_path, wish=lambda t: t < 2, rlif=True, log=records.append)
    trainer.run()
    assert not trainer.replay.reward[trainer.replay.has_action].any()
    episodes = [record for record in records if record["kind"] == "episode"]
    assert {record["takeovers"] for record in episodes} == {1}


def test_episodes_tell_how_often_and_how_long(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer_with(tmp_path, log=records.append).run()
    episodes = [record for record in records if record["kind"] == "episode"]
    for record in episodes:
        if record["length"] >= 5:
            assert record["takeovers"] == 1
            assert record["human_share"] == pytest.approx(3 / record["length"])
            assert record["source_share"]["scripted"] == pytest.approx(3 / record["length"])


def test_without_a_person_nothing_is_told(tmp_path: Path) -> None:
    records = evaluate(make_agent("rlpd", AgentSpec(2, 1), TINY, None, 0), Line(), range(3))
    assert "takeovers" not in records[0].as_dict()
    assert "mean_takeovers" not in summary_of(records, 0, True, 0.0)


class Planner:
    """An agent that only counts how often it was asked, and told to forget its plan."""

    def __init__(self) -> None:
        self.asked = self.forgot = 0

    def begin_episode(self) -> None:
        self.forgot += 1

    def prepare(self, obs: Any, rng: Any) -> dict[str, Any]:
        return {}

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Proposal:
        self.asked += 1
        return Proposal(np.zeros(1, np.float32), Source.POLICY)


def test_the_agent_rests_while_a_person_acts_and_plans_anew_afterwards() -> None:
    agent = Planner()
    records = evaluate(agent, Line(), [5], takeover=PersonTakeover(OnTheLine(third_to_fifth)))
    assert records[0].length == 12
    assert (agent.asked, agent.forgot) == (9, 1 + 3)
    summary = summary_of(records, 0, True, 0.0)
    assert (summary["mean_takeovers"], summary["human_share"]) == (1.0, 0.25)


def test_a_persons_verdict_ends_the_episode(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = trainer_with(tmp_path, log=records.append, steps=8)
    person = trainer.takeover.person  # type: ignore[attr-defined]
    person.mark = True
    trainer.run()
    assert trainer.replay.terminated[trainer.replay.has_action].all()
    assert records[0]["end"] == "marked"


def test_a_learner_in_another_process_makes_the_same_partition(tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path)
    trainer.run()
    demos = Replay(600, 2, 1, {})
    partition = InterventionPartition(demos)
    records = wire.records_of(trainer.replay, 0)
    for begin in range(0, len(records), 7):  # as they come over
        partition.add(records[begin : begin + 7])
    assert trainer.demos is not None
    for name in ("obs", "action", "reward", "starts", "has_action"):
        np.testing.assert_array_equal(getattr(demos, name), getattr(trainer.demos, name), err_msg=name)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patience_steps": 0}, "human_config.patience_steps must be at least 1, got 0"),
        ({"hand_back_s": -1.0}, "human_config.hand_back_s must be a number of at least 0, got -1.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TakeoverConfig(**wrong)


class Lazy:
    """A policy that stays where it is."""

    def begin_episode(self) -> None:
        pass

    def prepare(self, obs: Any, rng: Any) -> dict[str, Any]:
        return {}

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Proposal:
        return Proposal(np.zeros(6, np.float32), Source.POLICY)


def test_the_played_person_takes_over_where_nothing_gets_on_and_hands_back() -> None:
    workplace = ArmWorkplace(make_env(PegInsertion(), teleport=True))
    config = TakeoverConfig(patience_steps=4, hold_steps=6)
    takeover = PersonTakeover(PlayedPerson(workplace, config))
    sources: list[int] = []
    step = workplace.step

    def noted(action: Any, source: int = 0) -> Outcome:
        sources.append(source)
        return step(action, source)

    workplace.step = noted  # type: ignore[method-assign]
    first = evaluate(Lazy(), workplace, [1_000_001], takeover=takeover)[0]
    # the first decision sets the mark, four without progress follow, then six are the person's
    assert sources[:5] == [Source.POLICY] * 5
    assert sources[5:11] == [Source.SCRIPTED] * 6
    assert sources[11] == Source.POLICY
    assert first.takeovers is not None and first.takeovers >= 2
    begun, former = len(sources), list(sources)
    evaluate(Lazy(), workplace, [1_000_001], takeover=takeover)
    assert sources[begun : begun + 12] == former[:12]
    workplace.close()


def test_nobody_is_there_by_default() -> None:
    nobody = Takeover()
    nobody.begin(0)
    assert nobody.verdict() is None


def test_an_episode_begins_when_the_dead_man_is_held_and_holds_are_not_imitated() -> None:
    workplace = ArmWorkplace(make_env(PegInsertion(), teleport=True))
    spec = workplace.store_spec("mujoco", {})
    operator = workplace.env.task.operator(np.random.default_rng(0))
    episode, _ = record_episode(workplace.env, operator, spec, 3)
    steps = len(episode)
    source = np.full(steps, Source.HUMAN, np.int32)
    source[:4] = source[6:8] = Source.HOLD
    begun = without_waiting(replace(episode, source=source))
    assert begun is not None
    begun.check(spec)
    assert len(begun) == steps - 4
    assert (begun.info["waited"], begun.info["length"]) == (4, steps - 4)
    np.testing.assert_array_equal(begun.extras["q_rad"], episode.extras["q_rad"][4:])
    pairs = imitation_pairs([begun], workplace)
    assert [len(actions) for _, actions in pairs] == [2, steps - 8]
    assert without_waiting(replace(episode, source=np.full(steps, Source.HOLD, np.int32))) is None
    workplace.close()
