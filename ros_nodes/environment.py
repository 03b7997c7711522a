"""A task's environment over the topics of a controller node: `robot=ros` of the command line.

Tool, limits and safety layers are those of the node. An environment that was told others would record actions and
judge forces by limits that were not there: it refuses to start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from controllers.chain import ChainConfig
from controllers.plain import to_plain
from data.errors import UserError
from robot_rl.envs.layer_table import layer_table
from robot_rl.envs.layers import SafetyLayers
from robot_rl.envs.pictures import CameraPictures, NoPictures, Pictures
from robot_rl.envs.reset import ResetConfig
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.base import Task
from ros_nodes.topic_camera import TopicCamera
from ros_nodes.topic_link import TopicLink


@dataclass(frozen=True)
class RosRobotConfig:
    """`robot_config` of `robot=ros`."""

    namespace: str = "arm"
    """Namespace of the controller node."""
    start_timeout_s: float = 60.0
    """Time for the node to answer [s]."""


def make(
    task: Task,
    chain: ChainConfig,
    layers: SafetyLayers,
    robot_config: Mapping[str, Any],
    reset_config: ResetConfig | None = None,
    images: bool = False,
) -> RobotEnv:
    """Returns the environment of a task over topics. chain: what the task's limits are with these layers.

    Raises UserError if no controller node answers, or if it has another task, other limits or other layers.
    images: with pictures, from one camera node for each camera of the task's scene, by its name.
    """
    known = [entry.name for entry in fields(RosRobotConfig)]
    for key in robot_config:
        if key not in known:
            raise UserError(f"unknown setting robot_config.{key}; {expected_names(key, known)}")
    config = RosRobotConfig(**as_declared(RosRobotConfig, robot_config))
    link = TopicLink(config.namespace, start_timeout_s=config.start_timeout_s)
    pictures: Pictures = NoPictures()
    try:
        require_same(link.told, task, chain, layer_table(chain, layers))
        if images:
            cameras = [TopicCamera(camera.name, config.namespace) for camera in task.scene().cameras]
            pictures = CameraPictures(link, cameras, task.scene().cameras)
        world = link if link.told.get("simulated") else None
        return RobotEnv(task, link, world=world, pictures=pictures, reset_config=reset_config)
    except BaseException:
        pictures.close()
        link.close()
        raise


def require_same(told: Mapping[str, Any], task: Task, chain: ChainConfig, table: Mapping[str, str]) -> None:
    """Raises UserError where a controller node's task or layers are others than asked for."""
    if told.get("task") != task.name:
        raise UserError(
            f"the controller node works with task {told.get('task')!r}, this asks for {task.name!r}: start the node "
            f"with task:={task.name}"
        )
    there: Mapping[str, str] = told.get("layers", {})
    others = [f"{name} ({there.get(name)}, not {state})" for name, state in table.items() if there.get(name) != state]
    if others:
        raise UserError(
            f"the controller node has other safety layers than asked for: {', '.join(others)}; they are set by its "
            "parameter safety_config, give the same here"
        )
    if told.get("fingerprint") != fingerprint(task, chain):
        raise UserError(
            f"the controller node has another tool, scene or other limits for task {task.name} (there variant "
            f"{told.get('variant')!r}): give both the same variant and task_config"
        )


def fingerprint(task: Task, chain: ChainConfig) -> str:
    """Returns 16 hex digits that name a task's tool, scene and limits."""
    text = json.dumps([to_plain(task.scene()), to_plain(chain)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
