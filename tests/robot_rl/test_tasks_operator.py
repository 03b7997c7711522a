"""Draws, actions, features and the scripted operator, without long runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.errors import UserError
from robot_rl.agents.registry import agent_class
from robot_rl.cli.listing import tasks
from robot_rl.config import TasksConfig
from robot_rl.envs.action_map import ActionMap, quaternion_of_vector, rotation_vector
from robot_rl.envs.featuriser import Featuriser
from robot_rl.envs.make import make_env
from robot_rl.operators.peg_operator import OperatorConfig, TiltingOperator
from robot_rl.tasks.actions import ActionSpec
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.registry import make_task, task_names


def test_what_is_seen_is_drawn_before_the_truth() -> None:
    """Variants that differ in hidden error only share all that is seen."""
    for seed in range(20):
        a = PegInsertion(offset_m=0.001).draw(np.random.default_rng(seed))
        b = PegInsertion(offset_m=0.005, yaw_error_rad=0.0).draw(np.random.default_rng(seed))
        assert a.T_base_goal.is_close(b.T_base_goal, 1e-12)
        assert a.T_base_start.is_close(b.T_base_start, 1e-12)
        assert not a.fixtures["plate"].is_close(b.fixtures["plate"], 1e-6)


def test_draws_stay_within_what_the_configuration_says() -> None:
    task, rng = PegInsertion(), np.random.default_rng(0)
    config = task.config
    for _ in range(200):
        draw = task.draw(rng)
        lateral = draw.T_base_goal.inverse().apply(draw.fixtures["plate"].position_m)
        assert np.abs(lateral[:2]).max() <= config.offset_m * 1.01
        start = draw.T_base_goal.inverse().compose(draw.T_base_start)
        assert config.start_height_m[0] <= -start.position_m[2] + 1e-12
        assert -start.position_m[2] <= config.start_height_m[1] + 1e-12
        assert np.abs(start.position_m[:2]).max() <= config.start_offset_m + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_target_and_executed_are_inverse(seed: int) -> None:
    env = make_env(PegInsertion(), seed=0, teleport=True)
    env.reset(seed=seed)
    sensed: Any = env._sensed
    spec = ActionSpec()
    mapping = ActionMap(spec, env.draw.T_base_goal)
    action = np.random.default_rng(seed).uniform(-1.0, 1.0, spec.size)
    target, whole = mapping.target(sensed, action)

    class After:
        T_base_reference = target

    executed = mapping.executed(sensed, After(), whole)  # type: ignore[arg-type]
    np.testing.assert_allclose(executed[:6], action[:6], atol=1e-9)
    assert executed[6] == 0.0, "the gripper is not active"


def test_rotation_vectors_round_off_nothing() -> None:
    rng = np.random.default_rng(0)
    for angle in (0.0, 1e-12, 1e-6, 0.01, 1.0, 3.1):
        axis = rng.normal(size=3)
        w = axis / np.linalg.norm(axis) * angle
        rotation = Rotation.from_quat(quaternion_of_vector(w))
        np.testing.assert_allclose(rotation.as_rotvec(), w, atol=1e-12)
        np.testing.assert_allclose(rotation_vector(rotation.as_matrix()), w, atol=1e-9)


def test_features_remember_and_begin_with_copies_of_the_first() -> None:
    featuriser = Featuriser({"state": 2}, history=2)
    frames = [{"state": np.array([float(t), 10.0 + t], np.float32)} for t in range(4)]
    assert featuriser.reset(frames[0]).tolist() == [0, 10] * 3
    assert featuriser.step(frames[1]).tolist() == [1, 11, 0, 10, 0, 10]
    assert featuriser.step(frames[2]).tolist() == [2, 12, 1, 11, 0, 10]
    whole = featuriser.episode({"state": np.stack([frame["state"] for frame in frames])})
    assert whole[3].tolist() == [3, 13, 2, 12, 1, 11]


def test_features_refuse_what_a_network_must_not_see() -> None:
    featuriser = Featuriser({"state": 2})
    with pytest.raises(UserError, match="an observation holds a number that is not finite"):
        featuriser.reset({"state": np.array([0.0, np.nan])})
    with pytest.raises(UserError, match="expected the observations state, state not among other"):
        featuriser.reset({"other": np.zeros(2)})
    with pytest.raises(UserError, match="history must be 0 or more"):
        Featuriser({"state": 2}, history=-1)


def test_an_unknown_task_names_the_closest() -> None:
    assert "peg_insertion" in task_names()
    with pytest.raises(UserError, match=r"unknown task 'peg_insertoin'; did you mean peg_insertion\? \(valid: gym"):
        make_task("peg_insertoin")
    with pytest.raises(UserError, match="task peg_insertion has the variants default, tight, got 'loose'"):
        make_task("peg_insertion", "loose")
    with pytest.raises(UserError, match="task=gym env_id=<id> is no task of an arm: it goes with finetune"):
        make_task("gym")
    with pytest.raises(UserError, match="robot=mujoco, gazebo, fr3 or ros, got robot=toaster"):
        make_env(PegInsertion(), robot="toaster")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clearance_m": "abc"}, "clearance_m=abc does not fit PegInsertionConfig: expected a number"),
        ({"offset_m": -0.001}, "offset_m must be a number of at least 0, got -0.001"),
        ({"start_height_m": [0.02, 0.01]}, "start_height_m must be two heights"),
        ({"clearence_m": 0.001}, "peg_insertion has no setting 'clearence_m'"),
    ],
)
def test_settings_of_the_insertion_that_do_not_fit_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_task("peg_insertion", "default", settings)


def test_each_variant_says_what_counts_as_solved() -> None:
    assert [make_task("peg_insertion", variant).success_target for variant in ("default", "tight")] == [0.95, 0.90]


def broken_plugins(folder: Path) -> None:
    about = folder / "broken_thing-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-thing\nVersion: 1.0\n")
    groups = "[robot_rl.tasks]\nbroken = no_such_module:Task\n[robot_rl.agents]\nlost = no_such_module:AGENT\n"
    (about / "entry_points.txt").write_text(groups)


def test_a_broken_plug_in_is_named_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_plugins(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    listed = tasks(TasksConfig())
    assert "peg_insertion" in listed["tasks"]
    assert "plug-in 'broken' (no_such_module:Task of package broken-thing)" in listed["broken"]["broken"]
    assert "broken: plug-in 'broken'" in capsys.readouterr().out
    with pytest.raises(UserError, match="plug-in 'broken' .* cannot be imported: ModuleNotFoundError: No module"):
        make_task("broken")
    with pytest.raises(UserError, match="plug-in 'lost' .* cannot be imported"):
        agent_class("lost")


def test_tasks_and_agents_of_other_packages_are_found_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from robot_rl.agents.rlpd import RlpdAgent\nfrom robot_rl.tasks.peg_insertion import PegInsertion\n"
    code += "class Mine(PegInsertion):\n    name = 'mine'\nclass Learner(RlpdAgent):\n    pass\n"
    (tmp_path / "of_others.py").write_text(code)
    about = tmp_path / "of_others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: of-others\nVersion: 1.0\n")
    groups = "[robot_rl.tasks]\nmine = of_others:Mine\n[robot_rl.agents]\nlearner = of_others:Learner\n"
    (about / "entry_points.txt").write_text(groups)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert make_task("mine", "tight").name == "mine"
    assert agent_class("learner").__name__ == "Learner"
    assert "mine" in task_names()


def test_the_operator_acts_within_bounds_on_active_columns_and_repeats_itself() -> None:
    task = PegInsertion()
    streams = []
    for _ in range(2):
        operator = task.operator(np.random.default_rng(3))
        rng = np.random.default_rng(4)
        size = task.observation_space()["state"].shape
        actions = [
            operator.act({"state": rng.normal(size=size).astype(np.float32)}, task.action.size) for _ in range(50)
        ]
        streams.append(np.array(actions))
    assert np.abs(streams[0]).max() <= 1.0
    assert (np.delete(streams[0], task.action.active_index, axis=1) == 0.0).all()
    np.testing.assert_array_equal(streams[0], streams[1])


def successes(task: PegInsertion, operator: Any, episodes: int = 100) -> float:
    """Success rate over the episodes of the seeds 0, 1, ..."""
    env, count = make_env(task, seed=0), 0
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        operator.reset()
        ended = False
        while not ended:
            observation, _, terminated, truncated, _ = env.step(operator.act(observation, task.action.size))
            ended = terminated or truncated
        count += int(terminated)
    return count / episodes


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "settings"), [("default", {}), ("tight", {}), ("default", {"tilt": False})])
def test_the_operator_succeeds_in_half_to_four_fifths(variant: str, settings: dict[str, Any]) -> None:
    task = PegInsertion(variant, **settings)
    assert 0.5 <= successes(task, task.operator(np.random.default_rng(0))) <= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("variant", PegInsertion.variants)
def test_without_delay_and_tremble_the_operator_hardly_ever_fails(variant: str) -> None:
    """So the failures come from the operator's delay and tremble, not from a plan that cannot work."""
    steady = TiltingOperator(np.random.default_rng(0), OperatorConfig(delay_steps=0, motor_noise=0.0))
    assert successes(PegInsertion(variant), steady) >= 0.95


@pytest.mark.parametrize("variant", PegInsertion.variants)
def test_trap_18_no_episode_begins_as_a_success(variant: str) -> None:
    env = make_env(PegInsertion(variant), seed=0, teleport=True)
    for seed in range(50):
        env.reset(seed=seed)
        assert env._sensed is not None
        judged = env.task.judge(env._sensed, env.draw)
        assert (judged.reward, judged.success, judged.terminated) == (0.0, False, False), seed
