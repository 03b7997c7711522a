"""What a motor process says about itself, as text on a topic."""

from __future__ import annotations

import json
from typing import Any

from controllers.shared_memory.layout import MotorState
from controllers.shared_memory.sides import MotorStatus
from ros_nodes.wire import MalformedMessage
from safety.risk_weights import WeightsRefusal
from safety.supervision import SupervisorState

_ENUMS = {"state": MotorState, "supervisor": SupervisorState, "critic_refusal": WeightsRefusal}


def to_text(status: MotorStatus, **more: Any) -> str:
    """Returns the status as one line of JSON. more: what else the reader should know."""
    return json.dumps({**status._asdict(), **more})


def from_text(text: str) -> tuple[MotorStatus, dict[str, Any]]:
    """Returns what `to_text` was given. Raises MalformedMessage for anything else."""
    try:
        values = json.loads(text)
        known = {name: values.pop(name) for name in MotorStatus._fields}
        for name, kind in _ENUMS.items():
            known[name] = kind(known[name])
        known["late_heartbeats"] = tuple(known["late_heartbeats"])
        return MotorStatus(**known), values
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedMessage(
            f"expected the status of a motor process as JSON, got {text[:80]!r}: {error!r}"
        ) from error
