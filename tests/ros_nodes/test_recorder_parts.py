"""Parts of the recorder without DDS: pictures by their times, queues with a limit."""

from __future__ import annotations

import array
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")
pytest.importorskip("mcap", reason="install the extra [record]")

from geometry_msgs.msg import PoseStamped
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from controllers.description.scene import CameraDescription
from data.errors import UserError
from robot_rl.tasks.registry import make_task
from ros_nodes.recorder_config import RecorderConfig
from ros_nodes.recorder_desk import Desk, fixed_goal
from ros_nodes.recorder_ears import Heard
from ros_nodes.recorder_images import Shelf, decoded, header_stamp_ns
from ros_nodes.recorder_threads import BoundedQueue
from ros_nodes.wire import MalformedMessage


class EmptyStore:
    """A store without episodes."""

    def __len__(self) -> int:
        return 0


MS, S = 1_000_000, 1_000_000_000
WALL_NS = 1_700_000_000 * S
TASK = make_task("peg_insertion")
CAMERA: CameraDescription = TASK.scene().cameras[0]


def picture(stamp_ns: int, value: int = 0, encoding: str = "rgb8", size: tuple[int, int] = (64, 64)) -> bytes:
    channels = 4 if "a" in encoding else 1 if encoding == "mono8" else 3
    message = Image(height=size[0], width=size[1], encoding=encoding, step=size[1] * channels)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, S)
    message.data = array.array("B", np.full((*size, channels), value, np.uint8).tobytes())
    return bytes(serialize_message(message))


def heard(taken_ns: int, value: int = 0, late_ns: int = 15 * MS) -> Heard:
    """A picture taken at a moment of the monotonic clock, which is WALL_NS behind the wall clock."""
    arrived = taken_ns + late_ns
    return Heard("/image", picture(WALL_NS + taken_ns, value), WALL_NS + arrived, arrived)


def shelf(limit_s: float = 0.1) -> Shelf:
    return Shelf(CAMERA, limit_s)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(0, 1200))
def test_an_observation_gets_the_newest_picture_that_is_not_later(steps_ms: list[int], at_ms: int) -> None:
    one, taken = shelf(), np.cumsum(steps_ms)
    for number, moment in enumerate(taken.tolist()):
        one.put(heard(moment * MS, number))
    earlier = [number for number, moment in enumerate(taken.tolist()) if moment <= at_ms]
    if earlier and at_ms - taken[earlier[-1]] <= 100:
        found = one.look(at_ms * MS, 2**62)
        assert found is not None
        assert found[0].shape == (64, 64, 3) and found[0][0, 0, 0] == earlier[-1]
        assert found[1] == pytest.approx(1e-3 * (at_ms - taken[earlier[-1]]), abs=1e-6)
    else:
        with pytest.raises(UserError, match="the picture of camera side is .* at an observation, at most 0.1 s"):
            one.look(at_ms * MS, 2**62)


def test_a_nearer_picture_is_waited_for_but_not_for_long() -> None:
    one = shelf(limit_s=5.0)
    one.put(heard(10 * MS))
    assert one.look(20 * MS, 21 * MS) is None and one.look(20 * MS, 400 * MS) is None
    assert one.look(20 * MS, 530 * MS) is not None
    one.put(heard(43 * MS, 7))
    settled = one.look(20 * MS, 21 * MS)
    assert settled is not None and settled[0][0, 0, 0] == 0, "a later picture settles it, and is not taken"


def test_pictures_of_another_clock_are_not_taken_for_fresh_ones() -> None:
    one = shelf()
    for late_ns in (-50 * MS, 3600 * S):
        one.put(heard(10 * S, late_ns=late_ns))
    assert one.foreign == 2
    with pytest.raises(UserError, match="is missing .* its pictures have stamps of another clock"):
        one.look(10 * S, 2**62)


def test_encodings_become_colours_in_the_right_order_and_the_scenes_size() -> None:
    for encoding in ("rgb8", "bgr8", "rgba8", "bgra8"):
        found = decoded(picture(0, 9, encoding, (480, 640)), CAMERA)
        assert found.shape == (64, 64, 3) and (found == 9).all()
    message: Any = Image(height=64, width=64, encoding="bgr8", step=192)
    message.data = array.array("B", np.tile(np.array([1, 2, 3], np.uint8), 64 * 64).tobytes())
    assert decoded(bytes(serialize_message(message)), CAMERA)[5, 5].tolist() == [3, 2, 1]
    with pytest.raises(UserError, match="camera side: expected pictures in one of rgb8, .* got 'mono8'"):
        decoded(picture(0, 0, "mono8"), CAMERA)
    message.data = array.array("B", bytes(100))
    with pytest.raises(UserError, match="camera side: expected a picture of 64x64 px .* got 100 bytes"):
        decoded(bytes(serialize_message(message)), CAMERA)


def test_the_stamp_is_the_headers() -> None:
    assert header_stamp_ns(picture(5 * S + 7)) == 5 * S + 7
    for raw in (b"", b"\0\1\0\0", picture(0)[:11]):
        with pytest.raises(MalformedMessage, match="begins with a header, got"):
            header_stamp_ns(raw)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_other_bytes_never_end_the_recorder(raw: bytes, cut: int) -> None:
    """Messages that are torn or nonsense are refused or counted, each in its own way; nothing else is raised."""
    desk = Desk(TASK, EmptyStore(), {"side": shelf()}, {})  # type: ignore[arg-type]
    for data in (raw, picture(0)[:cut], bytes(serialize_message(PoseStamped()))[:cut]):
        one = Heard("/x", data, WALL_NS, S)
        desk.take_picture("side", one)
        desk.take_reports(one)
        desk.take_goal(one)
        with suppress(UserError):
            decoded(data, CAMERA)
    assert not desk.recording


@given(st.lists(st.one_of(st.integers(1, 40), st.just(0)), max_size=50))
def test_a_queue_keeps_its_limit_counts_what_it_lost_and_keeps_the_order(sizes: list[int]) -> None:
    queue: BoundedQueue[int] = BoundedQueue(100)
    inside: list[tuple[int, int]] = []
    lost = 0
    for number, size in enumerate(sizes):
        if size == 0:
            expected = inside.pop(0)[0] if inside else None
            assert queue.get(0.0) == expected
        elif queue.put(number, size):
            inside.append((number, size))
        else:
            lost += 1
            assert sum(held for _, held in inside) + size > 100
        assert queue.size_bytes == sum(held for _, held in inside) <= 100 and queue.lost == lost


def test_only_a_task_without_chance_has_a_goal_of_its_own() -> None:
    task = make_task("peg_insertion")
    assert fixed_goal(task) is None
    still = make_task("peg_insertion", "default", {"spread_m": 0.0, "yaw_spread_rad": 0.0})
    goal = fixed_goal(still)
    assert goal is not None
    assert max(goal.distance(still.draw(np.random.default_rng(9)).T_base_goal)) < 1e-9


def test_cameras_are_named_with_their_topics() -> None:
    assert RecorderConfig(cameras=["", "side=a/b", "wrist=/c"]).camera_topics() == {"side": "a/b", "wrist": "/c"}
    for wrong in (["side"], ["=x"], ["side=a", "side=b"]):
        with pytest.raises(UserError, match="cameras needs entries such as"):
            RecorderConfig(cameras=wrong).camera_topics()
