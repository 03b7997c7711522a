"""One tick from state to torque: intake -> reference limiter -> impedance law -> torque limits; each says what it did.

The same compiled function runs in the real-time motor process and in lock-step under a simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controllers.chain_memory import CHAIN, CHAIN_CONFIG
from controllers.goal import age_goal, enter_hold, seed_chain, take_command
from controllers.impedance import ImpedanceConfig, impedance_law
from controllers.intake import reading_is_finite
from controllers.reference import leash, move_reference
from controllers.types import JOINTS
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reasons import Reason, Refusal
from safety.reference_limiter import ReferenceLimiterConfig
from safety.torque_limits import TorqueLimitConfig, limit_torque

if TYPE_CHECKING:
    from controllers.arm_model import ModelTerms
    from controllers.description.arm import ArmDescription

_LEASH = int(Reason.LEASH)
_TORQUE_RATE, _TORQUE = int(Reason.TORQUE_RATE), int(Reason.TORQUE)
_JOINT_LIMIT, _STATE_INVALID = int(Reason.JOINT_LIMIT), int(Reason.STATE_INVALID)


def _word(field: str) -> int:
    return int((CHAIN.fields or {})[field][1]) // 8  # type: ignore[index]


_LATCHED_WORD, _ASKED_HOLD_WORD, _COMMANDED_WORD, _HELD_WORD = (
    _word(name) for name in ("latched", "asked_hold", "commanded", "held")
)


@dataclass(frozen=True)
class ChainConfig:
    """Configuration of every layer between a command and a torque."""

    limiter: ReferenceLimiterConfig = field(default_factory=ReferenceLimiterConfig)
    impedance: ImpedanceConfig = field(default_factory=ImpedanceConfig)
    torque: TorqueLimitConfig = field(default_factory=TorqueLimitConfig)
    rate_hz: float = 1000.0
    """Rate of the tick [Hz], > 0; must be the robot's."""

    def __post_init__(self) -> None:
        if not 0.0 < self.rate_hz < math.inf:
            raise ValueError(f"rate_hz must be a finite number > 0, got {self.rate_hz}")


@kernel
def run_tick(state: Record, terms: Floats, command: Record, config: Record, chain: Record, report: Record) -> None:
    """One whole tick: STATE, model terms and COMMAND in; torque and REPORT out.

    Allocates nothing, waits for nothing, never raises.
    """
    chain.tick += 1
    if not reading_is_finite(state, terms):
        let_go(state, terms, config, chain, report)
        return
    position = terms[0]
    quaternion = so3.from_matrix(terms[1])
    take_command(command, state.stamp_ns, position, quaternion, config, chain)
    reason = max(age_goal(state.stamp_ns, position, quaternion, config, chain), chain.goal_reason)
    reason = max(reason, move_reference(config, chain))
    if leash(position, quaternion, config, chain):
        reason = max(reason, _LEASH)
    nearest_rad = impedance_law(
        state.q_rad,
        state.qd_rad_s,
        chain.work.error,
        chain.stiffness,
        chain.damping_ratio,
        chain.wrench,
        terms,
        config.impedance,
        chain.work,
        chain.tau_wish,
    )
    if nearest_rad < config.impedance.limit_stop_rad and chain.latched == 0:
        enter_hold(position, quaternion, config, chain)
        chain.goal_reason = _JOINT_LIMIT  # stays until another command is accepted
        reason = max(reason, _JOINT_LIMIT)
    limited = limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
    if limited == 3:  # no finite torque from a finite state: the model or this memory is broken
        chain.latched = reason = _STATE_INVALID
        chain.held = 0
    elif limited != 0:
        reason = max(reason, _TORQUE if limited == 2 else _TORQUE_RATE)
    write_report(state, terms, chain, reason, quaternion, report)


@kernel
def let_go(state: Record, terms: Floats, config: Record, chain: Record, report: Record) -> None:
    """The tick of a state that is not finite: torque towards zero at the rate limit, latched; the pose is unknown."""
    chain.latched = _STATE_INVALID
    chain.held = 0  # once the state is good again, the hold is entered where the arm is then
    for i in range(JOINTS):
        chain.tau_wish[i] = 0.0
    limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
    unknown = (math.nan, math.nan, math.nan, math.nan)
    write_report(state, terms, chain, _STATE_INVALID, unknown, report)


