"""Names that two nodes have to agree on."""

from __future__ import annotations

from controllers import motor_name as naming


def motor_name(given: str, namespace: str) -> str:
    """Returns the name of a simulated arm's motor process: as given, else after the node's namespace."""
    return naming.motor_name("mujoco", namespace, given=given)
