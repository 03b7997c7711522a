"""The peg environment: what it hides, what it refuses, what it calls executed, and that it repeats itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.description.geometry import Pose
from controllers.robots.rendering import RenderError
from data.errors import UserError
from robot_rl.envs.checks_again import first_change, free_air, moved
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.envs.sensing import peak_force
from robot_rl.tasks.base import PEAK_WINDOW_TICKS, Draw, Judgement, Sensed
from robot_rl.tasks.peg_insertion import STATE_SCALE, PegInsertion
from safety.reasons import Reason
from tests.robot_rl.env_tools import TIP_DOWN, act, limited, start_over_the_true_hole


@pytest.fixture(scope="module")
def env() -> RobotEnv:
    return make_env(PegInsertion(), seed=0)


@pytest.mark.parametrize(
    "shift",
    [
        Pose(np.array([0.0028, 0.0, 0.0])),
        Pose(np.array([0.0, -0.0028, 0.0])),
        Pose(np.array([0.0, 0.0, 0.0005])),
        Pose.from_rpy(np.zeros(3), (0.0, 0.0, 0.02)),
    ],
    ids=["x", "y", "z", "yaw"],
)
def test_only_the_truth_changes_and_nothing_is_seen_of_it(env: RobotEnv, shift: Pose) -> None:
    """From the departure over the start and five steps in free air to the start of the next episode."""
    for seed in (4, 5, 6):
        env.reset(seed=seed)
        draw, departure = env.draw, env.snapshot()
        plain, shifted = (free_air(env, given, departure, seed) for given in (draw, moved(draw, shift)))
        assert len(plain) == 7
        assert first_change(plain, shifted) is None


def test_the_task_is_never_given_the_truth(env: RobotEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Draw] = {}

    def watch(name: str, plain: Any) -> None:
        def watched(first: Any, draw: Draw, *more: Any) -> Any:
            given[name] = draw
            return plain(first, draw, *more)

        monkeypatch.setattr(env.task, name, watched)

    for name in ("observe", "judge", "clip_target"):
        watch(name, getattr(env.task, name))
    env.reset(seed=1)
    act(env, dz=-0.1)
    assert set(given) == {"observe", "judge", "clip_target"}
    for draw in given.values():
        assert (draw.fixtures, draw.info) == ({}, {})
        assert draw.T_base_goal is env.draw.T_base_goal
    assert env.draw.fixtures
    assert env.draw.info["true_offset"]


def test_seed_and_actions_decide_everything_to_the_bit() -> None:
    runs = []
    for _ in range(2):
        fresh, rng = make_env(PegInsertion(), seed=0), np.random.default_rng(3)
        observation, _ = fresh.reset(seed=11)
        seen = [observation["state"]]
        for _ in range(15):
            observation, *_, info = fresh.step(rng.uniform([-1, -1, -0.5, -1, -1, -1, -1], 1.0))
            seen += [observation["state"], info["action_executed"], info["q_rad"]]
        runs.append(np.concatenate(seen).tobytes())
    assert runs[0] == runs[1]


def test_seeds_differ(env: RobotEnv) -> None:
    first, _ = env.reset(seed=1)
    second, _ = env.reset(seed=2)
    assert not np.array_equal(first["state"], second["state"])


@pytest.mark.parametrize("turn", [(0.7, 0.1, 0.5), (1.0, -1.0, 1.0), (-1.0, -1.0, -1.0)])
def test_executed_is_proposed_where_no_limit_bites(env: RobotEnv, turn: tuple[float, ...]) -> None:
    start_over_the_true_hole(env, 3)
    action = np.array([0.2, -0.3, -0.2, *turn, 1.0], np.float32)
    *_, info = env.step(action)
    own = np.isin(np.arange(7), env.task.action.active_index)
    np.testing.assert_allclose(info["action_executed"], np.where(own, action, 0.0), atol=1e-6)


def test_executed_shows_the_workspace_bound(env: RobotEnv) -> None:
    start_over_the_true_hole(env, 3)
    shares = [act(env, dx=1.0, dz=-0.1)[-1]["action_executed"][0] for _ in range(6)]
    assert shares[0] > 0.75
    assert shares[-1] < 0.5, "targets stay within 9 mm of the observed hole"


def test_executed_shows_the_leash() -> None:
    task = limited(leash=(0.004,) * 3 + (0.1,) * 3)
    env = make_env(task, seed=0)
    draw = task.draw(np.random.default_rng(0))
    beside = Pose(draw.T_base_goal.position_m + np.array([0.0, 0.04, 0.0]))
    start = draw.T_base_goal.compose(Pose(np.array([0.0, 0.0, -0.006])))
    env.reset(seed=0, options={"draw": replace(draw, fixtures={"plate": beside}, T_base_start=start)})
    for _ in range(8):
        *_, info = act(env, dz=1.0)
    assert int(Reason.LEASH) in info["reasons"]
    assert info["action_executed"][2] == pytest.approx(0.004 / 0.012, abs=0.05)
    assert info["force_n"] <= 600.0 * 0.004 + 2.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_no_number_moves_nothing(env: RobotEnv, bad: float) -> None:
    env.reset(seed=1)
    before = env.link.latest()
    action = np.zeros(7, np.float32)
    action[2] = bad
    with pytest.raises(UserError, match="an action must be finite, got .*: the arm was not moved"):
        env.step(action)
    assert env.link.latest().tick == before.tick


def test_an_action_of_another_size_names_the_right_one(env: RobotEnv) -> None:
    with pytest.raises(UserError, match=r"expected an action of shape \(7,\) \(dx, dy, .*gripper\), got \(4,\)"):
        env.step(np.zeros(4, np.float32))


def test_a_step_before_any_reset_is_refused() -> None:
    with pytest.raises(UserError, match=r"call reset\(\) before the first step"):
        make_env(PegInsertion()).step(np.zeros(7, np.float32))


class ShortTask(PegInsertion):
    """Four decisions long; judged a success at the one named."""

    max_steps = 4
    success_at = 0

    def judge(self, sensed: Sensed, draw: Draw) -> Judgement:
        self.success_at -= 1
        success = self.success_at == 0
        return Judgement(float(success), success, success)


@pytest.mark.parametrize(
    ("success_at", "ends"),
    [
        (0, [(False, False), (False, False), (False, False), (False, True)]),
        (4, [(False, False), (False, False), (False, False), (True, False)]),
        (2, [(False, False), (True, False)]),
    ],
    ids=["never", "at the last step", "before"],
)
def test_the_clock_truncates_and_success_terminates(success_at: int, ends: list[tuple[bool, bool]]) -> None:
    task = ShortTask()
    env = make_env(task, seed=0)
    env.reset(seed=0)
    task.success_at = success_at
    assert [act(env, dz=0.1)[2:4] for _ in ends] == ends


def test_the_true_hole_takes_the_peg(env: RobotEnv) -> None:
    start_over_the_true_hole(env, 2)
    turn = np.zeros(3)
    for _ in range(60):
        observation, reward, terminated, _, info = act(
            env, dz=0.5, **dict(zip(("drx", "dry", "drz"), turn, strict=True))
        )
        turn = np.clip(-20.0 * observation["state"][3:6] / STATE_SCALE[3:6], -1.0, 1.0)
        if terminated:
            break
    assert (reward, info["success"]) == (1.0, True)


def test_the_wrench_is_no_simulators(env: RobotEnv) -> None:
    """In free air a real sensor shows noise and bias; the simulator's contact force would be zero."""
    env.reset(seed=1)
    free = [np.array(act(env, dz=-0.2)[0]["state"][12:18]) / STATE_SCALE[12:18] for _ in range(6)]
    assert np.std(free, axis=0).min() > 1e-4
    assert np.abs(np.mean(free, axis=0)).max() > 1e-3
    assert np.linalg.norm(np.mean(free, axis=0)[:3]) < 3.0, "the tool's weight is removed"


