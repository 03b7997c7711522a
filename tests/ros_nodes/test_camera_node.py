"""The camera node as its own process: pictures, times, sign of life; and an environment that sees through it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image

from controllers.cameras.base import NoFrame
from controllers.person import look
from robot_rl.envs.make import make_env
from robot_rl.tasks.registry import make_task
from ros_nodes import qos
from ros_nodes.image_messages import ImageFiller, picture_of
from ros_nodes.topic_camera import TopicCamera
from ros_nodes.wire import FRAME, MalformedMessage, draw_sender, pack
from safety.reasons import Reason
from safety.supervision import Heartbeat, SupervisorState
from tests.ros_nodes.conftest import StartNode, wait_until, watched

CAMERA = "ros_nodes.camera_node"
SMALL = {"width_px": 64, "height_px": 64}


def test_a_filled_picture_is_read_as_it_was() -> None:
    filler, rng = ImageFiller("rgb8", "wrist"), np.random.default_rng(0)
    for shape in ((48, 64, 3), (48, 64, 3), (30, 20, 3)):
        picture = rng.integers(0, 256, shape, np.uint8)
        message = filler.fill(picture, Image().header.stamp)
        assert np.array_equal(picture_of(message), picture)
    message.encoding = "bgr8"
    assert np.array_equal(picture_of(message), picture[:, :, ::-1])


@pytest.mark.parametrize(("field", "value"), [("encoding", "mono8"), ("height", 7), ("step", 1), ("width", 100)])
def test_a_picture_that_is_none_is_refused(field: str, value: Any) -> None:
    message = ImageFiller("rgb8", "wrist").fill(np.zeros((8, 8, 3), np.uint8), Image().header.stamp)
    setattr(message, field, value)
    with pytest.raises(MalformedMessage, match="expected"):
        picture_of(message)


def test_a_picture_whose_times_are_lost_goes_on_from_the_number_before(ros_domain: int) -> None:
    camera, filler = TopicCamera("wrist", "/nobody"), ImageFiller("rgb8", "wrist")
    camera.start()
    try:
        for number, told in ((10, True), (11, False), (12, True)):
            stamp = Time(nanoseconds=time.time_ns())
            if told:
                times = np.zeros((), FRAME)
                times["number"], times["stamp_ns"], times["header_ns"] = number, time.monotonic_ns(), stamp.nanoseconds
                camera._take_times(pack("frame", times, draw_sender()))
            camera._take_image(filler.fill(np.full((8, 8, 3), number, np.uint8), stamp.to_msg()))
        assert [camera.read(1.0).number for _ in range(3)] == [10, 11, 12]
    finally:
        camera.close()


@pytest.mark.slow
@pytest.mark.calm
def test_pictures_of_the_software_device_arrive_with_their_times(
    start_node: StartNode, namespace: str, here: Node
) -> None:
    infos: list[CameraInfo] = []
    here.create_subscription(CameraInfo, "wrist/camera_info", infos.append, qos.states())
    node = start_node(CAMERA, {**SMALL, "name": "wrist"})
    camera = TopicCamera("wrist", namespace)
    camera.start()
    try:
        camera.read(60.0)
        frames = [camera.read(2.0) for _ in range(30)]
        stamps_ms = np.array([frame.stamp_ns for frame in frames]) * 1e-6
        assert frames[0].color.shape == (64, 64, 3)
        assert np.median(np.diff(stamps_ms)) == pytest.approx(1000.0 / 30.0, abs=5.0)
        assert max(frame.age_s(frame.received_ns) for frame in frames) < 1.0
        assert np.diff([frame.number for frame in frames]).min() >= 1
        wait_until(lambda: infos, "intrinsics: discovered apart from the pictures")
        assert infos[-1].k[0] > 0.0 and infos[-1].width == 64
        assert node.end() == 0
        with pytest.raises(NoFrame, match="see whether its camera node runs"):
            while True:
                camera.read(0.5)
    finally:
        camera.close()
        camera.close()


@pytest.mark.slow
@pytest.mark.calm
def test_fault_f4_a_camera_that_dies_holds_the_arm_until_it_is_started_again(
    start_node: StartNode, namespace: str
) -> None:
    start_node("ros_nodes.controller_node", {"realtime": False}).wait_for("runs:")
    settings = {**SMALL, "name": "wrist"}
    camera = start_node(CAMERA, settings)
    seen = TopicCamera("wrist", namespace)
    seen.start()
    try:
        seen.read(60.0)
        wait_until(lambda: look(namespace).state == SupervisorState.ARMED, "armed")

        def stopped_and_held() -> bool:
            """The controller has found the camera's beats once their absence holds the arm."""
            camera.process.send_signal(signal.SIGSTOP)
            time.sleep(1.0)
            held = look(namespace).hold_reason == Reason.HEARTBEAT
            camera.process.send_signal(signal.SIGCONT)
            time.sleep(0.2)
            return held

        wait_until(stopped_and_held, "a first hold", 30.0)
        wait_until(lambda: look(namespace).hold_reason == 0, "no hold after it went on", 10.0)
        camera.process.send_signal(signal.SIGKILL)
        wait_until(lambda: look(namespace).hold_reason == Reason.HEARTBEAT, "hold", 2.0)
        assert look(namespace).state == SupervisorState.HOLD
        start_node(CAMERA, settings)
        wait_until(lambda: look(namespace).hold_reason == 0, "no hold asked for any more", 60.0)
    finally:
        seen.close()


