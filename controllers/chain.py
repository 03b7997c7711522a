"""One tick from state to torque: intake -> reference limiter -> impedance law -> torque limits, each layer reporting what it did.

The same compiled function runs in the real-time motor process and in lock-step under a simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controllers.impedance import IMPEDANCE, WORKSPACE, ImpedanceConfig, impedance_law
from controllers.intake import examine, state_is_finite
from controllers.types import JOINTS
from safety import so3
from safety.compilation import kernel
from safety.reasons import Reason, Refusal
from safety.reference_limiter import LIMITER, ReferenceLimiterConfig, approach, clip_scalar, clip_to_cone, towards
from safety.torque_limits import TORQUE_LIMITS, TorqueLimitConfig, limit_torque

if TYPE_CHECKING:
    from controllers.arm_model import ModelTerms
    from controllers.description.arm import ArmDescription

_NONE, _SLEW, _STIFFNESS_SLEW = int(Reason.NONE), int(Reason.SLEW), int(Reason.STIFFNESS_SLEW)
_BOX, _CONE, _LEASH = int(Reason.BOX), int(Reason.CONE), int(Reason.LEASH)
_TORQUE_RATE, _TORQUE = int(Reason.TORQUE_RATE), int(Reason.TORQUE)
_UNSEEDED, _REFUSED, _STALE, _HOLD = int(Reason.UNSEEDED), int(Reason.REFUSED), int(Reason.STALE), int(Reason.HOLD)
_JOINT_LIMIT, _LATCHED, _STATE_INVALID = int(Reason.JOINT_LIMIT), int(Reason.LATCHED), int(Reason.STATE_INVALID)
_ACCEPTED, _REFUSED_LATCHED = int(Refusal.ACCEPTED), int(Refusal.LATCHED)
REFUSAL_KINDS = len(Refusal)

CHAIN_CONFIG = np.dtype(
    [("limiter", LIMITER), ("impedance", IMPEDANCE), ("torque", TORQUE_LIMITS), ("dt_s", "f8")], align=True
)

CHAIN = np.dtype(
    [
        ("tick", "i8"),
        ("commanded", "i8"),  # 1 once a command was accepted since the last seed
        ("latched", "i8"),  # 0, LATCHED or STATE_INVALID
        ("held", "i8"),  # 1 while in a soft hold
        ("leashed", "i8"),  # 1 if the leash bit in this tick
        ("last_sequence", "i8"),  # newest sequence looked at, accepted or not
        ("newest_refused", "i8"),  # 1 while the newest command looked at was refused
        ("refused", "i8"),
        ("refusals", "i8", REFUSAL_KINDS),  # counted by Refusal
        ("goal_stamp_ns", "i8"),
        ("goal_sequence", "i8"),
        ("goal_source", "i8"),
        ("goal_reason", "i8"),  # BOX or CONE if the intake had to move the goal
        ("goal_position", "f8", 3),
        ("goal_quaternion", "f8", 4),
        ("goal_stiffness", "f8", 6),
        ("goal_damping_ratio", "f8"),
        ("goal_wrench", "f8", 6),
        ("goal_gripper_m", "f8"),
        ("proposed_position", "f8", 3),
        ("proposed_quaternion", "f8", 4),
        ("reference_position", "f8", 3),
        ("reference_quaternion", "f8", 4),
        ("reference_velocity", "f8", 3),
        ("reference_spin", "f8", 3),
        ("stiffness", "f8", 6),
        ("damping_ratio", "f8"),
        ("wrench", "f8", 6),
        ("tau_previous", "f8", JOINTS),
        ("tau_wish", "f8", JOINTS),
        ("work", WORKSPACE),
    ],
    align=True,
)


@dataclass(frozen=True)
class ChainConfig:
    """Configuration of every layer between a command and a torque."""

    limiter: ReferenceLimiterConfig = field(default_factory=ReferenceLimiterConfig)
    impedance: ImpedanceConfig = field(default_factory=ImpedanceConfig)
    torque: TorqueLimitConfig = field(default_factory=TorqueLimitConfig)
    rate_hz: float = 1000.0
    """Rate of the tick [Hz]."""


@kernel
def seed_chain(position, quaternion, tau_applied, now_ns, config, chain):  # type: ignore[no-untyped-def]
    """Puts reference and goal at the measured pose, at rest, in a soft hold; ends a latch. The tick counter and refusals stay."""
    for i in range(3):
        chain.goal_position[i] = chain.proposed_position[i] = chain.reference_position[i] = position[i]
        chain.reference_velocity[i] = chain.reference_spin[i] = 0.0
    for i in range(4):
        chain.goal_quaternion[i] = chain.proposed_quaternion[i] = chain.reference_quaternion[i] = quaternion[i]
    for i in range(6):
        chain.goal_stiffness[i] = chain.stiffness[i] = config.limiter.hold_stiffness[i]
        chain.goal_wrench[i] = chain.wrench[i] = 0.0
    chain.goal_damping_ratio = chain.damping_ratio = config.limiter.hold_damping_ratio
    for i in range(JOINTS):
        chain.tau_previous[i] = tau_applied[i]
    chain.commanded = chain.latched = chain.held = chain.newest_refused = chain.goal_reason = 0
    chain.goal_stamp_ns = now_ns
    chain.goal_gripper_m = math.nan


@kernel
def take_command(command, now_ns, position, quaternion, config, chain):  # type: ignore[no-untyped-def]
    """Looks at the newest command once; an accepted one becomes the goal, moved into box and cone."""
    if command.sequence == chain.last_sequence or command.sequence < 0:
        return
    limiter = config.limiter
    verdict = _REFUSED_LATCHED if chain.latched != 0 else examine(command, chain.last_sequence, now_ns, position, quaternion, limiter)
    chain.last_sequence = max(chain.last_sequence, command.sequence)
    if verdict != _ACCEPTED:
        chain.refused += 1
        chain.refusals[verdict] += 1
        chain.newest_refused = 1
        return
    chain.newest_refused = chain.held = chain.goal_reason = 0
    chain.commanded = 1
    chain.goal_stamp_ns, chain.goal_sequence, chain.goal_source = command.stamp_ns, command.sequence, command.source
    chain.goal_damping_ratio, chain.goal_gripper_m = command.damping_ratio, command.gripper_m
    for i in range(3):
        wish = command.position_base_m[i]
        chain.proposed_position[i] = wish
        chain.goal_position[i] = min(limiter.box_max_base_m[i], max(limiter.box_min_base_m[i], wish))
        if chain.goal_position[i] != wish:
            chain.goal_reason = _BOX
    q = command.quaternion_base_xyzw
    goal, clipped = clip_to_cone(so3.normalise((q[0], q[1], q[2], q[3])), limiter.cone_axis_base, limiter.cone_angle_rad)
    if clipped:
        chain.goal_reason = _CONE
    for i in range(4):
        chain.proposed_quaternion[i] = q[i]
        chain.goal_quaternion[i] = goal[i]
    for i in range(6):
        chain.goal_stiffness[i] = command.stiffness[i]
        chain.goal_wrench[i] = command.feedforward_wrench_base[i]


@kernel
def age_goal(now_ns, position, quaternion, config, chain):  # type: ignore[no-untyped-def]
    """Freezes, holds or latches as the last good command ages. Returns the reason, NONE while it is fresh."""
    limiter = config.limiter
    if chain.latched != 0:
        return chain.latched
    if chain.commanded == 0:
        return _UNSEEDED
    age_s = (now_ns - chain.goal_stamp_ns) * 1e-9
    if age_s <= limiter.age_limit_s:
        return _REFUSED if chain.newest_refused != 0 else _NONE
    if age_s <= limiter.stop_s:
        for i in range(3):
            chain.goal_position[i] = chain.reference_position[i]
        for i in range(4):
            chain.goal_quaternion[i] = chain.reference_quaternion[i]
        return _STALE
    if chain.held == 0:
        enter_hold(position, quaternion, config, chain)
    if age_s > limiter.latch_s:
        chain.latched = _LATCHED
        return _LATCHED
    return _HOLD


@kernel
def enter_hold(position, quaternion, config, chain):  # type: ignore[no-untyped-def]
    """Drops the spring: the goal becomes the measured pose, soft and well damped, without feed-forward."""
    chain.held = 1
    for i in range(3):
        chain.goal_position[i] = chain.reference_position[i] = position[i]
        chain.reference_velocity[i] = chain.reference_spin[i] = 0.0
    for i in range(4):
        chain.goal_quaternion[i] = chain.reference_quaternion[i] = quaternion[i]
    for i in range(6):
        chain.goal_stiffness[i] = config.limiter.hold_stiffness[i]
        chain.goal_wrench[i] = 0.0
    chain.goal_damping_ratio = config.limiter.hold_damping_ratio


@kernel
def move_reference(config, chain):  # type: ignore[no-untyped-def]
    """Slews reference, stiffness, damping ratio and feed-forward wrench towards the goal. Returns SLEW, STIFFNESS_SLEW or NONE."""
    limiter, dt_s = config.limiter, config.dt_s
    p, g, v, w = chain.reference_position, chain.goal_position, chain.reference_velocity, chain.reference_spin
    velocity = approach(
        (g[0] - p[0], g[1] - p[1], g[2] - p[2]),
        (v[0], v[1], v[2]),
        limiter.max_speed_m_s,
        limiter.max_acceleration_m_s2,
        dt_s,
    )
    remaining = 0.0
    for i in range(3):
        v[i] = velocity[i]
        p[i] += velocity[i] * dt_s
        remaining = max(remaining, abs(g[i] - p[i]))
    r, h = chain.reference_quaternion, chain.goal_quaternion
    reference = (r[0], r[1], r[2], r[3])
    spin = approach(
        so3.error((h[0], h[1], h[2], h[3]), reference),
        (w[0], w[1], w[2]),
        limiter.max_angular_speed_rad_s,
        limiter.max_angular_acceleration_rad_s2,
        dt_s,
    )
    reference = so3.normalise(so3.multiply(so3.exp((spin[0] * dt_s, spin[1] * dt_s, spin[2] * dt_s)), reference))
    turn = so3.error((h[0], h[1], h[2], h[3]), reference)
    for i in range(3):
        w[i] = spin[i]
        remaining = max(remaining, abs(turn[i]))
    for i in range(4):
        r[i] = reference[i]
    code = _SLEW if remaining > 1e-6 else _NONE
    for i in range(6):
        chain.stiffness[i] = towards(chain.stiffness[i], chain.goal_stiffness[i], limiter.stiffness_slew_per_s[i] * dt_s)
        if chain.stiffness[i] != chain.goal_stiffness[i]:
            code = max(code, _STIFFNESS_SLEW)
        chain.wrench[i] = towards(chain.wrench[i], chain.goal_wrench[i], limiter.wrench_slew_n_s * dt_s)
    chain.damping_ratio = towards(chain.damping_ratio, chain.goal_damping_ratio, 10.0 * dt_s)
    return code


@kernel
def leash(position, quaternion, config, chain):  # type: ignore[no-untyped-def]
    """Card B.5 with write-back: fills work.error with the pose error clipped to the leash and moves the reference there.

    Returns whether it bit. Afterwards |K_i e_i| <= K_i leash_i for whatever target was asked.
    """
    limit, error = config.limiter.leash, chain.work.error
    r = chain.reference_quaternion
    turn = so3.error((r[0], r[1], r[2], r[3]), quaternion)
    bit = False
    for i in range(3):
        error[i] = clip_scalar(chain.reference_position[i] - position[i], limit[i])
        error[3 + i] = clip_scalar(turn[i], limit[3 + i])
        bit = bit or error[i] != chain.reference_position[i] - position[i] or error[3 + i] != turn[i]
    if not bit:
        return False
    reference = so3.normalise(so3.multiply(so3.exp((error[3], error[4], error[5])), quaternion))
    for i in range(3):
        chain.reference_position[i] = position[i] + error[i]
        chain.reference_velocity[i] = chain.reference_spin[i] = 0.0
    for i in range(4):
        chain.reference_quaternion[i] = reference[i]
    return True


@kernel
def run_tick(state, terms, command, config, chain, report):  # type: ignore[no-untyped-def]
    """One whole tick: STATE, model terms and COMMAND in; torque and REPORT out. Allocates nothing, waits for nothing, never raises."""
    chain.tick += 1
    position = terms[0]
    if not state_is_finite(state) or not math.isfinite(position[0] + position[1] + position[2]):
        chain.latched = _STATE_INVALID
        for i in range(JOINTS):
            chain.tau_wish[i] = 0.0
        limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
        write_report(state, terms, chain, _STATE_INVALID, chain.goal_quaternion, report)
        return
    quaternion = so3.from_matrix(terms[1])
    take_command(command, state.stamp_ns, position, quaternion, config, chain)
    reason = age_goal(state.stamp_ns, position, quaternion, config, chain)
    if reason == _STATE_INVALID and chain.held == 0:
        enter_hold(position, quaternion, config, chain)
    if reason == _NONE:
        reason = chain.goal_reason
    reason = max(reason, move_reference(config, chain))
    chain.leashed = 1 if leash(position, quaternion, config, chain) else 0
    if chain.leashed != 0:
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
        reason = max(reason, _JOINT_LIMIT)
    limited = limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
    if limited != 0:
        reason = max(reason, _TORQUE if limited == 2 else _TORQUE_RATE)
    write_report(state, terms, chain, reason, quaternion, report)


@kernel
def write_report(state, terms, chain, reason, quaternion, report):  # type: ignore[no-untyped-def]
    """Fills the REPORT record from what the tick left in the chain; tau_executed_nm stands there already."""
    report.tick, report.stamp_ns = chain.tick, state.stamp_ns
    report.sequence = chain.goal_sequence if chain.commanded != 0 else -1
    report.source, report.reason, report.refused = chain.goal_source if chain.commanded != 0 else 0, reason, chain.refused
    report.command_age_s = (state.stamp_ns - chain.goal_stamp_ns) * 1e-9
    for i in range(JOINTS):
        report.q_rad[i], report.qd_rad_s[i] = state.q_rad[i], state.qd_rad_s[i]
        report.tau_proposed_nm[i] = chain.tau_wish[i]
        chain.tau_previous[i] = report.tau_executed_nm[i]
    kept_away = chain.leashed != 0  # otherwise the goal itself counts as executed, also while the reference is on its way
    for i in range(3):
        report.position_base_m[i] = terms[0][i]
        report.proposed_position_base_m[i] = chain.proposed_position[i]
        report.executed_position_base_m[i] = chain.reference_position[i] if kept_away else chain.goal_position[i]
    for i in range(4):
        report.quaternion_base_xyzw[i] = quaternion[i]
        report.proposed_quaternion_base_xyzw[i] = chain.proposed_quaternion[i]
        report.executed_quaternion_base_xyzw[i] = chain.reference_quaternion[i] if kept_away else chain.goal_quaternion[i]
    for i in range(6):
        report.twist_base[i] = chain.work.twist[i]
        report.wrench_tool[i] = state.wrench_tool[i]
        report.proposed_stiffness[i], report.executed_stiffness[i] = chain.goal_stiffness[i], chain.stiffness[i]
    report.tank_energy_j = report.risk = math.nan
    report.gripper_m = state.gripper_m


@kernel
def tick_entry(state, terms, command, config, chain, report):  # type: ignore[no-untyped-def]
    """`run_tick` on arrays of one record each: Numba's dispatch of such arrays costs 1.5 us, that of bare records 15 us."""
    run_tick(state[0], terms, command[0], config[0], chain[0], report[0])


