"""The name of an arm's motor process: its file in shared memory, its latch and its buttons go by it.

Whoever starts an arm, sits at its buttons or tells a person what to type asks here.
"""

from __future__ import annotations

from controllers.robots.franka_config import FrankaConfig
from data.errors import UserError


def motor_name(robot: str, namespace: str, ip: str = "", given: str = "") -> str:
    """Returns the name of the motor process of `robot` behind topics under `namespace`.

    As `given`; else an FR3's after its address, any other after the namespace with dashes, `arm` without one. Raises
    UserError for an FR3 without an address, or with one that is none.
    """
    if given or robot != "fr3":
        return given or namespace.strip("/").replace("/", "-") or "arm"
    if not ip:
        raise UserError("an FR3's motor process is named after its address: give robot_ip=172.16.0.2, or motor=<name>")
    try:
        return FrankaConfig(ip=ip).motor_name
    except ValueError as error:
        raise UserError(f"robot_{error}") from error
