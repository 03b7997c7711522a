"""The environment over topics: the same class, the same task; and a trained run that acts through a node."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="install the extra [ros]")

from rclpy.node import Node
from std_srvs.srv import Trigger

from controllers.person import look
from data.errors import UserError
from robot_rl.envs.make import make_env
from robot_rl.tasks.registry import make_task
from ros_nodes.topic_link import TopicLink
from safety.reasons import Reason
from safety.supervision import SupervisorState
from tests.ros_nodes.conftest import NodeProcess, StartNode, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.calm]


@pytest.fixture
def controller(start_node: StartNode) -> NodeProcess:
    node = start_node("ros_nodes.controller_node", {"realtime": False})
    node.wait_for("runs:")
    return node


def test_an_episode_over_topics_is_one_like_any_other(controller: NodeProcess, namespace: str) -> None:
    env = make_env(make_task("peg_insertion"), robot="ros", robot_config={"namespace": namespace})
    try:
        assert isinstance(env.link, TopicLink)
        observation, info = env.reset(seed=3)
        assert info["reset_kind"] == "automatic" and info["reset_attempts"] == 1
        action = np.zeros(env.action_space.shape or (0,), np.float32)
        action[2] = 0.5
        steps = []
        for _ in range(5):
            observation, _reward, _terminated, _truncated, info = env.step(action)
            steps.append((info["duration_s"], info["action_executed"][2]))
        duration_s, executed = np.median(steps, axis=0)
        assert duration_s == pytest.approx(0.1, abs=0.02)
        assert executed == pytest.approx(0.5, abs=0.15)
        assert env.observation_space.contains(observation)
    finally:
        env.close()
    armed = SupervisorState.ARMED
    wait_until(lambda: look(namespace).state == armed, "who leaves in order leaves nothing that ages", 0.8)


def test_a_reset_waits_for_the_person_at_the_supervisor(start_node: StartNode, namespace: str, here: Node) -> None:
    settings = {"robot": "mujoco", "start_held": True}
    start_node("ros_nodes.supervisor_node", settings).wait_for("node is active")
    start_node("ros_nodes.controller_node", {"realtime": False, "supervisor_required": True}).wait_for("runs:")
    wait_until(lambda: look(namespace).hold_reason == Reason.PERSON_HOLD, "held from the start")
    env = make_env(make_task("peg_insertion"), robot="ros", robot_config={"namespace": namespace})
    arm: Any = here.create_client(Trigger, "supervisor/arm")
    try:
        assert arm.wait_for_service(10.0)
        said: list[str] = []

        def watch(words: str) -> None:
            said.append(words)
            threading.Timer(6.0, lambda: arm.call_async(Trigger.Request())).start()  # a hold of 5 s latches others

        env.automatic_reset.tell = watch
        _, info = env.reset(seed=3)
        assert info["reset_attempts"] == 1 and len(said) == 1
    finally:
        env.close()


def test_another_task_other_limits_or_layers_are_refused(controller: NodeProcess, namespace: str) -> None:
    from robot_rl.envs.layers import layers_from

    there = {"namespace": namespace}
    with pytest.raises(UserError, match="start the node with task:=maze"):
        make_env(make_task("maze"), robot="ros", robot_config=there)
    with pytest.raises(UserError, match=r"passivity ledger \(on, not off\)"):
        make_env(make_task("peg_insertion"), robot="ros", robot_config=there, layers=layers_from({"ledger": "off"}))
    with pytest.raises(UserError, match="same variant and task_config"):
        make_env(make_task("peg_insertion", "tight"), robot="ros", robot_config=there)
    with pytest.raises(UserError, match="did you mean namespace"):
        make_env(make_task("peg_insertion"), robot="ros", robot_config={"namespce": "a"})


def test_a_policy_without_a_run_is_one_line(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node("ros_nodes.policy_node", {"run": tmp_path})
    assert node.process.wait(60.0) == 2
    assert "expected a run folder" in node.said() and "Traceback" not in node.said()
