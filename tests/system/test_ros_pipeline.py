"""As a lab would: demonstrate over topics, imitate, let a node act; train over topics with a person who takes over."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from controllers.person import look
from controllers.types import Source
from data.store import EpisodeStore
from robot_rl.learning import journal
from robot_rl.tasks.taught_file import write_taught
from robot_rl.tasks.taught_parts import StartBox, SuccessRule
from ros_nodes import qos
from ros_nodes.joy import TOPIC
from safety.supervision import SupervisorState
from tests.robot_rl.taught_tools import TOUCH
from tests.ros_nodes.conftest import (
    StartNode,
    called,
    clean_memory,
    here,
    namespace,
    ros_domain,
    start_node,
    terminal,
    wait_until,
)
from tests.system.bring_up import END_S, Up, wait_for
from tests.system.command_line import TINY_AGENT, decisions_of, records, typed

__all__ = ["clean_memory", "here", "namespace", "ros_domain", "start_node", "terminal"]
pytestmark = [pytest.mark.slow, pytest.mark.calm]
REACH = replace(
    TOUCH,
    name="reach",
    text="bring the tool to the goal",
    plate=None,
    starts=StartBox((-0.015, -0.015, -0.05), (0.015, 0.015, -0.03)),
    success=SuccessRule(0.006, 0.2),
)
HOLD_S, LET_GO_S = 1.5, 0.3
KEYS, COASTS_M = ("ws", "ad", "rf"), 0.005
"""Keys of the three axes; a key counts as held for 0.25 s after the last time it was typed."""
SMALL_POLICY = "policy_config.steps=2000 policy_config.width=64 policy_config.blocks=2"
"""Of five demonstrations it learns to succeed in half of the episodes and more."""


class Person:
    """Steers to the goal at the keyboard by what everybody can see, and lets go of the dead-man now and then."""

    def __init__(self, node: Node, terminal: int) -> None:
        """terminal: where the keys are typed."""
        self._goal_m = np.array(REACH.goal.position_m)
        self._tool_m = self._goal_m
        self._terminal, self._held, self._ended = terminal, False, threading.Event()
        node.create_subscription(PoseStamped, "current_pose", self._see, qos.states())
        node.create_subscription(Joy, TOPIC, self._notice, qos.states())
        self.idle = False
        """Whether the hand is off the device."""
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _see(self, message: PoseStamped) -> None:
        p = message.pose.position
        self._tool_m = np.array([p.x, p.y, p.z])

    def _notice(self, message: Joy) -> None:
        self._held = bool(message.buttons[0])

    def _play(self) -> None:
        began_s = toggled_s = time.monotonic()
        while not self._ended.wait(0.04):
            now_s = time.monotonic()
            wanted = not self.idle and (now_s - began_s) % (HOLD_S + LET_GO_S) < HOLD_S
            if wanted != self._held and now_s - toggled_s > 0.15:
                os.write(self._terminal, b" ")
                toggled_s = now_s
            if wanted:
                way_m = self._goal_m - self._tool_m
                keys = [pair[int(way < 0.0)] for pair, way in zip(KEYS, way_m, strict=True) if abs(way) > COASTS_M]
                os.write(self._terminal, "".join(keys).encode())

    def leave(self) -> None:
        self._ended.set()
        self._thread.join()


def _start_and_stop(here: Node, namespace: str) -> None:
    """A policy node that has done its episodes begins another at a call, and breaks it off at another."""
    doing: list[Any] = []
    here.create_subscription(String, "policy/state", doing.append, qos.latched())
    wait_until(lambda: doing and doing[-1].data == "idle", "idle")
    called(here, "policy/start")
    wait_until(lambda: look(namespace).state == SupervisorState.RUN, "acting", 60.0)
    called(here, "policy/stop")
    wait_until(lambda: look(namespace).state == SupervisorState.ARMED, "at rest", 0.8)


def took_over(run: Path) -> bool:
    """Whether a person took the arm, and what was executed then stands in the replay as theirs."""
    decisions = decisions_of(run)
    own = decisions[decisions["source"] == Source.HUMAN]
    told = sum(record.get("takeovers", 0) for record in records(run, "episode")) >= 1
    return told and Source.POLICY in decisions["source"] and bool((own["action"] != own["proposed"]).any())


def practises_with_help(namespace: str, folder: Path, terminal: int) -> None:
    """The same learner and person beside each other in one bring-up, until Ctrl-C."""
    learner = "task=reach data=demos.zarr agent=rlpd steps=400 out=runs/up"
    words = f"train robot=mujoco namespace={namespace} human=keyboard realtime=false {learner}"
    up, run = Up(words.split(), folder / "up.log", folder, terminal), folder / "runs" / "up"
    try:
        up.wait_until_up()
        wait_for(lambda: (run / "replay" / journal.FILE).is_file() and took_over(run), 90.0, up.said)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(END_S) == 0, up.said()
        wait_for(lambda: not up.left(), 5.0, lambda: f"left: {up.left()}")  # a flight may still be written
    finally:
        up.end()


def test_demonstrations_over_topics_become_a_policy_that_acts_and_learns_with_help(
    start_node: StartNode, namespace: str, here: Node, tmp_path: Path, terminal: tuple[int, int]
) -> None:
    write_taught(tmp_path / "tasks" / "reach.json", REACH)
    controller = start_node("ros_nodes.controller_node", {"realtime": False, "task": "reach"}, folder=tmp_path)
    controller.wait_for("node is active")
    teleop = start_node("ros_nodes.teleop_node", {"device": "keyboard"}, stdin=terminal[1])
    teleop.wait_for("node is active")
    person = Person(here, terminal[0])
    there = f"robot=ros robot_config.namespace={namespace} teleop_config.device=/{namespace}"
    over_topics = f"task=reach {there} teleop_config.level=2"
    try:
        typed(f"collect {over_topics} source=ros episodes=5 out=demos.zarr", tmp_path)
        with EpisodeStore.open(tmp_path / "demos.zarr") as store:
            assert len(store) == 5 and store.spec.robot == "ros"
            assert sum(store.summary(index).success for index in range(5)) >= 3
        typed(f"pretrain task=reach data=demos.zarr out=runs/base eval_episodes=2 {SMALL_POLICY}", tmp_path)

        person.idle = True
        heard: list[Any] = []
        here.create_subscription(String, "policy/episode", heard.append, qos.streams())
        settings = {"run": tmp_path / "runs" / "base", "begin": True, "episodes": 6}
        policy = start_node("ros_nodes.policy_node", settings, folder=tmp_path)
        wait_until(lambda: len(heard) == 6 or policy.process.poll() is not None, policy.said(), 180.0)
        told = [json.loads(message.data) for message in heard]
        assert [episode["number"] for episode in told] == list(range(1, 7))
        assert all(episode["length"] > 1 and episode["reset_kind"] == "automatic" for episode in told)
        ends = [episode["end"] for episode in told]
        assert ends.count("success") >= 1, f"{ends} {policy.said()}"
        _start_and_stop(here, namespace)
        assert policy.end() == 0

        person.idle = False
        short = "mode=async steps=60 warmup=20 eval_every=0 final_episodes=1"  # as `robot-rl up train` does
        typed(f"finetune {over_topics} human=ros data=demos.zarr agent=rlpd out=runs/x {short} {TINY_AGENT}", tmp_path)
        assert took_over(tmp_path / "runs" / "x")
        teleop.end()
        controller.end()
        practises_with_help(namespace, tmp_path, terminal[1])
    finally:
        person.leave()