@kernel
def write_report(
    state: Record, terms: Floats, chain: Record, reason: int, quaternion: so3.Quaternion, report: Record
) -> None:
    """Fills the REPORT record from what the tick left in the chain; tau_executed_nm stands there already."""
    report.tick, report.stamp_ns, report.reason = chain.tick, state.stamp_ns, reason
    report.sequence, report.source = (chain.goal_sequence, chain.goal_source) if chain.commanded != 0 else (-1, 0)
    report.refused = chain.refused
    report.command_age_s = (state.stamp_ns - chain.goal_stamp_ns) * 1e-9
    for i in range(JOINTS):
        report.q_rad[i], report.qd_rad_s[i] = state.q_rad[i], state.qd_rad_s[i]
        report.tau_proposed_nm[i] = chain.tau_wish[i]
        chain.tau_previous[i] = report.tau_executed_nm[i]
    for i in range(3):
        report.position_base_m[i] = terms[0][i]
        report.proposed_position_base_m[i] = chain.proposed_position[i]
        report.executed_position_base_m[i] = chain.reference_position[i]
    for i in range(4):
        report.quaternion_base_xyzw[i] = quaternion[i]
        report.proposed_quaternion_base_xyzw[i] = chain.proposed_quaternion[i]
        report.executed_quaternion_base_xyzw[i] = chain.reference_quaternion[i]
    for i in range(6):
        report.twist_base[i] = chain.work.twist[i]
        report.wrench_tool[i] = state.wrench_tool[i]
        report.proposed_stiffness[i], report.executed_stiffness[i] = chain.proposed_stiffness[i], chain.stiffness[i]
        report.proposed_wrench_base[i], report.executed_wrench_base[i] = chain.proposed_wrench[i], chain.wrench[i]
    report.proposed_damping_ratio, report.executed_damping_ratio = chain.proposed_damping_ratio, chain.damping_ratio
    report.proposed_gripper_m, report.executed_gripper_m = chain.proposed_gripper_m, chain.goal_gripper_m
    report.duration_s = chain.proposed_duration_s
    report.tank_energy_j = report.risk = math.nan
    report.gripper_m = state.gripper_m


@kernel
def tick_entry(state: Record, terms: Floats, command: Record, config: Record, chain: Record, report: Record) -> None:
    """`run_tick` on arrays of one record each: Numba's dispatch of such arrays costs 1.5 us, of bare records 15 us."""
    run_tick(state[0], terms, command[0], config[0], chain[0], report[0])


@kernel
def seed_entry(terms: Floats, state: Record, config: Record, chain: Record) -> None:
    """`seed_chain` at the pose in terms and the torque and time in a STATE array of one record."""
    seed_chain(terms[0], so3.from_matrix(terms[1]), state[0].tau_applied_nm, state[0].stamp_ns, config[0], chain[0])


def kernel_terms(terms: ModelTerms) -> tuple[NDArray[np.float64], ...]:
    """The model terms in the order in which the kernels take them."""
    return terms.position_base_m, terms.rotation_base, terms.jacobian, terms.mass, terms.coriolis_nm


class Chain:
    """The tick with its memory: configuration, state and scratch space of one arm. Records are arrays of shape (1,)."""

    def __init__(
        self, config: ChainConfig, arm: ArmDescription, gripper_range_m: tuple[float, float] | None = None
    ) -> None:
        """gripper_range_m: the tool's closed and open width; None where it has no gripper."""
        self.config, self.gripper_range_m = config, gripper_range_m
        self.config_record = np.zeros(1, CHAIN_CONFIG)
        self.config_record["limiter"] = config.limiter.to_record()
        self.config_record["impedance"] = config.impedance.to_record(arm.lower_rad, arm.upper_rad, arm.home_rad)
        self.config_record["torque"] = config.torque.to_record(tuple(arm.max_torque_nm), 1.0 / config.rate_hz)
        self.config_record["dt_s"] = 1.0 / config.rate_hz
        self.config_record["gripper_range_m"] = (math.nan, math.nan) if gripper_range_m is None else gripper_range_m
        self.record = np.zeros(1, CHAIN)
        for name in ("seen_sequence", "last_sequence", "goal_sequence"):
            self.record[name] = -1
        self._words = memoryview(self.record.view(np.int64))

    def reseed(self, state: NDArray[Any], terms: ModelTerms) -> None:
        """Holds the measured pose from now on and ends a latch. state: STATE array (1,)."""
        seed_entry(kernel_terms(terms), state, self.config_record, self.record)

    def tick(self, state: NDArray[Any], terms: ModelTerms, command: NDArray[Any], report: NDArray[Any]) -> None:
        """Runs one tick; the torque to apply is then report["tau_executed_nm"][0]. All records are arrays (1,)."""
        tick_entry(state, kernel_terms(terms), command, self.config_record, self.record, report)

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
    def holding(self) -> bool:
        """Whether the arm is in a soft hold in which commands or their lack put it."""
        return self._words[_HELD_WORD] != 0

    @property
    def refusals(self) -> dict[str, int]:
        """How many commands the intake turned down since the start, by check."""
        counts = self.record["refusals"][0]
        return {kind.name.lower(): int(counts[kind]) for kind in Refusal if counts[kind]}