@kernel
def seed_entry(terms, state, config, chain):  # type: ignore[no-untyped-def]
    """`seed_chain` at the pose in terms and the torque and time in a STATE array of one record."""
    seed_chain(terms[0], so3.from_matrix(terms[1]), state[0].tau_applied_nm, state[0].stamp_ns, config[0], chain[0])


def kernel_terms(terms: ModelTerms) -> tuple[NDArray[np.float64], ...]:
    """The model terms in the order in which the kernels take them."""
    return terms.position_base_m, terms.rotation_base, terms.jacobian, terms.mass, terms.coriolis_nm


class Chain:
    """The tick with its memory: configuration, state and scratch space of one arm. Records are arrays of shape (1,)."""

    def __init__(self, config: ChainConfig, arm: ArmDescription) -> None:
        self.config = config
        self.config_record = np.zeros(1, CHAIN_CONFIG)
        self.config_record["limiter"] = config.limiter.to_record()
        self.config_record["impedance"] = config.impedance.to_record(
            arm.lower_rad, arm.upper_rad, arm.home_rad
        )
        self.config_record["torque"] = config.torque.to_record(tuple(arm.max_torque_nm), 1.0 / config.rate_hz)
        self.config_record["dt_s"] = 1.0 / config.rate_hz
        self.record = np.zeros(1, CHAIN)
        self.record["last_sequence"] = self.record["goal_sequence"] = -1

    def reseed(self, state: NDArray[Any], terms: ModelTerms) -> None:
        """Holds the measured pose from now on and ends a latch. state: STATE array (1,)."""
        seed_entry(kernel_terms(terms), state, self.config_record, self.record)

    def tick(self, state: NDArray[Any], terms: ModelTerms, command: NDArray[Any], report: NDArray[Any]) -> None:
        """Runs one tick; the torque to apply is then report["tau_executed_nm"][0]. All records are arrays (1,)."""
        tick_entry(state, kernel_terms(terms), command, self.config_record, self.record, report)

    @property
    def refusals(self) -> dict[str, int]:
        """How many commands the intake turned down since the start, by check."""
        counts = self.record["refusals"][0]
        return {kind.name.lower(): int(counts[kind]) for kind in Refusal if counts[kind]}
