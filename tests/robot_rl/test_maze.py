"""The maze: layouts by seed, what is seen and what not, soft walls, violations, decision periods, reset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.acceptance import require_acceptable_actions
from robot_rl.envs.checker import check_env
from robot_rl.envs.make import make_env
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.operators.maze_explorer import MazeExplorer
from robot_rl.tasks.base import Draw, Sensed
from robot_rl.tasks.maze import STATE_NAMES, STATE_SCALE, TOOL_RADIUS_M, Maze
from robot_rl.tasks.maze_layout import SEEDS, MazeShape, layout
from robot_rl.tasks.peg_insertion import PegInsertion
from robot_rl.tasks.registry import make_task, task_names
from tests.robot_rl.env_tools import act

FAR = np.array([0.0, 1.0, 0.10])
"""Where a fixture is out of the way, at its height."""


@given(st.integers(0, 2_000_000), st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=200)
def test_every_maze_can_be_passed_and_none_of_them_straight(seed: int, baffles: int, bolts: int) -> None:
    shape = MazeShape(baffles=baffles, bolts=min(bolts, 2 * baffles))
    places = layout(seed, shape)
    again = layout(seed, shape)
    assert list(again) == list(places)
    for name, pose in places.items():
        np.testing.assert_array_equal(pose.matrix, again[name].matrix, err_msg="same seed, same maze")
    walls = [places[f"baffle{index}"] for index in range(baffles)]
    gaps_m = np.array([wall.position_m[1] for wall in walls])
    assert np.abs(gaps_m).max() <= 0.5 * (shape.width_m - shape.gap_m) + 1e-12, "gaps lie within the channel"
    assert (np.abs(np.diff(gaps_m)) >= shape.gap_change_m).all()
    assert min(np.diff([0.0, *(wall.position_m[0] for wall in walls), shape.length_m])) > 0.03
    stones = np.array([pose.position_m[:2] for name, pose in places.items() if name.startswith("bolt")])
    for stone in stones:
        assert abs(stone[1]) <= 0.5 * shape.width_m - shape.bolt_radius_m
        for wall in walls:
            across_m = abs(wall.inverse().apply(np.array([*stone, 0.0]))[0])
            assert across_m > 0.005 + shape.bolt_radius_m, "no bolt stands in a baffle"
    apart_m = [np.linalg.norm(a - b) for i, a in enumerate(stones) for b in stones[:i]]
    assert min(apart_m, default=1.0) > 2.0 * shape.bolt_radius_m


def test_held_out_mazes_are_never_drawn_for_training() -> None:
    (first, end), (held_first, held_end) = SEEDS["train"], SEEDS["heldout"]
    assert end <= held_first or held_end <= first
    for task, (low, high) in ((Maze(), SEEDS["train"]), (Maze("heldout"), SEEDS["heldout"])):
        rng = np.random.default_rng(0)
        drawn = [task.draw(rng).info["maze_seed"] for _ in range(300)]
        assert low <= min(drawn) and max(drawn) < high
        assert len(set(drawn)) > 100
    assert (
        Maze(split="heldout").draw(np.random.default_rng(1)).info == Maze("heldout").draw(np.random.default_rng(1)).info
    )


@pytest.mark.parametrize("kind", [Maze, PegInsertion])
def test_a_policy_may_see_how_full_the_tank_is(kind: type[Maze] | type[PegInsertion]) -> None:
    task = kind(observe_tank=True)
    full_j = task.chain_config().ledger.tank_start_j
    draw = task.draw(np.random.default_rng(0))
    half = sensed(draw.T_base_start, tank_energy_j=0.5 * full_j)
    observation = task.observe(half, draw, np.zeros(task.action.size))
    assert task.observation_space().contains(observation)
    assert observation["tank"] == pytest.approx(0.5)
    np.testing.assert_array_equal(observation["state"], kind().observe(half, draw, np.zeros(task.action.size))["state"])
    with pytest.raises(UserError, match="observe_tank=true needs the passivity ledger"):
        task.observe(sensed(draw.T_base_start), draw, np.zeros(task.action.size))


def two_mazes() -> tuple[Draw, Draw]:
    """Two draws that share all that is seen, with different walls and bolts."""
    train, held = Maze().draw(np.random.default_rng(5)), Maze("heldout").draw(np.random.default_rng(5))
    assert train.T_base_start.is_close(held.T_base_start, 0.0)
    assert not train.fixtures["baffle0"].is_close(held.fixtures["baffle0"], 1e-4)
    return train, held


def sensed(place: Pose, **changes: Any) -> Sensed:
    values: dict[str, Any] = {
        "stamp_ns": 1,
        "T_base_tool": place,
        "rotation_base_tool": place.rotation,
        "twist_base": np.array([0.05, 0.02, 0.0, 0.0, 0.0, 0.1]),
        "wrench_tool": np.array([-4.0, 1.0, 0.5, 0.02, 0.03, 0.0]),
        "peak_force_n": 5.0,
        "peak_moment_nm": 0.1,
        "T_base_reference": Pose(place.position_m + np.array([0.01, 0.0, 0.0]), place.quaternion_xyzw),
        "q_rad": np.zeros(7),
        "gripper_m": float("nan"),
        "reasons": frozenset(),
    }
    return Sensed(**{**values, **changes})


def test_what_is_seen_does_not_depend_on_walls_and_bolts() -> None:
    task, (one, other) = Maze(), two_mazes()
    here = sensed(one.T_base_goal.compose(Pose(np.array([0.1, -0.02, 0.0]))))
    previous = np.linspace(-1.0, 1.0, task.action.size)
    states = [task.observe(here, replace(draw, fixtures={}, info={}), previous)["state"] for draw in (one, other)]
    np.testing.assert_array_equal(states[0], states[1])
    seen = dict(zip(STATE_NAMES, states[0] / STATE_SCALE, strict=True))
    assert (seen["x"], seen["y"], seen["vx"], seen["vy"]) == pytest.approx((0.1, -0.02, 0.05, -0.02), abs=1e-6)
    assert (seen["fx"], seen["ex"], seen["ey"]) == pytest.approx((-4.0, 0.01, 0.0), abs=1e-6)
    wanted = previous[task.action.active_index]
    np.testing.assert_allclose([seen[f"previous_{name}"] for name in ("dx", "dy", "k_x", "k_y")], wanted, atol=1e-6)


def test_two_mazes_feel_alike_until_something_is_touched() -> None:
    env = make_env(Maze(), seed=0, teleport=True)
    runs = []
    for draw in two_mazes():
        observation, _ = env.reset(seed=3, options={"draw": draw})
        states = [observation["state"], *(act(env, dx=0.2, k_x=0.3)[0]["state"] for _ in range(4))]
        runs.append(states)
    np.testing.assert_array_equal(runs[0], runs[1])


def test_the_far_end_is_success_and_pressing_too_hard_is_the_end() -> None:
    task = Maze()
    draw = task.draw(np.random.default_rng(0))
    inside, out = (
        draw.T_base_goal.compose(Pose(np.array([x, 0.0, 0.0]))) for x in (0.24, 0.24 + TOOL_RADIUS_M + 0.001)
    )
    verdicts = {
        "inside": task.judge(sensed(inside), draw),
        "out": task.judge(sensed(out), draw),
        "hard": task.judge(sensed(inside, peak_force_n=task.max_force_n + 0.1), draw),
        "twisted": task.judge(sensed(inside, peak_moment_nm=task.max_moment_nm + 0.1), draw),
        "out but hard": task.judge(sensed(out, peak_force_n=task.max_force_n + 0.1), draw),
    }
    found = {name: (verdict.reward, verdict.terminated, verdict.success) for name, verdict in verdicts.items()}
    assert found == {
        "inside": (0.0, False, False),
        "out": (1.0, True, True),
        "hard": (-1.0, True, False),
        "twisted": (-1.0, True, False),
        "out but hard": (-1.0, True, False),
    }


def against_a_wall(max_force_n: float) -> RobotEnv:
    """An environment whose finger has 80 mm of free way before it meets a closed wall; all else is away."""
    task = Maze(max_force_n=max_force_n)
    env = make_env(task, seed=0, teleport=True)
    draw = task.draw(np.random.default_rng(0))
    away = {name: Pose(FAR + np.array([0.1 * i, 0.0, 0.0])) for i, name in enumerate(draw.fixtures)}
    wall = draw.T_base_goal.position_m + np.array([0.12, 0.08, -0.005])  # its gap lies beyond the channel
    start = draw.T_base_goal.compose(Pose(np.array([0.02, 0.0, 0.0])))
    draw = replace(draw, fixtures={**away, "baffle0": Pose(wall)}, T_base_start=start)
    env.reset(seed=0, options={"draw": draw})
    return env


def test_walls_give_way_like_rubber() -> None:
    env = against_a_wall(100.0)
    for _ in range(30):
        *_, info = act(env, dx=0.7, k_x=1.0)
    depth_m = -env.world.data.contact.dist.min()
    assert 8.0 < info["force_n"] < 20.0
    assert 3000.0 < info["force_n"] / depth_m < 8000.0


def test_a_touch_at_full_speed_is_no_violation_yet_and_pushing_on_becomes_one() -> None:
    env = against_a_wall(100.0)
    forces_n: list[np.ndarray] = []
    step = env.link.step

    def watched(duration_s: float, interruptible: bool = False) -> Any:
        reports = step(duration_s, interruptible)
        forces_n.append(np.linalg.norm(reports["wrench_tool"][:, :2], axis=1))
        return reports

    env.link.step = watched  # type: ignore[method-assign]
    for _ in range(20):
        act(env, dx=1.0, k_x=1.0)
    force_n = np.convolve(np.concatenate(forces_n), np.full(3, 1.0 / 3.0), "valid")
    touched = int(np.argmax(force_n > 4.0))
    assert force_n[touched : touched + 20].max() < Maze().max_force_n, "20 ms to react in"
    assert force_n.max() > Maze().max_force_n
    env = against_a_wall(Maze().max_force_n)
    for _ in range(20):
        _, reward, terminated, truncated, info = act(env, dx=1.0, k_x=1.0)
        assert terminated == info["violation"]
        if terminated:
            break
    assert (reward, terminated, truncated, info["success"]) == (-1.0, True, False, False)


@pytest.mark.parametrize("decision_s", [0.1, 0.15, 0.3, 0.5, 1.0])
def test_every_decision_period_is_accepted_and_lasts_as_long(decision_s: float) -> None:
    task = make_task("maze", "default", {"decision_s": decision_s})
    require_acceptable_actions(task)
    assert task.rate_hz == pytest.approx(1.0 / decision_s)
    assert task.max_steps * decision_s == pytest.approx(15.0)
    assert task.action.translation_m[0] == pytest.approx(0.055 * (decision_s + 0.3))


@pytest.mark.parametrize("decision_s", [0.1, 0.5])
def test_a_policy_moves_in_the_plane_and_chooses_stiffness_and_the_task_holds_the_rest(decision_s: float) -> None:
    env = make_env(Maze(decision_s=decision_s), seed=0, teleport=True)
    env.reset(seed=0)
    for _ in range(round(3.0 / decision_s)):
        observation, *_, info = act(env, dx=-0.3, dy=0.2, dz=1.0, drx=1.0, k_x=0.5, k_y=-1.0)
        seen = dict(zip(STATE_NAMES, observation["state"] / STATE_SCALE, strict=True))
        assert abs(seen["z"]) < 0.003
        assert max(abs(seen[name]) for name in ("rx", "ry", "rz")) < 0.05
    np.testing.assert_allclose(info["action_executed"][2:7], 0.0, atol=1e-6)
    np.testing.assert_allclose(info["action_executed"][7:], [0.5, -1.0], atol=1e-6)
    np.testing.assert_allclose(env.task.action.stiffness_of(np.full(9, -1.0))[:2], 150.0)
    np.testing.assert_allclose(env.task.action.stiffness_of(np.full(9, 1.0))[:2], 1000.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "split=test is unknown; expected one of: heldout, train"),
        ({"decision_s": 0.05}, "decision_s must be a multiple of 0.05 s from 0.1 to 1 s, got 0.05"),
        ({"max_force_n": 0.0}, "max_force_n must be a finite number above 0, got 0.0"),
        ({"stiffness_n_m": [500.0, 100.0]}, "stiffness_n_m must be two numbers"),
        (
            {"start_x_m": [float("nan"), 1.0]},
            "start_x_m must be two numbers, 0 <= lowest <= highest < length_m",
        ),
        ({"start_x_m": [0.02, 0.01]}, "start_x_m must be two numbers"),
        ({"start_x_m": [0.02, float("inf")]}, "start_x_m must be two numbers"),
        ({"stiffness_n_m": [float("nan"), 100.0]}, "stiffness_n_m must be two numbers"),
        ({"bolts": 9}, "expected 1 to 3 baffles and at most two bolts a baffle, got 2 and 9"),
        ({"baffle_slant_rad": -0.1}, "baffle_slant_rad must be a finite number of at least 0, got -0.1"),
        ({"walls": 3}, "maze has no setting 'walls'; it has length_m"),
    ],
)
def test_settings_that_make_no_maze_are_told(changes: dict[str, Any], message: str) -> None:
    assert "maze" in task_names()
    with pytest.raises(UserError, match=message):
        make_task("maze", "default", changes)


def explored(decision_s: float, episodes: int) -> tuple[float, float]:
    """Success and violation rate of the explorer over teleported episodes."""
    task = Maze(decision_s=decision_s)
    env = make_env(task, seed=0, teleport=True)
    ends = []
    for seed in range(episodes):
        operator = task.operator(np.random.default_rng([0, seed]))
        observation, _ = env.reset(seed=seed)
        operator.reset()
        while True:
            observation, _, terminated, truncated, info = env.step(operator.act(observation, task.action.size))
            if terminated or truncated:
                break
        ends.append((info["success"], info["violation"]))
    success, violation = np.mean(ends, axis=0)
    return float(success), float(violation)


@pytest.mark.parametrize(
    ("decision_s", "episodes"),
    [
        (0.1, 40),
        (0.3, 40),
        (0.5, 40),
        pytest.param(0.3, 200, marks=pytest.mark.slow),
    ],
)
def test_the_explorer_finds_the_way_or_presses_too_hard(decision_s: float, episodes: int) -> None:
    success, violation = explored(decision_s, episodes)
    print(f"{episodes} episodes, decisions every {decision_s} s: success {success:.3f}, violation {violation:.3f}")
    assert 0.35 <= success <= 0.80
    assert 0.25 <= violation <= 0.60
    assert success + violation >= 0.80


def free_state(**values: float) -> dict[str, np.ndarray]:
    state = np.zeros(len(STATE_NAMES))
    for name, value in values.items():
        state[STATE_NAMES.index(name)] = value
    return {"state": (state * STATE_SCALE).astype(np.float32)}


def test_the_explorer_repeats_itself_and_uses_only_what_a_policy_has() -> None:
    task = Maze()
    rng, streams = np.random.default_rng(1), []
    states = [{"state": rng.uniform(-1.0, 1.0, len(STATE_NAMES)).astype(np.float32)} for _ in range(50)]
    for _ in range(2):
        operator = task.operator(np.random.default_rng(3))
        streams.append([operator.act(state, task.action.size) for state in states])
    np.testing.assert_array_equal(streams[0], streams[1])
    assert np.abs(streams[0]).max() <= 1.0
    assert not np.array(streams[0])[:, 2:7].any()


def test_an_explorer_that_something_takes_back_goes_on_softly() -> None:
    task = Maze(decision_s=0.5)
    hasty = next(
        operator
        for operator in (MazeExplorer(np.random.default_rng(i), task.action, 0.5) for i in range(100))
        if operator.haste.stiffness[0] > 0.8
    )
    assert hasty.act(free_state(x=0.02), task.action.size)[7] > 0.5
    assert hasty.act(free_state(x=0.06, ex=0.001), task.action.size)[7] > 0.5, "it got where it wished to"
    back = [hasty.act(free_state(x=0.055, ex=-0.002), task.action.size) for _ in range(3)]
    assert max(action[7] for action in back) <= -0.2 + 1e-6, "taken back: soft for 1.2 s"
    walled = MazeExplorer(np.random.default_rng(0), task.action, 0.5)
    walled.act(free_state(x=0.02), task.action.size)
    action = walled.act(free_state(x=0.022, ex=0.02, fx=-8.0), task.action.size)
    assert action[7] == pytest.approx(walled.haste.stiffness[0], abs=0.4), "a wall leaves the spring drawn"
    assert walled._searching, "and the gap is looked for"


def test_the_maze_is_a_sound_environment() -> None:
    assert check_env(make_env(Maze(), seed=0)) == []


def run_until(env: RobotEnv, wanted: str, first_seed: int) -> int:
    """Explores until an episode ends as wanted (success | violation); returns the next seed."""
    for seed in range(first_seed, first_seed + 30):
        operator = env.task.operator(np.random.default_rng([0, seed]))
        observation, _ = env.reset(seed=seed)
        operator.reset()
        while True:
            observation, _, terminated, truncated, info = env.step(operator.act(observation, env.task.action.size))
            if terminated or truncated:
                break
        if info[wanted]:
            return seed + 1
    raise AssertionError(f"30 episodes and no {wanted}")


@pytest.mark.parametrize("wanted", ["success", "violation"])
def test_a_reset_lifts_the_finger_over_the_walls_and_puts_everything_back(wanted: str) -> None:
    env = make_env(Maze(), seed=0)
    seed = run_until(env, wanted, 0)
    heights_m, placed = [], env.world.place

    def watch(name: str, pose: Pose) -> None:
        heights_m.append(env.link.latest().position_base_m[2] - 0.10)
        placed(name, pose)

    env.world.place = watch
    _, info = env.reset(seed=seed)
    assert (info["reset_kind"], info["reset_attempts"]) == ("automatic", 1)
    assert info["reset_s"] < 8.0
    assert min(heights_m) > 0.035, "mazes are changed under a finger that is above the walls"
    here = env.link.latest()
    distance_m, angle_rad = env.draw.T_base_start.distance(Pose(here.position_base_m, here.quaternion_base_xyzw))
    assert distance_m < 0.003 and angle_rad < 0.025
    for name, pose in env.draw.fixtures.items():
        np.testing.assert_allclose(env.world.data.body(name).xpos, pose.position_m, atol=1e-5, err_msg=name)


def test_a_restored_world_goes_on_bit_for_bit_with_its_bolts() -> None:
    env = make_env(Maze(), seed=0, teleport=True)
    seed = run_until(env, "success", 0)
    snapshot, runs = env.snapshot(), []
    for _ in range(2):
        env.restore(snapshot)
        states = [env.reset(seed=seed)[0]["state"]]
        states += [act(env, dx=1.0, dy=0.3, k_x=0.5)[0]["state"] for _ in range(20)]
        runs.append(np.concatenate([*states, env.world.data.qpos]))
    np.testing.assert_array_equal(runs[0], runs[1])


def test_resets_in_a_row_succeed_at_the_first_attempt_whatever_came_before() -> None:
    env, found, ends = make_env(Maze(), seed=0), [], []
    for seed in range(25):
        operator = env.task.operator(np.random.default_rng([0, seed]))
        observation, info = env.reset(seed=seed)
        operator.reset()
        found.append([info[name] for name in ("reset_s", "reset_pull_n", "reset_peak_n", "reset_attempts")])
        while True:
            observation, _, terminated, truncated, info = env.step(operator.act(observation, env.task.action.size))
            if terminated or truncated:
                break
        ends.append(info["violation"])
    time_s, pull_n, peak_n, attempts = np.array(found[1:]).T
    print(
        f"{len(time_s)} resets, {sum(ends[:-1])} after a violation: {time_s.min():.1f} .. {time_s.max():.1f} s, "
        f"pull at most {pull_n.max():.1f} N, peak {peak_n.max():.1f} N, {int(attempts.max())} attempt(s)"
    )
    assert attempts.max() == 1
    assert time_s.max() < 8.0
    assert sum(ends[:-1]) >= 5
    assert pull_n.max() < 22.0, "no more than stiffness x leash and friction"
