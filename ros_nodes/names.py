"""Names that two nodes have to agree on."""

from __future__ import annotations


def motor_name(given: str, namespace: str) -> str:
    """Returns the name of the motor process: as given, else the node's namespace with dashes, else `arm`."""
    return given or namespace.strip("/").replace("/", "-") or "arm"
