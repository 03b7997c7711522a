"""Flat transitions of episodes: rows, borders and what is executed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.synthetic import synthetic_episode, synthetic_spec
from data.transitions import all_transitions, flat_observations, transitions

SPEC = synthetic_spec(image_px=3)


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_next_observations_never_cross_an_episode_border(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    episodes = [synthetic_episode(SPEC, steps, rng) for steps in lengths]
    flat = all_transitions(episodes)
    assert len(flat) == sum(lengths)
    first = 0
    for episode in episodes:
        rows = slice(first, first + len(episode))
        position = episode.observations["position_m"]
        np.testing.assert_array_equal(flat.observation[rows, :3], position[:-1])
        np.testing.assert_array_equal(flat.next_observation[rows, :3], position[1:])
        np.testing.assert_array_equal(flat.action[rows], episode.action_executed)
        np.testing.assert_array_equal(flat.terminated[rows], episode.terminated)
        np.testing.assert_array_equal(flat.truncated[rows], episode.truncated)
        np.testing.assert_array_equal(flat.source[rows], episode.source)
        first += len(episode)


def test_pictures_are_left_out_and_keys_are_taken_in_the_order_asked() -> None:
    episode = synthetic_episode(SPEC, 4, np.random.default_rng(0))
    assert flat_observations(episode).shape == (5, 4)
    swapped = flat_observations(episode, ["gripper_m", "position_m"])
    np.testing.assert_array_equal(swapped[:, 1:], episode.observations["position_m"])
    assert swapped.dtype == transitions(episode).reward.dtype == np.float32


def test_what_is_not_there_is_named() -> None:
    episode = synthetic_episode(SPEC, 4, np.random.default_rng(0))
    with pytest.raises(UserError, match="expected some of the observations position_m, gripper_m, wrist; got force"):
        transitions(episode, ["force"])
    with pytest.raises(UserError, match="expected at least one episode"):
        all_transitions([])
