"""Several signs of life of one kind: the oldest counts, a second sender is refused, dead links are forgotten."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from hypothesis import given
from hypothesis import strategies as st

from ros_nodes.beats import LINK, Beats
from ros_nodes.wire import MalformedMessage
from safety.supervision import Heartbeat

S, MS = 1_000_000_000, 1_000_000
CAMERA = Heartbeat.CAMERA


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 1000)), min_size=1, max_size=40))
def test_the_oldest_counts(beats: list[tuple[bytes, int]]) -> None:
    kept, newest = Beats(), dict[bytes, int]()
    for name, stamp_ns in beats:
        told = kept.take(CAMERA, name, 1, stamp_ns, S)
        if stamp_ns == 0:
            newest.pop(name, None)
        else:
            newest[name] = max(stamp_ns, newest.get(name, 0))
        assert told == min(newest.values(), default=0)


def test_a_stamp_from_the_future_changes_nothing() -> None:
    kept = Beats()
    kept.take(CAMERA, b"wrist", 1, S, S)
    with pytest.raises(MalformedMessage, match="of the past"):
        kept.take(CAMERA, b"wrist", 1, 9 * S, S)
    assert kept.oldest(CAMERA) == S


def test_a_second_living_sender_of_one_name_is_refused_and_a_successor_taken() -> None:
    kept = Beats()
    kept.take(CAMERA, b"wrist", 1, S, S)
    with pytest.raises(MalformedMessage, match="two programs"):
        kept.take(CAMERA, b"wrist", 2, S + 10 * MS, S + 10 * MS)
    assert kept.take(CAMERA, b"wrist", 2, 2 * S, 2 * S) == 2 * S


def test_links_that_died_are_forgotten_when_another_one_starts_the_arm_over() -> None:
    kept = Beats()
    kept.take(Heartbeat.OPERATOR, LINK, 1, S, S)
    kept.take(CAMERA, b"wrist", 9, S, S)
    assert kept.take(Heartbeat.OPERATOR, LINK, 2, 2 * S, 2 * S) == S, "the dead one holds the arm"
    assert kept.keep_link(2) == [Heartbeat.OPERATOR]
    assert kept.oldest(Heartbeat.OPERATOR) == 2 * S and kept.oldest(CAMERA) == S
    assert kept.keep_link(3) == [Heartbeat.OPERATOR] and kept.oldest(Heartbeat.OPERATOR) == 0
