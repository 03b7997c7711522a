"""An episode read off the tick reports is the one that the environment records of the same reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.types import Source
from data.episode import Episode
from data.errors import UserError
from robot_rl.bench.critics import made_up_weights
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.make import chain_of, make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.base import Task
from robot_rl.tasks.registry import make_task
from robot_rl.training.listening import ReportedDecisions
from robot_rl.training.recording import record_episode
from robot_rl.training.reported_episode import ReportedEpisode, reported_spec
from safety.reflex import Mode


class Heard:
    """A link that keeps what every step reported."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self.parts: list[NDArray[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[Any]:
        self.parts.append(self._link.step(duration_s, interruptible))
        return self.parts[-1]


class Wanderer:
    """Small steps at random, whose targets no bound of the task clips."""

    def __init__(self, size: float) -> None:
        self._rng, self._size = np.random.default_rng(3), size

    def reset(self) -> None:
        pass

    def act(self, observation: dict[str, NDArray[Any]], size: int) -> NDArray[np.float32]:
        return self._rng.uniform(-self._size, self._size, size).astype(np.float32)


def blind(stamp_ns: int, last: bool) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, float]]:
    return {}, {}


def both(env: RobotEnv, operator: Any, chunk: int = 7) -> tuple[Episode, Episode, NDArray[Any]]:
    """Records an episode, and makes another of its reports, fed in small parts: returns both and the reports."""
    heard = Heard(env.link)
    env.link = heard
    spec = reported_spec(env.task, "mujoco", (), {})
    recorded, _ = record_episode(env, operator, spec, seed=5)
    steps = len(recorded)
    first, reports = heard.parts[-steps - 1], np.concatenate(heard.parts[-steps:])
    listened = ReportedEpisode(env.task, spec, env.draw.T_base_goal, first, blind)
    for begin in range(0, len(reports), chunk):
        listened.add(reports[begin : begin + chunk])
    assert listened.over and listened.steps == steps
    return recorded, listened.finish(None, {}), reports


def assert_same(recorded: Episode, listened: Episode, but: tuple[str, ...] = ()) -> None:
    mine, theirs = listened.arrays(), recorded.arrays()
    assert mine.keys() == theirs.keys()
    for path in mine.keys() - {"action_proposed", *but}:
        assert np.array_equal(mine[path], theirs[path], equal_nan=True), path
    assert listened.success == recorded.success
    for name in ("length", "return", "end", "robot_s", "peak_force_n", "mean_force_n", "source_share", "interrupted"):
        assert name in but or listened.info[name] == recorded.info[name], name


@pytest.mark.parametrize(("task", "size"), [("peg_insertion", 0.1), ("maze", 0.4)])
def test_it_is_the_recorded_one(task: str, size: float) -> None:
    env = make_env(make_task(task), teleport=True)
    env.task.max_steps = 8
    recorded, listened, _ = both(env, Wanderer(size))
    env.close()
    assert_same(recorded, listened)
    active = env.task.action.active_index
    wished = listened.action_proposed[:, active] - recorded.action_proposed[:, active]
    assert np.abs(wished).max() < 1e-3, "what was commanded tells what was wished"


def test_a_scripted_demonstration_is_the_recorded_one_to_its_end() -> None:
    env = make_env(make_task("peg_insertion"), teleport=True)
    recorded, listened, _ = both(env, env.task.operator(np.random.default_rng(0)), chunk=33)
    env.close()
    assert_same(recorded, listened)
    assert set(listened.source) == {Source.SCRIPTED}
    assert listened.info["ticks"][1] - listened.info["ticks"][0] == 100 * len(listened)


