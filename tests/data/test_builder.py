"""Building episodes: what is copied, what is refused and with which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.builder import EpisodeBuilder
from data.episode import Episode, Step
from data.errors import UserError
from data.synthetic import synthetic_episode, synthetic_spec

SPEC = synthetic_spec()


def observation(value: float = 0.0) -> dict[str, Any]:
    return {"position_m": np.full(3, value), "gripper_m": 0.04}


def a_step(number: int, **changes: Any) -> Step:
    step = Step(observation(number), np.ones(4), np.zeros(4), 1.0, False, False, source=6, stamp_ns=number * 10)
    return replace(step, **changes)


@pytest.fixture
def builder() -> EpisodeBuilder:
    builder = EpisodeBuilder(SPEC)
    builder.start(observation(), stamp_ns=0)
    return builder


def test_rows_stand_where_they_belong(builder: EpisodeBuilder) -> None:
    for number in (1, 2, 3):
        builder.add(a_step(number, terminated=number == 3))
    episode = builder.finish(True, {"seed": np.int64(4), "pose": np.arange(2)})
    assert (len(episode), episode.success, episode.info) == (3, True, {"seed": 4, "pose": [0, 1]})
    np.testing.assert_array_equal(episode.observations["position_m"][:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(episode.stamp_ns, [0, 10, 20, 30])
    np.testing.assert_array_equal(episode.terminated, [False, False, True])
    assert not episode.truncated.any()
    assert episode.seconds == pytest.approx(30e-9)


def test_a_figure_without_a_value_costs_no_episode(builder: EpisodeBuilder) -> None:
    builder.add(a_step(1))
    info = builder.finish(
        False, {"peak_n": float("nan"), "all": [np.float64(np.inf), 1.0], "nested": {"n": np.nan}}
    ).info
    assert info == {"peak_n": None, "all": [None, 1.0], "nested": {"n": None}}


def test_a_value_that_json_cannot_hold_is_refused(builder: EpisodeBuilder) -> None:
    builder.add(a_step(1))
    with pytest.raises(UserError, match="an episode's info must be made of JSON values"):
        builder.finish(False, {"task": object()})
    assert len(builder.finish(False)) == 1


def test_reused_arrays_do_not_change_what_was_recorded(builder: EpisodeBuilder) -> None:
    seen, action = observation(1.0), np.ones(4)
    builder.add(a_step(1, observation=seen, action_executed=action))
    seen["position_m"][:] = 9.0
    action[:] = 9.0
    episode = builder.finish(False)
    assert episode.observations["position_m"].max() == 1.0
    assert episode.action_executed.max() == 1.0


def test_an_episode_without_an_end_counts_as_truncated(builder: EpisodeBuilder) -> None:
    builder.add(a_step(1))
    episode = builder.finish(False)
    assert episode.truncated.tolist() == [True] and episode.terminated.tolist() == [False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation": observation(np.nan)}, r"observation 'position_m' at step 1: expected finite numbers, got nan"),
        ({"action_executed": np.array([0, np.inf, 0, 0])}, "action_executed at step 1: expected finite .* got inf"),
        ({"action_proposed": np.full(4, np.nan)}, "action_proposed at step 1: expected finite numbers, got nan"),
        ({"action_proposed": np.zeros(3)}, r"action_proposed at step 1: expected shape \(4,\), got \(3,\)"),
        ({"reward": float("nan")}, "reward at step 1: expected finite numbers, got nan"),
        ({"observation": {"position_m": np.zeros(3)}}, r"observation at step 1: expected the keys \['gripper_m', 'pos"),
        ({"stamp_ns": 10}, "stamp_ns at step 1: expected above 10, got 10; use a monotonic clock"),
        ({"extras": {"q": np.zeros(2)}}, r"extras at step 1: expected \[\], got \['q'\]; give all in each step"),
    ],
)
def test_a_bad_step_is_refused_and_leaves_the_rest(
    builder: EpisodeBuilder, changes: dict[str, Any], message: str
) -> None:
    builder.add(a_step(1))
    with pytest.raises(UserError, match=message):
        builder.add(a_step(2, **changes))
    assert len(builder) == 1
    builder.add(a_step(2))
    assert len(builder.finish(False)) == 2


def test_the_order_of_calls_is_kept(builder: EpisodeBuilder) -> None:
    with pytest.raises(UserError, match="an episode needs at least one step, got none"):
        builder.finish(False)
    builder.add(a_step(1, truncated=True))
    with pytest.raises(UserError, match="a step came after the end of the episode"):
        builder.add(a_step(2))
    builder.finish(False)
    with pytest.raises(UserError, match=r"call start\(\) first"):
        builder.add(a_step(2))


def test_extras_may_hold_nan_and_keep_their_form() -> None:
    builder = EpisodeBuilder(SPEC)
    builder.start(observation(), 0, {"q_rad": np.zeros(2)})
    with pytest.raises(UserError, match=r"extras at step 0: expected \['q_rad', 'risk'\], got \['risk'\]"):
        builder.add(a_step(1, extras={"risk": 0.5}))
    builder.add(a_step(1, extras={"q_rad": np.ones(2), "risk": float("nan")}))
    with pytest.raises(UserError, match=r"extra 'q_rad' at step 1: expected shape \(2,\), got \(3,\)"):
        builder.add(a_step(2, extras={"q_rad": np.ones(3), "risk": 0.5}))
    episode = builder.finish(False)
    assert episode.extras["q_rad"].shape == (2, 2) and episode.extras["risk"].shape == (1,)


def test_check_refuses_flags_in_the_middle_and_foreign_arrays() -> None:
    good = synthetic_episode(SPEC, 4, np.random.default_rng(0))
    flags = np.array([True, False, False, True])
    with pytest.raises(UserError, match=r"set in the last step and in no other, got \[0, 3\] of 4 steps"):
        replace(good, truncated=flags).check(SPEC)
    with pytest.raises(UserError, match=r"missing \[\], unknown \['observations/more'\]"):
        replace(good, observations=good.observations | {"more": np.zeros(5)}).check(SPEC)
    with pytest.raises(UserError, match="reward: expected type float64, got float32"):
        replace(good, reward=good.reward.astype(np.float32)).check(SPEC)
    with pytest.raises(UserError, match="extra 'q': expected 4 or 5 rows"):
        replace(good, extras={"q": np.zeros(3)}).check(SPEC)
    with pytest.raises(UserError, match="not there"):
        Episode.from_arrays({}, False, {})