def test_the_peg_is_deep_only_in_the_hole(env: RobotEnv) -> None:
    rng = np.random.default_rng(0)
    for trial in range(6):
        draw = env.task.draw(rng)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        beside = Pose(draw.fixtures["plate"].position_m + 0.005 * np.array([np.cos(angle), np.sin(angle), 0.0]))
        env.reset(seed=trial, options={"draw": replace(draw, fixtures={"plate": beside})})
        for _ in range(12):
            observation, _, terminated, _, _ = act(env, dx=rng.uniform(-0.2, 0.2), dz=1.0)
            assert not terminated
            assert observation["state"][2] / STATE_SCALE[2] < 0.006


def test_a_latched_chain_ends_the_episode_and_a_reset_revives_it(env: RobotEnv) -> None:
    env.reset(seed=1)
    env.link.step(6.0)  # the policy was away for longer than the latch
    _, _, terminated, truncated, info = act(env, dz=0.5)
    assert (terminated, truncated, info["held"]) == (False, True, True)
    env.reset(seed=2)
    assert act(env, dz=0.1)[-1]["held"] is False


def test_a_reading_that_is_no_number_stops_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log of its own where it runs
    env = make_env(PegInsertion(), seed=0)
    env.reset(seed=0)
    env.world.data.qvel[2] = np.nan
    with pytest.raises(UserError, match="expected finite numbers from the robot, got one that is not"):
        act(env, dz=0.1)


