"""Any Gymnasium environment as a workplace; recording in any workplace; measuring episodes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from controllers.chain import ChainConfig
from controllers.description.geometry import Pose
from controllers.types import Source
from data.errors import UserError
from data.store import EpisodeStore
from robot_rl.agents.base import AgentSpec, Proposal, SacAgent
from robot_rl.envs.make import make_env
from robot_rl.learning.config import SacConfig
from robot_rl.learning.replay import Replay
from robot_rl.tasks.base import Draw
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.registry import make_task
from robot_rl.training.demonstrations import fill_replay, imitation_pairs, load_episodes, successful
from robot_rl.training.evaluation import evaluate, summary_of
from robot_rl.training.gym_workplace import GymWorkplace
from robot_rl.training.recipe import AgentRecipe
from robot_rl.training.recording import record_acting
from robot_rl.training.settings import TrainSettings
from robot_rl.training.sync import SyncTrainer
from robot_rl.training.workplace import ArmWorkplace, make_workplace, vector_sizes
from robot_rl.workflows.common import resolve_agent_options
from tests.robot_rl.training_fakes import TINY, Line


class Odd(gymnasium.Env[Any, Any]):
    """Uneven bounds, a matrix of actions, chance from the global generator, success in info."""

    def __init__(self, action: Any = None, observation: Any = None, bad: float = 0.0) -> None:
        low, high = np.array([[-2.0], [0.0]], np.float32), np.array([[2.0], [10.0]], np.float32)
        self.action_space = spaces.Box(low, high) if action is None else action
        self.observation_space = spaces.Box(-1, 1, (2,), np.float64) if observation is None else observation
        self.bad, self.given, self.t = bad, np.zeros(0), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return np.random.uniform(-1, 1, 2), {}  # noqa: NPY002 - the very fault that shall do no harm

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.given, self.t = np.array(action), self.t + 1
        done = self.t >= 5
        return np.full(2, self.bad), 1.0, done, done, {"is_success": done}


gymnasium.register("Odd-v0", entry_point=lambda **options: Odd(**options), disable_env_checker=True)


def odd(**options: Any) -> tuple[GymWorkplace, Odd]:
    workplace = GymWorkplace("Odd-v0", options=options)
    inner = workplace.env.unwrapped
    assert isinstance(inner, Odd)
    return workplace, inner


def test_actions_are_mapped_to_the_bounds_and_clipped() -> None:
    workplace, inner = odd()
    workplace.reset(0)
    outcome = workplace.step(np.array([0.5, 3.0], np.float32))
    np.testing.assert_allclose(inner.given, [[1.0], [10.0]])
    np.testing.assert_allclose(outcome.executed, [0.5, 1.0])
    assert workplace.action_names == ("a0", "a1")
    with pytest.raises(UserError, match="an action must be finite"):
        workplace.step(np.array([np.nan, 0.0], np.float32))


def test_trap_15_an_environment_that_draws_from_global_generators_repeats() -> None:
    workplace, _ = odd()
    first, _ = workplace.reset(7)
    other, _ = workplace.reset(8)
    again, _ = workplace.reset(7)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_not_finite_stops_the_run_in_one_line() -> None:
    workplace, _ = odd(bad=np.nan)
    workplace.reset(0)
    with pytest.raises(UserError, match="an observation holds a number that is not finite"):
        workplace.step(np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": spaces.Discrete(3)}, "expected a Box of floats as action space, got Discrete"),
        (
            {"observation": spaces.Dict({"a": spaces.Box(-1, 1)})},
            "expected a Box of numbers as observation space, got Dict",
        ),
        ({"action": spaces.Box(0, 9, (2,), np.int64)}, "expected a Box of floats as action space, got Box"),
        ({"action": spaces.Box(-np.inf, np.inf, (2,))}, "expected a bounded action space"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        odd(**options)


@pytest.mark.parametrize("name", ["NoSuch-v0", "no_such_module:Env-v0", "Pendulum-v1-x"])
def test_an_environment_that_is_not_there_is_told_in_one_line(name: str) -> None:
    with pytest.raises(UserError, match=f"gymnasium cannot make '{name}'") as told:
        make_workplace("gym", env_id=name)
    assert len(str(told.value).splitlines()) == 1


def test_gym_and_env_id_go_together() -> None:
    with pytest.raises(UserError, match="task=gym needs env_id"):
        make_workplace("gym")
    with pytest.raises(UserError, match="env_id goes with task=gym"):
        make_workplace("peg_insertion", env_id="Pendulum-v1")


def test_whole_numbers_as_observation_are_cast() -> None:
    workplace, _ = odd(observation=spaces.Box(0, 255, (2,), np.uint8), bad=7)
    features, _ = workplace.reset(0)
    assert features.dtype == np.float32
    assert features.shape == (2,)
    np.testing.assert_array_equal(workplace.step(np.zeros(2, np.float32)).obs, [7, 7])


class Endless(Odd):
    """Never ends by itself."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2), 0.0, False, False, {}


