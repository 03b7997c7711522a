"""State, command and report of the motor tick: the frozen contract between policies, motor loop and robots.

Each type exists twice with the same fields: as a NumPy record (what kernels and shared memory hold) and as a small
class (what Python code hands around). Units stand in the names; poses name their frames; quaternions are xyzw; twists
and wrenches are [linear, angular]. The control point is the origin of the tool frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINTS = 7
SCHEMA_VERSION = 5
"""Raised whenever a field of a record below changes; part of the layout hash of shared memory."""

STATE = np.dtype(
    [
        ("stamp_ns", "i8"),  # monotonic clock of the backend (simulated time in lock-step)
        ("q_rad", "f8", JOINTS),
        ("qd_rad_s", "f8", JOINTS),
        ("tau_applied_nm", "f8", JOINTS),  # torque that the drive really applied over the last tick
        ("wrench_tool", "f8", 6),  # external wrench on the tool about the control point, tool axes [N, Nm]
        ("gripper_m", "f8"),  # measured opening; NaN where there is no gripper
    ],
    align=True,
)

COMMAND = np.dtype(
    [
        ("stamp_ns", "i8"),  # when the sender made it, on the backend's monotonic clock
        ("sequence", "i8"),  # strictly increasing within a link's life
        ("source", "i8"),  # see Source
        ("position_base_m", "f8", 3),
        ("quaternion_base_xyzw", "f8", 4),
        ("stiffness", "f8", 6),  # [N/m x3, Nm/rad x3], base axes
        ("damping_ratio", "f8"),
        ("feedforward_wrench_base", "f8", 6),  # [N, Nm] that the tool shall exert on its environment
        ("gripper_m", "f8"),  # wished opening; NaN leaves the gripper alone
        ("duration_s", "f8"),  # how long the sender means it to hold
    ],
    align=True,
)

REPORT = np.dtype(
    [
        ("tick", "i8"),
        ("stamp_ns", "i8"),
        ("sequence", "i8"),  # of the command that is followed; -1 before the first
        ("source", "i8"),
        ("reason", "i8"),  # strongest intervention of this tick, see safety.reasons.Reason
        ("latched", "i8"),  # Reason that has latched the chain, 0 while none has
        ("mode", "i8"),  # of the reflex arbiter, see safety.reflex.Mode
        ("refused", "i8"),  # commands refused since the start
        ("overruns", "i8"),  # ticks that began more than one period late since the start
        ("lateness_ns", "i8"),  # wake-up lateness of this tick; 0 in lock-step
        ("work_ns", "i8"),  # time from state to torque; 0 in lock-step
        ("command_age_s", "f8"),
        ("q_rad", "f8", JOINTS),
        ("qd_rad_s", "f8", JOINTS),
        ("tau_proposed_nm", "f8", JOINTS),  # the law's wish
        ("tau_executed_nm", "f8", JOINTS),  # after torque and torque-rate limits
        ("position_base_m", "f8", 3),  # measured tool pose
        ("quaternion_base_xyzw", "f8", 4),
        ("twist_base", "f8", 6),  # measured [m/s, rad/s]
        ("wrench_tool", "f8", 6),
        ("proposed_position_base_m", "f8", 3),  # as commanded
        ("proposed_quaternion_base_xyzw", "f8", 4),
        ("executed_position_base_m", "f8", 3),  # what the limiter let through
        ("executed_quaternion_base_xyzw", "f8", 4),
        ("proposed_stiffness", "f8", 6),
        ("executed_stiffness", "f8", 6),
        ("proposed_damping_ratio", "f8"),
        ("executed_damping_ratio", "f8"),
        ("proposed_wrench_base", "f8", 6),  # feed-forward, as commanded [N, Nm]
        ("executed_wrench_base", "f8", 6),  # after its slew limit
        ("proposed_gripper_m", "f8"),  # wished opening; NaN while nothing is wished
        ("executed_gripper_m", "f8"),  # the wish within the tool's range; NaN: the gripper is left alone
        ("duration_s", "f8"),  # of the command that is followed; 0 before the first
        ("tank_energy_j", "f8"),  # this and the next nine: NaN while no passivity ledger runs
        ("spring_energy_j", "f8"),
        ("work_j", "f8"),  # that the controller did on the robot over the last tick
        ("energy_spent_j", "f8"),  # that left the tank since the last grant
        ("energy_granted_j", "f8"),  # since the start
        ("energy_lost_j", "f8"),  # since the start
        ("stiffness_share", "f8"),  # granted share of a costly change of stiffness, in [0, 1]
        ("reference_share", "f8"),  # granted share of a costly move of the reference, in [0, 1]
        ("active_share", "f8"),  # granted share of feed-forward wrench and posture torque, in [0, 1]
        ("gate_share", "f8"),  # granted share of the torque, in [0, 1]
        ("risk", "f8"),  # NaN while no safety critic runs
        ("gripper_m", "f8"),  # measured opening; NaN where there is no gripper
    ],
    align=True,
)


class Source(IntEnum):
    """Who proposed a command; stored with every transition."""

    HOLD = 0
    POLICY = 1
    BASE = 2
    EDIT = 3
    RESIDUAL = 4
    NOISE = 5
    SCRIPTED = 6
    HUMAN = 7
    RESET = 8
    RECOVERY = 9


SOURCE_NAMES = {int(source): source.name.lower() for source in Source}
"""Who proposed a command, by its code, as files and reports name it."""


def _vector(values: Any, size: int, name: str) -> Array:
    array = np.array(values, dtype=np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} needs {size} numbers, got shape {array.shape}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Command:
    """What a policy, operator or reset wishes; refused by the tick's intake if any number is not usable."""

    position_base_m: Array
    quaternion_base_xyzw: Array
    stiffness: Array
    damping_ratio: float = 0.9
    feedforward_wrench_base: Array = field(default_factory=lambda: np.zeros(6))
    gripper_m: float = float("nan")
    duration_s: float = 0.1
    source: int = Source.POLICY
    sequence: int = 0
    stamp_ns: int = 0

    def __post_init__(self) -> None:
        sizes = {"position_base_m": 3, "quaternion_base_xyzw": 4, "stiffness": 6, "feedforward_wrench_base": 6}
        for name, size in sizes.items():
            object.__setattr__(self, name, _vector(getattr(self, name), size, name))

    def write_to(self, record: Any) -> None:
        """Copies this command into a COMMAND record (a 0-d view such as `np.zeros((), COMMAND)`)."""
        for name in COMMAND.names or ():
            record[name] = getattr(self, name)


