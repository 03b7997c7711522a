"""What the chain remembers from tick to tick, and its configuration, as the records that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.impedance import IMPEDANCE, WORKSPACE
from controllers.types import JOINTS, Source
from safety.ledger import LEDGER, LEDGER_CONFIG
from safety.reasons import Refusal
from safety.reference_limiter import LIMITER
from safety.reflex import REFLEX, REFLEX_CONFIG
from safety.risk_critic import CRITIC_CONFIG
from safety.risk_memory import RISK
from safety.torque_limits import TORQUE_LIMITS
from safety.watch import WATCH, WATCH_CONFIG

CHAIN_CONFIG = np.dtype(
    [
        ("limiter", LIMITER),
        ("impedance", IMPEDANCE),
        ("torque", TORQUE_LIMITS),
        ("ledger", LEDGER_CONFIG),
        ("watch", WATCH_CONFIG),
        ("reflex", REFLEX_CONFIG),
        ("critic", CRITIC_CONFIG),
        ("dt_s", "f8"),
        ("gripper_range_m", "f8", 2),
    ],
    align=True,
)

CHAIN = np.dtype(
    [
        ("tick", "i8"),
        ("ticked_ns", "i8"),  # stamp of the state in the last tick, or seed
        ("commanded", "i8"),  # 1 once a command was accepted since the last seed
        ("latched", "i8"),  # 0 or the Reason, from LATCHED upwards, that only a reseed ends
        ("asked_hold", "i8"),  # Reason for which the supervisor wants a soft hold, 0 without one; only it writes here
        ("held", "i8"),  # 1 while in a soft hold
        ("seen_sequence", "i8"),  # of the record looked at last: the same one is looked at, and counted, once
        ("last_sequence", "i8"),  # newest sequence looked at, accepted or not: what is not newer is refused
        ("seen_stamp_ns", "i8"),
        ("accepted_tick", "i8"),  # in which the followed command was accepted
        ("accepted_ns", "i8"),  # its stamp then; renewals count from here
        ("newest_refused", "i8"),  # 1 while the newest command looked at was refused
        ("refused", "i8"),
        ("refusals", "i8", len(Refusal)),  # counted by Refusal
        ("goal_stamp_ns", "i8"),
        ("goal_sequence", "i8"),
        ("goal_source", "i8"),
        (
            "goal_reason",
            "i8",
        ),  # BOX or CONE if the intake moved the goal, JOINT_LIMIT or SENSOR_STUCK if that dropped it
        ("goal_position", "f8", 3),
        ("goal_quaternion", "f8", 4),
        ("goal_stiffness", "f8", 6),
        ("goal_damping_ratio", "f8"),
        ("goal_wrench", "f8", 6),
        ("goal_gripper_m", "f8"),
        ("former_gripper_m", "f8"),  # before the followed command was accepted
        ("proposed_position", "f8", 3),
        ("proposed_quaternion", "f8", 4),
        ("proposed_stiffness", "f8", 6),
        ("proposed_damping_ratio", "f8"),
        ("proposed_wrench", "f8", 6),
        ("proposed_gripper_m", "f8"),
        ("proposed_duration_s", "f8"),
        ("reference_position", "f8", 3),
        ("reference_quaternion", "f8", 4),
        ("reference_velocity", "f8", 3),
        ("reference_spin", "f8", 3),
        ("stiffness", "f8", 6),
        ("hold_rate_per_s", "f8", 6),  # rate of the stiffness while held: of the change at its beginning
        ("damping_ratio", "f8"),
        ("wrench", "f8", 6),
        ("tau_previous", "f8", JOINTS),
        ("tau_wish", "f8", JOINTS),
        ("ledger", LEDGER),
        ("watch", WATCH),
        ("risk", RISK),
        ("reflex", REFLEX),
        ("work", WORKSPACE),
    ],
    align=True,
)
"""Proposed: what was accepted last, as it came. Goal: the same inside box, cone and gripper range, or the hold's.
Reference: where the limiter lets the spring pull at this tick."""


def _word(field: str) -> int:
    return int((CHAIN.fields or {})[field][1]) // 8  # type: ignore[index]


_LATCHED_WORD, _ASKED_HOLD_WORD, _COMMANDED_WORD, _HELD_WORD, _SOURCE_WORD = (
    _word(name) for name in ("latched", "asked_hold", "commanded", "held", "goal_source")
)


class LatchWords:
    """A CHAIN record (1,), and the words of it that a supervisor reads and writes between two ticks."""

    def __init__(self, record: NDArray[Any]) -> None:
        self.record = record
        self._words = record.view(np.int64).data

    @property
    def latched(self) -> int:
        """The Reason of the latch, 0 without one; set by the tick's own checks and by the supervisor."""
        return self._words[_LATCHED_WORD]

    @latched.setter
    def latched(self, reason: int) -> None:
        self._words[_LATCHED_WORD] = reason

    @property
    def asked_hold(self) -> int:
        """The Reason for which the supervisor wants a soft hold, 0 without one."""
        return self._words[_ASKED_HOLD_WORD]

    @asked_hold.setter
    def asked_hold(self, reason: int) -> None:
        self._words[_ASKED_HOLD_WORD] = reason

    @property
    def following(self) -> bool:
        """Whether a command was accepted since the last seed."""
        return self._words[_COMMANDED_WORD] != 0

    @property
    def resetting(self) -> bool:
        """Whether what is followed came from the automatic reset."""
        return self.following and self._words[_SOURCE_WORD] == Source.RESET

    @property
    def holding(self) -> bool:
        """Whether the arm is in a soft hold in which commands or their lack put it."""
        return self._words[_HELD_WORD] != 0
