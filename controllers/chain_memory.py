"""What the chain remembers from tick to tick, and its configuration, as the records that the kernels take."""

from __future__ import annotations

import numpy as np

from controllers.impedance import IMPEDANCE, WORKSPACE
from controllers.types import JOINTS
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
        ("critic", CRITIC_CONFIG),
        ("reflex", REFLEX_CONFIG),
        ("dt_s", "f8"),
        ("gripper_range_m", "f8", 2),
    ],
    align=True,
)

CHAIN = np.dtype(
    [
        ("tick", "i8"),
        ("commanded", "i8"),  # 1 once a command was accepted since the last seed
        ("latched", "i8"),  # 0 or the Reason, from LATCHED upwards, that only a reseed ends
        ("held", "i8"),  # 1 while in a soft hold
        ("seen_sequence", "i8"),  # of the record looked at last: the same one is looked at, and counted, once
        ("last_sequence", "i8"),  # newest sequence looked at, accepted or not: what is not newer is refused
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