gymnasium.register("Endless-v0", entry_point=lambda **options: Endless(**options), disable_env_checker=True)


def test_an_environment_without_a_time_limit_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    for options, limit in (({}, 1000), ({"max_episode_steps": 30}, 30)):
        workplace = make_workplace("gym", env_id="Endless-v0", task_config=options)
        workplace.reset(0)
        outcomes = [workplace.step(np.zeros(2, np.float32), 0) for _ in range(limit)]
        assert [outcome.truncated for outcome in outcomes].index(True) == limit - 1
        assert not outcomes[-1].terminated
    make_workplace("gym", env_id="Endless-v0")
    assert capsys.readouterr().out == (
        "Endless-v0 has no time limit: episodes end after 1000 steps; task_config.max_episode_steps=... sets it\n"
    )
    make_workplace("gym", env_id="Pendulum-v1")
    assert capsys.readouterr().out == ""


def test_a_store_of_another_environment_is_refused() -> None:
    workplace, _ = odd()
    spec = workplace.store_spec("mujoco", {})
    workplace.check_store(spec)
    with pytest.raises(UserError, match=r"the store holds episodes of env_id=Other-v0, not of Odd-v0; use the data"):
        workplace.check_store(replace(spec, task_text="Other-v0"))


OWN_MODULE = """
import gymnasium
from gymnasium import spaces
from robot_rl.tasks.peg_insertion import PegInsertion

gymnasium.register("Mine-v0", entry_point=lambda: gymnasium.make("Pendulum-v1").unwrapped)

class Pressing(PegInsertion):
    name = "pressing"

    def __init__(self, variant="default", force_n=4.0):
        super().__init__(variant)
        self.force_n = force_n + 0.0

    def observation_space(self):
        force = spaces.Box(-1.0, 1.0, (1,))
        return spaces.Dict({**super().observation_space().spaces, "force": force})

class Seeing(PegInsertion):
    def observation_space(self):
        return spaces.Dict({"map": spaces.Box(0.0, 1.0, (4, 4))})
"""


def test_modules_of_the_working_folder_give_environments_and_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_module_of_test.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # as a console script finds it
    assert make_workplace("gym", env_id="own_module_of_test:Mine-v0").obs_size == 3
    assert vector_sizes(make_task("own_module_of_test:Pressing")) == {"state": 30, "force": 1}
    with pytest.raises(UserError, match="policies take vectors of floats, observation 'map' is Box"):
        vector_sizes(make_task("own_module_of_test:Seeing"))
    assert make_task("own_module_of_test:Pressing", "default", {"force_n": 5}).success_target == 0.95
    for settings, reason in (({"forze_n": 5.0}, "unexpected keyword argument 'forze_n'"), ({"force_n": "x"}, "str")):
        with pytest.raises(UserError, match=rf"does not take task_config.{next(iter(settings))}=.*{reason}"):
            make_task("own_module_of_test:Pressing", "default", settings)


def test_pictures_are_recorded_but_not_trained_on() -> None:
    with pytest.raises(UserError, match="pictures are recorded by `robot-rl collect images=true` and learned from"):
        make_workplace("peg_insertion", images=True)


class Towards:
    """Acts as any object may: three methods."""

    def __init__(self, gain: float = -1.0) -> None:
        self.gain, self.begun = gain, 0

    def begin_episode(self) -> None:
        self.begun += 1

    def prepare(self, obs: Any, rng: np.random.Generator) -> dict[str, Any]:
        return {"noise": rng.uniform(-0.1, 0.1, 1).astype(np.float32)}

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Proposal:
        return Proposal(np.clip(self.gain + extras["noise"], -1, 1).astype(np.float32), Source.SCRIPTED)