@dataclass(frozen=True)
class RobotState:
    """One reading of a robot."""

    stamp_ns: int
    q_rad: Array
    qd_rad_s: Array
    tau_applied_nm: Array
    wrench_tool: Array
    gripper_m: float

    @classmethod
    def from_record(cls, record: Any) -> RobotState:
        return cls(**{name: _plain(record[name]) for name in STATE.names or ()})


@dataclass(frozen=True)
class TickReport:
    """What one tick saw, was asked, and did; see REPORT for units."""

    tick: int
    stamp_ns: int
    sequence: int
    source: int
    reason: int
    latched: int
    mode: int
    refused: int
    overruns: int
    lateness_ns: int
    work_ns: int
    command_age_s: float
    q_rad: Array
    qd_rad_s: Array
    tau_proposed_nm: Array
    tau_executed_nm: Array
    position_base_m: Array
    quaternion_base_xyzw: Array
    twist_base: Array
    wrench_tool: Array
    proposed_position_base_m: Array
    proposed_quaternion_base_xyzw: Array
    executed_position_base_m: Array
    executed_quaternion_base_xyzw: Array
    proposed_stiffness: Array
    executed_stiffness: Array
    proposed_damping_ratio: float
    executed_damping_ratio: float
    proposed_wrench_base: Array
    executed_wrench_base: Array
    proposed_gripper_m: float
    executed_gripper_m: float
    duration_s: float
    tank_energy_j: float
    spring_energy_j: float
    work_j: float
    energy_spent_j: float
    energy_granted_j: float
    energy_lost_j: float
    stiffness_share: float
    reference_share: float
    active_share: float
    gate_share: float
    risk: float
    gripper_m: float

    @classmethod
    def from_record(cls, record: Any) -> TickReport:
        return cls(**{name: _plain(record[name]) for name in REPORT.names or ()})


def _plain(value: Any) -> Any:
    return value.copy() if getattr(value, "ndim", 0) else value.item()


class FeatureLog(NamedTuple):
    """What the safety critic saw in each tick, and the raw wrench to judge it by."""

    features: NDArray[np.float32]  # (ticks, FEATURES)
    wrench_tool: NDArray[np.float64]  # (ticks, 6)