def test_decisions_that_the_reflex_arbiter_cuts_short_are_cut_here_too() -> None:
    env = make_env(make_task("peg_insertion"), teleport=True)
    critic = chain_of(env.task, SafetyLayers()).critic
    link: Any = env.link
    link.load_critic(made_up_weights(critic, risk=0.99))
    env.task.max_steps = 6
    recorded, listened, reports = both(env, Wanderer(0.1))
    env.close()
    assert (reports["mode"] >= Mode.REFLEX).any() and Source.RECOVERY in recorded.source
    # the command is dropped in its first tick, which has the recovery's name: who gave it no report tells
    assert_same(recorded, listened, but=("source", "source_share"))
    assert np.array_equal(listened.source[1:], recorded.source[1:])


@pytest.fixture(scope="module")
def heard() -> tuple[Task, Pose, NDArray[Any], NDArray[Any]]:
    """Task, goal, the reports before the beginning, and those of five decisions."""
    env = make_env(make_task("peg_insertion"), teleport=True)
    link = Heard(env.link)
    env.link = link
    env.reset(seed=1)
    for _ in range(5):
        env.step(np.full(env.task.action.size, 0.1))
    env.close()
    return env.task, env.draw.T_base_goal, link.parts[-6], np.concatenate(link.parts[-5:])


def test_a_few_lost_reports_are_counted_and_many_refuse_the_episode(
    heard: tuple[Task, Pose, NDArray[Any], NDArray[Any]],
) -> None:
    task, goal, first, reports = heard
    few = np.delete(reports, [10, 11, 250])
    decisions = ReportedDecisions(task, goal, first)
    found = list(decisions.add(few))
    assert len(found) == 5 and decisions.lost_reports == 3
    assert np.diff([one.stamp_ns for one in found]).tolist() == [100_000_000] * 4
    with pytest.raises(UserError, match="11 tick reports of one decision are missing"):
        list(ReportedDecisions(task, goal, first).add(np.delete(reports, range(120, 131))))
    with pytest.raises(UserError, match="the motor process started over"):
        list(ReportedDecisions(task, goal, first).add(np.concatenate([reports[:150], reports[:50]])))


def test_a_persons_verdict_ends_the_task(heard: tuple[Task, Pose, NDArray[Any], NDArray[Any]]) -> None:
    task, goal, first, reports = heard
    spec = reported_spec(task, "mujoco", (), {})
    for verdict in (True, False, None):
        episode = ReportedEpisode(task, spec, goal, first, blind)
        episode.add(reports)
        kept = episode.finish(verdict, {"bag": "x"})
        assert kept.success == bool(verdict) and kept.info["bag"] == "x"
        assert kept.reward.tolist() == [0.0] * 4 + [float(bool(verdict))]
        assert kept.terminated[-1] == (verdict is not None) and kept.truncated[-1] == (verdict is None)
        assert kept.info["end"] == ("" if verdict is None else "marked")
    with pytest.raises(UserError, match="ended before its first decision was over"):
        ReportedEpisode(task, spec, goal, first, blind).finish(True, {})


def test_each_frame_has_the_picture_that_was_looked_up_for_its_stamp(
    heard: tuple[Task, Pose, NDArray[Any], NDArray[Any]],
) -> None:
    task, goal, first, reports = heard
    spec = reported_spec(task, "mujoco", ("side",), {})
    there = [0]

    def look(stamp_ns: int, last: bool) -> tuple[dict[str, NDArray[Any]], dict[str, float]] | None:
        if stamp_ns > there[0]:
            return None
        return {"image_side": np.full((64, 64, 3), stamp_ns // 100_000_000 % 256, np.uint8)}, {"side": 0.02}

    episode = ReportedEpisode(task, spec, goal, first, look)
    episode.add(reports)
    there[0] = 2**62
    kept = episode.finish(True, {})
    expected = (kept.stamp_ns // 100_000_000 % 256).tolist()
    assert kept.observations["image_side"][:, 0, 0, 0].tolist() == expected
    assert kept.extras["image_age_s_side"].tolist() == [0.02] * 6
    with pytest.raises(UserError, match="has the cameras side, wrist, got roof"):
        reported_spec(task, "mujoco", ("roof",), {})
