"""The table of bring-ups as a launch description: only public classes of `launch` and `launch_ros`, no logic.

Whatever is said about a process beyond what launch knows (readiness, order, budget of restarts) is for `robot-rl up`:
under launch all start at once, nodes wait for one another, and `on_exit=Shutdown()` ends all where `up` would.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import (
    AndSubstitution,
    EnvironmentVariable,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    TextSubstitution,
)
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from robot_rl.bringup import table
from robot_rl.bringup.description import SCRIPTS, Argument, BringUp, Condition, Node, Process, pieces


def launch_description(name: str) -> LaunchDescription:
    """Returns what `ros2 launch` starts for a bring-up. Raises UserError for an unknown name."""
    bringup = table.find(name)
    local = SetEnvironmentVariable(
        "ROS_AUTOMATIC_DISCOVERY_RANGE",
        EnvironmentVariable("ROS_AUTOMATIC_DISCOVERY_RANGE", default_value="LOCALHOST"),
    )
    return LaunchDescription(
        [
            *(_declared(argument) for argument in bringup.arguments),
            local,
            *(_action(bringup, process) for process in bringup.present),
        ]
    )


def _declared(argument: Argument) -> DeclareLaunchArgument:
    choices = {"choices": list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.sentence, **choices
    )


def _action(bringup: BringUp, process: Process) -> Any:
    """Returns the action of one process."""
    common: dict[str, Any] = {
        "name": process.name,
        "output": "screen",
        "additional_env": {name: _text(template) for name, template in process.environment.items()},
        "sigterm_timeout": str(process.stop_s),
        "respawn": process.restart.times > 0,
        "respawn_delay": process.restart.delay_s,
        "respawn_max_retries": process.restart.times,
    }
    if not process.restart.times:
        common["on_exit"] = Shutdown(reason=f"{process.name} ended")
    if process.when:
        common["condition"] = IfCondition(_all_of(process.when))
    program = process.program
    if not isinstance(program, Node):
        words = [_text(word) for word in program.words]
        return ExecuteProcess(cmd=[sys.executable, "-P", "-m", "robot_rl.cli.main", *words], **common)
    return LifecycleNode(
        package=SCRIPTS,
        executable=program.executable,
        namespace=_text(program.namespace),
        parameters=[_parameters(bringup, program.parameters)],
        remappings=[(source, _text(target)) for source, target in program.remappings.items()],
        **common,
    )


def _parameters(bringup: BringUp, templates: Mapping[str, str]) -> dict[str, ParameterValue]:
    return {
        name: ParameterValue(_text(template), value_type=bringup.kind(template)) for name, template in templates.items()
    }


def _all_of(conditions: Sequence[Condition]) -> Any:
    """Returns whether all of the conditions hold, at least one, as a substitution."""
    first, *others = conditions
    compare = EqualsSubstitution if first.equal else NotEqualsSubstitution
    holds = compare(LaunchConfiguration(first.argument), first.value)
    return AndSubstitution(holds, _all_of(others)) if others else holds


def _text(template: str) -> list[Any]:
    """Returns a template as substitutions that are joined."""
    return [
        TextSubstitution(text=text) if name is None else LaunchConfiguration(name) for text, name in pieces(template)
    ]