@pytest.mark.slow
@pytest.mark.calm
def test_a_node_that_gives_its_camera_up_leaves_the_arm_held(start_node: StartNode, namespace: str) -> None:
    start_node("ros_nodes.controller_node", {"realtime": False}).wait_for("runs:")
    plug, hand = os.pipe()
    camera = start_node("ros_nodes.bench_camera", SMALL, stdin=plug)
    try:
        camera.wait_for("node is active", 60.0)
        with watched(namespace) as motor:
            wait_until(lambda: motor.heard_ns(Heartbeat.CAMERA), "the controller to find its beats")
        wait_until(lambda: look(namespace).hold_reason == 0, "no hold")
        os.write(hand, b"unplug\n")
        assert camera.process.wait(60.0) == 1 and "5 starts within 60 s" in camera.said()
        time.sleep(0.7)
        assert look(namespace).hold_reason == Reason.HEARTBEAT
        start_node(CAMERA, {**SMALL, "name": "wrist"})
        wait_until(lambda: look(namespace).hold_reason == 0, "no hold asked for any more", 60.0)
    finally:
        os.close(plug)
        os.close(hand)


@pytest.mark.slow
@pytest.mark.calm
def test_an_environment_sees_through_camera_nodes(start_node: StartNode, namespace: str) -> None:
    start_node("ros_nodes.controller_node", {"realtime": False}).wait_for("runs:")
    task = make_task("peg_insertion")
    for camera in task.scene().cameras:
        size = {"width_px": camera.width_px, "height_px": camera.height_px}
        node = start_node(CAMERA, {"name": camera.name, "source": "mujoco", "rate_hz": 10.0, **size})
        node.wait_for("node is active")
    env = make_env(task, robot="ros", robot_config={"namespace": namespace}, images=True)
    try:
        observation, _ = env.reset(seed=0)
        first = observation["image_wrist"].copy()
        action = np.zeros(env.action_space.shape or (0,), np.float32)
        action[2] = 1.0
        ages_s: list[float] = []
        change = 0
        while change <= 10 and len(ages_s) < 40:  # a stall of a camera holds the arm for half a second
            observation, _reward, _terminated, _truncated, info = env.step(action)
            ages_s.append(info["camera_age_s"])
            change = int(np.abs(observation["image_wrist"].astype(int) - first).max())
        assert first.shape == (64, 64, 3) and change > 10
        assert min(ages_s) < 0.3
    finally:
        env.close()


@pytest.mark.slow
@pytest.mark.calm
def test_a_camera_that_is_not_there_is_one_sentence(start_node: StartNode, here: Node) -> None:
    node = start_node(CAMERA, {"source": "serial:123", "name": "wrist"})
    assert node.process.wait(60.0) == 2
    assert "123" in node.said() and "Traceback" not in node.said()
