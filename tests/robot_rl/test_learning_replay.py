from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from robot_rl.learning import journal
from robot_rl.learning.replay import Replay
from robot_rl.learning.sampling import SymmetricSampler

GAMMA = 0.9


def obs_of(index: int) -> Any:
    """Each observation tells its own place in time."""
    return np.array([index, -index], np.float32)


def filled(episodes: list[tuple[int, str]], capacity: int = 64, steps: int = 1) -> tuple[Replay, list[dict[str, Any]]]:
    """A replay of episodes (length, end) and, beside it, a plain list of the transitions."""
    replay, plain, index = Replay(capacity, 2, 1, {"hint": (2,)}), [], 0
    for length, end in episodes:
        for step in range(length):
            last = step == length - 1
            row = {
                "obs": obs_of(index), "next_obs": obs_of(index + 1),
                "action": [index % 7 / 7], "reward": float(index),
                "terminated": last and end == "terminated", "truncated": last and end == "truncated",
                "source": 3,
                "extras": {"hint": obs_of(index) + 0.5}, "next_extras": {"hint": obs_of(index + 1) + 0.5},
                "steps": steps,
            }  # fmt: skip
            replay.add(**row)
            plain.append(row | {"ends": last})
            index += 1
        replay.interrupt()
        index += 1
    return replay, plain


def reference(plain: list[dict[str, Any]], first: int, n_step: int) -> tuple[float, float, float, Any]:
    """The n-step return, step by step: reward, discount, mask, next observation."""
    reward, elapsed = 0.0, 0
    for k in range(n_step):
        row = plain[first + k]
        reward += GAMMA**elapsed * row["reward"]
        elapsed += row["steps"]
        if row["ends"] or first + k + 1 == len(plain):
            break
    return reward, GAMMA**elapsed, 1.0 - float(row["terminated"]), row["next_obs"]


ENDS = st.sampled_from(["terminated", "truncated", "interrupted"])
EPISODES = st.lists(st.tuples(st.integers(1, 9), ENDS), min_size=1, max_size=9)


@given(EPISODES, st.integers(1, 5), st.integers(1, 3), st.integers(12, 80))
def test_trap_6_n_step_batches_agree_with_a_slow_reference_at_all_borders_of_episodes_and_ring(
    episodes: list[tuple[int, str]], n_step: int, steps: int, capacity: int
) -> None:
    replay, plain = filled(episodes, capacity, steps)
    batch = replay.sample(64, np.random.default_rng(0), n_step, GAMMA)
    by_obs = {int(row["obs"][0]): place for place, row in enumerate(plain)}
    for b in range(len(batch)):
        first = by_obs[int(batch.obs[b, 0])]
        reward, discount, mask, next_obs = reference(plain, first, n_step)
        assert batch.reward[b] == pytest.approx(reward, rel=1e-5)
        assert batch.discount[b] == pytest.approx(discount, rel=1e-6)
        assert batch.mask[b] == mask
        np.testing.assert_array_equal(batch.next_obs[b], next_obs)
        np.testing.assert_array_equal(batch.next_extras["hint"][b], next_obs + np.float32(0.5))
        np.testing.assert_array_equal(batch.extras["hint"][b], batch.obs[b] + np.float32(0.5))


@given(EPISODES, st.integers(12, 40))
def test_every_transition_in_the_ring_can_be_drawn_and_no_other(episodes: list[tuple[int, str]], capacity: int) -> None:
    replay, plain = filled(episodes, capacity)
    drawn = {int(value) for value in replay.sample(2000, np.random.default_rng(1), 1, GAMMA).obs[:, 0]}
    newest = [int(row["obs"][0]) for row in plain][len(plain) - len(replay) :]
    assert drawn == set(newest)


def test_trap_1_timeout_bootstraps() -> None:
    replay, _ = filled([(1, "truncated")])
    batch = replay.sample(4, np.random.default_rng(0), 3, GAMMA)
    assert (batch.mask == 1.0).all() and batch.discount == pytest.approx(GAMMA)


def test_trap_2_success_at_the_last_step_does_not_bootstrap() -> None:
    replay, _ = filled([(1, "terminated")])
    assert (replay.sample(4, np.random.default_rng(0), 3, GAMMA).mask == 0.0).all()


def test_trap_3_a_chunk_cut_short_is_discounted_by_the_steps_really_executed() -> None:
    replay = Replay(8, 2, 1)
    replay.add(obs_of(0), [0.0], 1.0, obs_of(1), False, False, steps=4)
    replay.add(obs_of(1), [0.0], 1.0, obs_of(2), True, False, steps=2)
    batch = replay.sample(32, np.random.default_rng(0), 1, GAMMA)
    assert set(np.round(batch.discount, 6)) == {np.float32(round(GAMMA**4, 6)), np.float32(round(GAMMA**2, 6))}
    both = replay.sample(32, np.random.default_rng(0), 2, GAMMA)
    rows = both.obs[:, 0] == 0
    assert both.reward[rows] == pytest.approx(1.0 + GAMMA**4) and both.discount[rows] == pytest.approx(GAMMA**6)


def test_trap_8_symmetric_sampling_when_one_buffer_is_small_or_empty() -> None:
    small, _ = filled([(2, "terminated")])
    large, _ = filled([(40, "truncated")])
    empty, rng = Replay(8, 2, 1, {"hint": (2,)}), np.random.default_rng(0)
    half = {True: 32, False: 32}
    cases: list[tuple[Replay, Replay | None, dict[bool, int]]] = [
        (large, small, half), (small, large, half),
        (empty, small, {True: 64}), (small, empty, {False: 64}), (small, None, {False: 64}),
    ]  # fmt: skip
    for online, demos, shares in cases:
        batch = SymmetricSampler(online, demos, 64, 1, GAMMA).sample(rng)
        counts = dict(zip(*np.unique(batch.demo, return_counts=True), strict=True))
        assert {bool(key): int(value) for key, value in counts.items()} == shares
    with pytest.raises(UserError, match="nothing to learn from"):
        SymmetricSampler(empty, empty, 64, 1, GAMMA).sample(rng)


