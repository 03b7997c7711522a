"""What must be there before nodes start, and which variables they start with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from data.errors import UserError
from robot_rl.bringup.resolve import Program


def has_wheels() -> bool:
    """Tells whether ROS comes from wheels in this Python environment."""
    return find_spec("ros_wheels_bootstrapper") is not None


def require_ros(environment: Mapping[str, str]) -> None:
    """Raises UserError unless nodes can start: one ROS, not none and not two."""
    from robot_rl.doctor_ros import check_ros

    finding = check_ros(environment)
    if finding.status == "fail":
        raise UserError(f"{finding.text}: {finding.cure}")
    if find_spec("rclpy") is None:
        raise UserError(
            "no rclpy in this Python environment: pip install -c constraints.txt -e '.[ros]', or, with a ROS "
            "distribution, source /opt/ros/<name>/setup.bash before"
        )


def require_simulator(values: Mapping[str, str]) -> None:
    """Raises UserError if the simulator that was asked for is not there."""
    from controllers.robots.gazebo.modern import refuse_gz
    from controllers.robots.gazebo.prefix import installed

    if values.get("robot") == "gz":
        refuse_gz()
    if values.get("robot") == "gazebo":
        installed()


def require_free(programs: Iterable[Program]) -> None:
    """Raises UserError if a motor process that a program would start is alive already."""
    for _, why in living_motors(programs):
        raise UserError(f"an arm of this name is up already: {why} (namespace=...)")


def living_motors(programs: Iterable[Program]) -> list[tuple[str, str]]:
    """Returns (name, sentence with its process id) of each motor process of the programs' names that is alive."""
    from controllers.shared_memory.block import BlockInUse, remove_stale

    found = []
    for name in (program.motor for program in programs if program.motor):
        try:
            remove_stale(name)
        except BlockInUse as error:
            found.append((name, str(error)))
    return found


def child_environment(program: Program, base: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of a program: those of `base`, and defaults where `base` says nothing.

    Discovery stays on this machine. With ROS from wheels, the ament index is that of this Python environment.
    """
    ours = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "PYTHONUNBUFFERED": "1"}
    if has_wheels():
        ours["AMENT_PREFIX_PATH"] = sys.prefix
    given = {name: value for name, value in base.items() if value}
    return {**ours, **given, **program.environment}
