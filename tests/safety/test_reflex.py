"""The modes of the reflex arbiter, for any risk."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.reflex import REFLEX, Mode, ReflexConfig, next_mode, rearm_reflex
from safety.retreat import PATH, SPACING_M, note_position, step_back

DT_S = 0.01
SHORT = ReflexConfig(dwell_s=0.06, exit_s=0.04, max_reflex_s=0.3, hold_exit_s=0.1, hold_window_s=5.0)
CONFIG = SHORT.to_record(DT_S)[()]
DWELL, EXIT, LONGEST = 6, 4, 30
thresholds = (0.0, 0.1, 0.105, 0.15, 0.2, 0.21, 0.3, 0.31, 1.0)
risks = st.one_of(st.sampled_from(thresholds), st.floats(0.0, 1.0))
runs = st.lists(st.tuples(risks, st.floats(0.0, 40.0), st.integers(1, 40)), min_size=1, max_size=40)


def memory() -> Any:
    record = np.zeros((), REFLEX)[()]
    rearm_reflex(record, CONFIG)
    return record


def modes_of(run: list[tuple[float, float, int]], record: Any = None) -> list[int]:
    """Modes of a run of (risk, force, ticks); the first is that before it."""
    record = memory() if record is None else record
    modes = [int(record["mode"])]
    for risk, force_n, ticks in run:
        modes += [next_mode(record, CONFIG, risk, force_n) for _ in range(ticks)]
    return modes


def spells(modes: list[int]) -> list[tuple[int, int]]:
    """(mode, ticks) of each stay."""
    found: list[tuple[int, int]] = []
    for mode in modes:
        if found and found[-1][0] == mode:
            found[-1] = (mode, found[-1][1] + 1)
        else:
            found.append((mode, 1))
    return found


@given(runs)
@settings(max_examples=300)
def test_a_mode_lasts_its_dwell_and_a_reflex_ends(run: list[tuple[float, float, int]]) -> None:
    stays = spells(modes_of(run))
    for (mode, ticks), (following, _) in pairwise(stays):
        if mode in (Mode.SOFT, Mode.REFLEX) and following < mode:
            assert ticks >= DWELL, "weaker only after the dwell"
        if mode == Mode.REFLEX:
            assert ticks <= LONGEST
            assert ticks == LONGEST or following < mode, "a hold comes after the longest reflex only"
        assert mode != Mode.STOP, "nothing but a seed ends a stop"
        assert following > mode or following in (Mode.NORMAL, Mode.SOFT)
    assert all(ticks <= LONGEST for mode, ticks in stays if mode == Mode.REFLEX)


@given(runs)
@settings(max_examples=300)
def test_it_does_not_chatter(run: list[tuple[float, float, int]]) -> None:
    modes = modes_of(run)
    weaker = [tick for tick, (old, new) in enumerate(pairwise(modes)) if new < old]
    assert all(later - earlier >= DWELL for earlier, later in pairwise(weaker))
    for window in range(len(modes) - DWELL):
        changes = sum(old != new for old, new in pairwise(modes[window : window + DWELL]))
        assert changes <= 4, "within a dwell it may only rise, and fall once"


@given(runs, risks, risks, st.floats(0.0, 40.0))
@settings(max_examples=300)
def test_a_greater_risk_never_gives_a_weaker_mode(
    run: list[tuple[float, float, int]], one: float, other: float, force_n: float
) -> None:
    record = memory()
    modes_of(run, record)
    low, high = record.copy(), record.copy()
    assert next_mode(low, CONFIG, min(one, other), force_n) <= next_mode(high, CONFIG, max(one, other), force_n)


@given(runs)
def test_risk_above_the_threshold_acts_in_the_same_tick(run: list[tuple[float, float, int]]) -> None:
    record = memory()
    modes_of(run, record)
    assert next_mode(record, CONFIG, 0.300001, 0.0) >= Mode.REFLEX


def test_the_third_hold_within_the_window_latches_until_a_seed() -> None:
    record = memory()
    reflex_then_hold, calm = [(1.0, 0.0, LONGEST + 1)], [(0.0, 0.0, 12)]
    for _ in range(2):
        assert modes_of(reflex_then_hold, record)[-1] == Mode.HOLD
        assert modes_of(calm, record)[-1] == Mode.NORMAL
    assert modes_of(reflex_then_hold, record)[-1] == Mode.STOP
    assert modes_of([(0.0, 0.0, 2000)], record)[-1] == Mode.STOP
    rearm_reflex(record, CONFIG)
    assert modes_of(reflex_then_hold, record)[-1] == Mode.HOLD, "a seed that ends a stop begins to count anew"
    rearm_reflex(record, CONFIG)
    assert modes_of(reflex_then_hold, record)[-1] == Mode.HOLD
    rearm_reflex(record, CONFIG)
    assert modes_of(reflex_then_hold, record)[-1] == Mode.STOP, "another seed forgets no hold"


def test_a_program_that_resets_out_of_every_reflex_is_stopped_at_the_third() -> None:
    record = memory()
    for expected in (Mode.NORMAL, Mode.NORMAL, Mode.STOP):
        assert modes_of([(1.0, 0.0, LONGEST // 2)], record)[-1] == Mode.REFLEX
        assert rearm_reflex(record, CONFIG) == expected == record["mode"]
    assert modes_of([(0.0, 0.0, 2000)], record)[-1] == Mode.STOP
    assert rearm_reflex(record, CONFIG) == Mode.NORMAL


@given(st.lists(st.tuples(runs, st.booleans()), min_size=1, max_size=12))
def test_no_sequence_of_seeds_leaves_the_arm_more_than_the_allowed_times_within_the_window(parts: Any) -> None:
    record, ended = memory(), []
    for run, seed in parts:
        for risk, force_n, ticks in run:
            for _ in range(ticks):
                before = record["mode"]
                mode = next_mode(record, CONFIG, risk, force_n)
                if before == Mode.REFLEX and mode == Mode.HOLD:
                    ended.append(int(record["tick"]))
        if seed:
            before = record["mode"]
            if rearm_reflex(record, CONFIG) != Mode.STOP and before == Mode.REFLEX:
                ended.append(int(record["tick"]))
            if before == Mode.STOP:
                ended.clear()
        for first, third in zip(ended, ended[2:], strict=False):
            assert third - first > CONFIG["hold_window_ticks"]


def test_a_seed_in_a_hold_counts_that_hold_once() -> None:
    record = memory()
    modes_of([(1.0, 0.0, LONGEST + 1)], record)
    assert rearm_reflex(record, CONFIG) == Mode.NORMAL and record["holds"] == 1


def test_holds_far_apart_do_not_latch() -> None:
    record = memory()
    for _ in range(10):
        assert modes_of([(1.0, 0.0, LONGEST + 1)], record)[-1] == Mode.HOLD
        modes_of([(0.0, 0.0, 300)], record)
    assert record["holds"] == 10


def test_a_hold_ends_only_when_risk_and_force_are_small() -> None:
    record = memory()
    modes_of([(1.0, 0.0, LONGEST + 1)], record)
    assert modes_of([(0.0, 15.1, 50)], record)[-1] == Mode.HOLD
    assert modes_of([(0.15, 0.0, 50)], record)[-1] == Mode.HOLD
    assert modes_of([(0.0, 0.0, 9), (0.2, 0.0, 1), (0.0, 0.0, 9)], record)[-1] == Mode.HOLD
    assert modes_of([(0.14, 14.9, 1)], record)[-1] == Mode.NORMAL


def test_the_way_back_is_the_way_that_was_come() -> None:
    path = np.zeros((), PATH)[()]
    corner = [np.array([min(s, 0.01), max(s - 0.01, 0.0), 0.0]) for s in np.arange(0.0, 0.02, 0.0005)]
    for position in corner:
        note_position(path, position)
    goal, reference, way = corner[-1].copy(), corner[-1].copy(), []
    for _ in range(400):
        step_back(path, reference, 0.015, goal)
        reference += np.clip(goal - reference, -2e-4, 2e-4)
        way.append(reference.copy())
    nearest = [min(np.linalg.norm(point - old) for old in corner) for point in way]
    assert max(nearest) < SPACING_M / 2
    length_m = sum(np.linalg.norm(new - old) for old, new in pairwise(way))
    assert length_m == pytest.approx(0.015, abs=1.5 * SPACING_M)
    before = path["count"]
    path["gone_m"] = 0.0
    for _ in range(400):
        step_back(path, goal, 1.0, goal)
    assert before > path["count"] == 0, "the next retreat goes on to the end of the path"


@pytest.mark.parametrize(
    "wrong",
    [
        {"eps_soft": 0.4},
        {"eps_hard": 1.0},
        {"dwell_s": 0.7},
        {"holds_to_stop": 9},
        {"retreat_m": 0.03},
        {"recovery": "none"},
        {"exit_share": 0.0},
        {"max_force_n": float("nan")},
        {"recovery_stiffness": (150.0,) * 3},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReflexConfig(**wrong)
