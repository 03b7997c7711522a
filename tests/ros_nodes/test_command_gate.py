"""Who may command: one sender at a time, whose commands get an increasing sequence; renewals keep theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from hypothesis import given
from hypothesis import strategies as st

from controllers.types import COMMAND, Command
from ros_nodes.command_gate import CommandGate, Verdict

S, MS = 1_000_000_000, 1_000_000
POSE = Command(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.full(6, 10.0), duration_s=0.3)


def record(sequence: int, stamp_ns: int = 0) -> Any:
    value = np.zeros((), COMMAND)
    value["sequence"], value["stamp_ns"] = sequence, stamp_ns
    return value


def gate() -> tuple[CommandGate, list[Any]]:
    passed: list[Any] = []
    return CommandGate(lambda value: passed.append(value.copy())), passed


def test_the_first_sender_has_the_arm_until_it_is_silent() -> None:
    one, passed = gate()
    assert one.offer(1, record(1), 10 * S) is Verdict.PASSED
    assert one.offer(2, record(1), 10 * S + 900 * MS) is Verdict.TAKEN
    assert one.offer(1, record(2), 11 * S) is Verdict.PASSED
    assert one.offer(2, record(5), 12 * S + MS) is Verdict.PASSED
    assert [int(value["sequence"]) for value in passed] == [1, 2, 3]
    assert one.counts[Verdict.TAKEN] == 1


def test_a_renewal_keeps_its_sequence() -> None:
    one, passed = gate()
    one.offer(1, record(4, 100), 10 * S)
    one.offer(1, record(4, 200), 10 * S + 50 * MS)
    assert [(int(value["sequence"]), int(value["stamp_ns"])) for value in passed] == [(1, 100), (1, 200)]


def test_what_another_clock_stamped_is_refused() -> None:
    one, passed = gate()
    assert one.offer(1, record(1, 5), 10 * S, same_clock=False) is Verdict.CLOCK
    assert not passed and one.holder(10 * S) is None


def test_a_command_that_was_overtaken_is_refused_until_all_starts_over() -> None:
    one, passed = gate()
    one.offer(1, record(5), 10 * S)
    assert one.offer(1, record(4), 10 * S) is Verdict.REORDERED
    one.drop()
    assert one.offer(1, record(1), 10 * S) is Verdict.PASSED
    assert [int(value["sequence"]) for value in passed] == [1, 2]


def test_what_shall_last_is_renewed_until_its_duration_is_over_and_no_longer() -> None:
    one, passed = gate()
    one.offer_lasting(1, POSE, 10 * S)
    for now_ns in range(10 * S, 11 * S, 5 * MS):
        one.renew(now_ns)
    stamps = [int(value["stamp_ns"]) - 10 * S for value in passed]
    assert stamps == [0, *range(50 * MS, 300 * MS, 50 * MS)]
    assert {int(value["sequence"]) for value in passed} == {1}


def test_a_command_of_a_link_ends_the_renewal_of_another() -> None:
    one, passed = gate()
    one.offer_lasting(1, POSE, 10 * S)
    one.offer(1, record(99, 10 * S), 10 * S)
    one.renew(10 * S + 200 * MS)
    assert len(passed) == 2


def test_a_mode_lets_one_sender_through() -> None:
    one, _ = gate()
    one.offer(1, record(1), 10 * S)
    one.drop()
    one.only = 7
    assert one.offer(1, record(2), 10 * S) is Verdict.MODE
    assert one.offer(7, record(1), 10 * S) is Verdict.PASSED
    one.drop()
    one.only = None
    assert one.offer(1, record(3), 10 * S) is Verdict.PASSED


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 2000)), max_size=60))
def test_sequences_never_fall_and_two_senders_never_take_turns(offers: list[tuple[int, int, int]]) -> None:
    one, passed = gate()
    now_ns, last = 10 * S, (0, -10 * S)
    for sender, sequence, wait_ms in offers:
        now_ns += wait_ms * MS
        verdict = one.offer(sender, record(sequence), now_ns)
        if verdict is Verdict.PASSED:
            assert sender == last[0] or now_ns - last[1] > S
            last = (sender, now_ns)
    sequences = [int(value["sequence"]) for value in passed]
    assert sequences == sorted(sequences)