def test_numbers_that_are_not_finite_and_wrong_widths_are_refused_and_change_nothing() -> None:
    replay, _ = filled([(3, "interrupted")])
    before = replay.obs.copy()
    good: dict[str, Any] = {
        "obs": [9, 9], "action": [0.0], "reward": 0.0, "next_obs": [8, 8], "terminated": False, "truncated": False,
        "extras": {"hint": [0, 0]}, "next_extras": {"hint": [0, 0]},
    }  # fmt: skip
    cases: list[tuple[dict[str, Any], str]] = [
        ({"obs": [np.nan, 0]}, r"transition 3: obs has numbers that are not finite at \[0\]"),
        ({"action": [np.inf]}, "transition 3: action has numbers that are not finite"),
        ({"action": [0.0, 0.0]}, r"action needs 1 numbers, got shape \(2,\)"),
        ({"reward": float("nan")}, "expected a finite reward"),
        ({"extras": {}}, "extras need shapes"),
        ({"next_extras": {"hint": [np.nan, 0]}}, "next_extras\\['hint'\\] has numbers that are not finite"),
    ]
    for change, message in cases:
        with pytest.raises(UserError, match=message):
            replay.add(**(good | change))
    assert len(replay) == 3 and not replay.open
    np.testing.assert_array_equal(replay.obs, before)


def test_an_episode_that_jumps_is_refused() -> None:
    replay = Replay(8, 2, 1)
    replay.add(obs_of(0), [0.0], 0.0, obs_of(1), False, False)
    with pytest.raises(UserError, match="obs is not the previous transition's next_obs"):
        replay.add(obs_of(5), [0.0], 0.0, obs_of(6), False, False)


def content(replay: Replay) -> dict[str, Any]:
    names = ["obs", "action", "reward", "terminated", "truncated", "source", "steps", "has_action", "starts", "serial"]
    names += ["head", "open", "added", "filled", "size"]
    return {name: np.array(getattr(replay, name)) for name in names} | replay.extras


@given(st.lists(st.tuples(st.integers(1, 5), ENDS), min_size=1, max_size=5), st.integers(1, 7), st.integers(20, 60))
def test_saved_increments_load_to_the_identical_content(
    tmp_path_factory: pytest.TempPathFactory, episodes: list[tuple[int, str]], every: int, capacity: int
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    whole, plain = filled(episodes, capacity)
    replay = Replay(capacity, 2, 1, {"hint": (2,)})
    for place, row in enumerate(plain):
        replay.add(**{key: value for key, value in row.items() if key != "ends"})
        if place % every == 0:
            replay.save_increment(folder, sync=False)  # also in the middle of an episode
        if row["ends"]:
            replay.interrupt()
    replay.save_increment(folder)
    loaded = Replay(capacity, 2, 1, {"hint": (2,)})
    loaded.load(folder)
    for name, values in content(whole).items():
        np.testing.assert_array_equal(content(loaded)[name], values, err_msg=name)


def test_loading_up_to_a_checkpoint_cuts_off_what_came_later(tmp_path: Path) -> None:
    replay, plain = filled([(9, "terminated")])
    replay.save_increment(tmp_path)
    resumed = Replay(64, 2, 1, {"hint": (2,)})
    resumed.load(tmp_path, 4)
    assert resumed.added == 4 and not resumed.open
    resumed.add(**{key: value for key, value in plain[6].items() if key != "ends"})
    resumed.save_increment(tmp_path)
    again = Replay(64, 2, 1, {"hint": (2,)})
    again.load(tmp_path)
    np.testing.assert_array_equal(again.obs, resumed.obs)
    with pytest.raises(UserError, match="holds 5 whole transitions, the checkpoint needs 9"):
        Replay(64, 2, 1, {"hint": (2,)}).load(tmp_path, 9)
    with pytest.raises(UserError, match="this run needs"):
        Replay(64, 3, 1).load(tmp_path)


@given(cut=st.integers(1, 120), flip=st.booleans())
def test_a_torn_or_damaged_tail_costs_only_the_tail(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    replay, _ = filled([(5, "truncated")])
    replay.save_increment(folder, sync=False)
    path = folder / journal.FILE
    content = bytearray(path.read_bytes())
    size = journal.record_type(replay).itemsize
    if flip:
        content[-cut] ^= 0x10
    else:
        del content[-cut:]
    path.write_bytes(bytes(content))
    loaded = Replay(64, 2, 1, {"hint": (2,)})
    loaded.load(folder)
    assert loaded.added == 5 - (cut + size - 1) // size


WRITER = """
import sys, numpy as np
from robot_rl.learning.replay import Replay
replay = Replay(100000, 2, 1)
for i in range(10**9):
    replay.add([i, -i], [0.0], float(i), [i + 1, -i - 1], i % 10 == 9, False)
    replay.save_increment(sys.argv[1], sync=False)
    if i == 20:
        print("go", flush=True)
    if i % 10 == 9:
        replay.interrupt()
"""


def test_kill_9_loses_at_most_the_step_in_flight(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "go\n"
        time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    replay = Replay(100000, 2, 1)
    replay.load(tmp_path)
    assert replay.added > 20
    np.testing.assert_array_equal(np.sort(replay.reward[replay.has_action]), np.arange(replay.added))