def test_anything_that_acts_can_demonstrate_in_any_workplace(tmp_path: Path) -> None:
    workplace = Line()
    with EpisodeStore.create_or_open(tmp_path / "demos.zarr", workplace.store_spec("mujoco", {})) as store:
        for seed in range(3):
            episode, record = record_acting(workplace, Towards(), store.spec, seed)
            assert record.success
            store.append(episode)
        failed, _ = record_acting(workplace, Towards(1.0), store.spec, 9)
        store.append(failed)
    episodes = load_episodes(str(tmp_path / "demos.zarr"), workplace)
    assert [len(successful(episodes, "demos.zarr")), len(episodes)] == [3, 4]
    np.testing.assert_allclose(episodes[0].action_executed, -0.5)
    assert episodes[0].action_proposed.max() < -0.85
    agent = AgentRecipe("rlpd", 2, ("dx",), TINY).build()
    demos = Replay(200, 2, 1)
    fill_replay(demos, episodes, workplace, agent, np.random.default_rng(0))
    assert demos.added == sum(len(episode) for episode in episodes)
    assert int(demos.terminated.sum()) == 3
    with pytest.raises(UserError, match="expected at least one success among the 1 episodes"):
        successful([failed], "demos.zarr")


def test_what_a_recovery_did_is_left_out_of_imitation_and_kept_for_the_critics() -> None:
    workplace = Line()
    episode, _ = record_acting(workplace, Towards(0.4), workplace.store_spec("mujoco", {}), 0)
    features, actions = workplace.demonstrations(episode)
    count = len(episode)
    assert count >= 4, "long enough to have parts"
    (whole,) = imitation_pairs([episode], workplace)
    np.testing.assert_array_equal(whole[0], features[:-1])
    np.testing.assert_array_equal(whole[1], actions)
    source = episode.source.copy()
    source[1:3] = Source.RECOVERY
    mixed = replace(episode, source=source)
    before, after = imitation_pairs([mixed], workplace)
    np.testing.assert_array_equal(np.concatenate([before[0], after[0]]), features[[0, *range(3, count)]])
    np.testing.assert_array_equal(np.concatenate([before[1], after[1]]), actions[[0, *range(3, count)]])
    assert (len(before[0]), len(after[1])) == (1, count - 3)
    assert imitation_pairs([replace(episode, source=np.full_like(source, Source.RECOVERY))], workplace) == []
    demos = Replay(200, 2, 1)
    agent = AgentRecipe("rlpd", 2, ("dx",), TINY).build()
    fill_replay(demos, [mixed], workplace, agent, np.random.default_rng(0))
    assert demos.added == count
    batch = demos.sample(500, np.random.default_rng(0), 1, 0.9, demo=True)
    assert set(batch.source[~batch.imitable]) == {int(Source.RECOVERY)} and batch.imitable.any()


def test_demonstrations_of_a_gymnasium_environment_train_and_fit_only_their_own_kind(tmp_path: Path) -> None:
    workplace = GymWorkplace("Pendulum-v1", history=1)
    agent = AgentRecipe("rlpd", workplace.obs_size, workplace.action_names, TINY).build()
    with EpisodeStore.create_or_open(tmp_path / "demos.zarr", workplace.store_spec("mujoco", {})) as store:
        store.append(record_acting(workplace, agent, store.spec, 3)[0])
    episodes = load_episodes(str(tmp_path / "demos.zarr"), workplace)
    demos = Replay(500, workplace.obs_size, 1)
    fill_replay(demos, episodes, workplace, agent, np.random.default_rng(0))
    trainer = SyncTrainer(
        agent, workplace, None, demos, tmp_path, TrainSettings(220, eval_every=0), lambda record: None
    )
    trainer.run()
    assert trainer.counters.step == 220
    with pytest.raises(UserError, match="task"):
        load_episodes(str(tmp_path / "demos.zarr"), Line())