@pytest.mark.parametrize("teleport", [False, True], ids=["automatic", "teleport"])
@pytest.mark.parametrize("broken", ["qpos", "qvel"])
def test_the_reset_after_a_reading_that_is_no_number_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, teleport: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make_env(PegInsertion(), seed=0, teleport=teleport)
    env.reset(seed=0)
    getattr(env.world.data, broken)[2] = np.nan
    with pytest.raises(UserError, match="expected finite numbers from the robot"):
        act(env, dz=0.1)
    observation, info = env.reset(seed=1)
    here = env.link.latest()
    distance_m, _ = env.draw.T_base_start.distance(Pose(here.position_base_m, here.quaternion_base_xyzw))
    assert distance_m < 0.003
    assert env.observation_space.contains(observation)
    *_, info = act(env, dz=0.1)
    assert not info["held"]
    assert np.isfinite(info["q_rad"]).all()


def test_a_teleporting_reset_is_named_and_stands_at_the_start() -> None:
    env = make_env(PegInsertion(), seed=0, teleport=True)
    _, info = env.reset(seed=3)
    assert (info["reset_kind"], info["reset_s"]) == ("teleport", 0.0)
    here = env.link.latest()
    distance_m, angle_rad = env.draw.T_base_start.distance(Pose(here.position_base_m, here.quaternion_base_xyzw))
    assert distance_m < 0.001
    assert angle_rad < 0.005
    far = replace(env.draw, T_base_start=Pose(np.array([2.0, 0.0, 0.2]), TIP_DOWN))
    with pytest.raises(UserError, match=r"no joint position within the limits reaches \[2.0, 0.0, 0.2\] m"):
        env.reset(options={"draw": far})
    with pytest.raises(UserError, match="a teleporting reset needs a simulator: leave it off"):
        RobotEnv(env.task, env.link, teleport=lambda _: None)


def test_pictures_come_where_they_can_be_drawn() -> None:
    env = make_env(PegInsertion(), seed=0, images=True)
    try:
        observation, _ = env.reset(seed=0)
    except RenderError as error:
        pytest.skip(f"nothing to draw with here: {error}")
    assert env.observation_space.contains(observation)
    assert {key: observation[key].shape for key in observation if key.startswith("image")} == {
        "image_side": (64, 64, 3),
        "image_wrist": (64, 64, 3),
    }
    assert all(observation[key].std() > 5.0 for key in ("image_side", "image_wrist"))
    env.close()


def test_peaks_are_of_short_means() -> None:
    forces = np.zeros((50, 3))
    forces[10, 0] = 30.0
    assert peak_force(forces) == pytest.approx(30.0 / PEAK_WINDOW_TICKS)
    forces[20:23, 1] = 9.0
    assert peak_force(forces) == pytest.approx(10.0)
    assert peak_force(forces[20:21]) == pytest.approx(9.0)