def test_the_figures_of_an_evaluation_are_those_of_its_episodes() -> None:
    records = evaluate(Towards(), Line(), range(4))
    assert [record.seed for record in records] == [0, 1, 2, 3]
    for record in records:
        assert (record.end, record.success, record.ret) == ("success", True, 1.0)
        assert record.source_share == {"scripted": 1.0}
        assert record.limited_share == 1.0
        assert record.robot_s == pytest.approx(0.1 * record.length)
    records += evaluate(Towards(1.0), Line(), [5])
    assert records[-1].end == "timeout"
    summary = summary_of(records, 7, True, 0.0)
    assert (summary["kind"], summary["step"], summary["success_rate"], len(summary["episodes"])) == ("eval", 7, 0.8, 5)
    assert summary["low"] < 0.8 < summary["high"]


def test_an_evaluation_repeats_to_the_last_digit() -> None:
    first, second = (evaluate(Towards(), Line(), range(4)) for _ in range(2))
    assert [record.length for record in first] == [record.length for record in second]


class ShortLeash(PegInsertion):
    """The plate without its hole below the peg, and a leash of a third of the largest increment."""

    max_steps = 12

    def chain_config(self) -> ChainConfig:
        config = super().chain_config()
        return replace(config, limiter=replace(config.limiter, leash=(0.004,) * 3 + (0.1,) * 3))

    def draw(self, rng: np.random.Generator) -> Draw:
        draw = super().draw(rng)
        beside = Pose(draw.T_base_goal.position_m + np.array([0.0, 0.04, 0.0]))
        start = draw.T_base_goal.compose(Pose(np.array([0.0, 0.0, -0.006])))
        return replace(draw, fixtures={"plate": beside}, T_base_start=start)


class PushDown(SacAgent):
    """Pushes along the peg with all it may."""

    def act(self, obs: Any, extras: Any, deterministic: bool) -> Proposal:
        return Proposal(np.eye(6, dtype=np.float32)[2], Source.POLICY)


def test_trap_4_what_the_limiter_let_through_is_stored_and_learned_from(tmp_path: Path) -> None:
    workplace = ArmWorkplace(make_env(ShortLeash(), seed=0))
    agent = PushDown(AgentSpec(workplace.obs_size, 6), SacConfig(**TINY))
    with EpisodeStore.create_or_open(tmp_path / "demos.zarr", workplace.store_spec("mujoco", {})) as store:
        store.append(record_acting(workplace, agent, store.spec, 0)[0])
    episode = load_episodes(str(tmp_path / "demos.zarr"), workplace)[0]
    assert (episode.action_proposed[:, 2] == 1.0).all()
    on_the_plate = episode.action_executed[-4:, 2]
    np.testing.assert_allclose(on_the_plate, 0.004 / 0.012, atol=0.05)
    settings = TrainSettings(12, warmup=100, eval_every=0)
    trainer = SyncTrainer(agent, workplace, None, None, tmp_path, settings, lambda record: None)
    trainer.run()
    trained = trainer.replay.action[trainer.replay.has_action]
    assert trained.shape == (12, 6)
    np.testing.assert_allclose(trained[-4:, 2], 0.004 / 0.012, atol=0.05)
    demos = Replay(50, workplace.obs_size, 6)
    fill_replay(demos, [episode], workplace, agent, np.random.default_rng(0))
    np.testing.assert_array_equal(demos.action[demos.has_action], episode.action_executed[:, workplace.columns])


@pytest.mark.slow
def test_pendulum_is_learned_from_scratch_within_3000_steps(tmp_path: Path) -> None:
    workplace, evaluation = GymWorkplace("Pendulum-v1"), GymWorkplace("Pendulum-v1")
    options = resolve_agent_options("gym", "default", "rlpd", {})
    agent = AgentRecipe("rlpd", workplace.obs_size, workplace.action_names, options, seed=1).build()
    settings = TrainSettings(3000, seed=1, eval_every=0, eval_episodes=10)
    trainer = SyncTrainer(agent, workplace, evaluation, None, tmp_path, settings, lambda record: None)
    trainer.run()
    assert trainer.evaluate()["mean_return"] > -300.0


def test_the_program_in_the_documentation_runs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    program = page.partition("<!-- run -->\n```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(str(tmp_path / "demos.zarr"), GymWorkplace("Pendulum-v1"))
    assert len(episodes) == 10
    assert np.mean([episode.reward.sum() for episode in episodes]) > -400.0
