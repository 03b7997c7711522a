"""One tick from state to torque, through every layer; each says what it did.

watch -> intake -> safety critic -> reflex arbiter -> reference limiter -> passivity ledger -> impedance law
-> torque limits -> energy gate

The same compiled function runs in the real-time motor process and in lock-step under a simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controllers.arbiter import arbitrate
from controllers.assessment import assess
from controllers.chain_memory import CHAIN, CHAIN_CONFIG, LatchWords
from controllers.energy import grant_moves, reopen, settle_blind, settle_tick, settle_until_seed, torque_of_last_tick
from controllers.goal import age_goal, enter_hold, seed_chain, take_command
from controllers.impedance import ImpedanceConfig, active_terms, impedance_law, joint_margin, tool_twist
from controllers.intake import reading_is_finite
from controllers.reference import leash, move_reference
from controllers.reporting import write_report
from controllers.types import JOINTS
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.ledger import LedgerConfig, active_valve, gate_torque, grant
from safety.reasons import Reason, Refusal
from safety.reference_limiter import ReferenceLimiterConfig
from safety.reflex import Mode, ReflexConfig, rearm_reflex
from safety.risk_critic import RiskCriticConfig, forget
from safety.risk_weights import WeightsRefusal, examine_weights
from safety.torque_limits import TorqueLimitConfig, limit_torque
from safety.watch import WatchConfig, rearm, watch_state

if TYPE_CHECKING:
    from controllers.arm_model import ModelTerms
    from controllers.description.arm import ArmDescription

_LEASH = int(Reason.LEASH)
_TORQUE_RATE, _TORQUE = int(Reason.TORQUE_RATE), int(Reason.TORQUE)
_ENERGY_GATE, _SENSOR_STUCK = int(Reason.ENERGY_GATE), int(Reason.SENSOR_STUCK)
_JOINT_LIMIT, _STATE_INVALID = int(Reason.JOINT_LIMIT), int(Reason.STATE_INVALID)
_RISK_STOP, _STOP = int(Reason.RISK_STOP), int(Mode.STOP)


@dataclass(frozen=True)
class ChainConfig:
    """Configuration of every layer between a command and a torque."""

    limiter: ReferenceLimiterConfig = field(default_factory=ReferenceLimiterConfig)
    impedance: ImpedanceConfig = field(default_factory=ImpedanceConfig)
    torque: TorqueLimitConfig = field(default_factory=TorqueLimitConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    reflex: ReflexConfig = field(default_factory=ReflexConfig)
    critic: RiskCriticConfig = field(default_factory=RiskCriticConfig)
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
    tool_twist(terms[2], state.qd_rad_s, chain.work.twist)
    settle_tick(state, position, quaternion, config, chain)
    chain.ticked_ns = state.stamp_ns
    take_command(command, state.stamp_ns, position, quaternion, config, chain)
    guard_state(state, position, quaternion, config, chain)
    assess(state, position, quaternion, config, chain)
    reason = arbitrate(state, position, quaternion, config, chain)
    reason = max(reason, age_goal(state.stamp_ns, position, quaternion, config, chain), chain.goal_reason)
    reason = max(reason, move_reference(config, chain))
    if leash(position, quaternion, config, chain):
        reason = max(reason, _LEASH)
    reason = max(reason, grant_moves(position, quaternion, config, chain))
    power_w = active_terms(state.q_rad, state.qd_rad_s, chain.wrench, terms, config.impedance, chain.work)
    active_share = active_valve(chain.ledger, config.ledger, power_w, config.dt_s)
    impedance_law(
        state.q_rad,
        chain.work.error,
        chain.stiffness,
        chain.damping_ratio,
        chain.wrench,
        active_share,
        terms,
        config.impedance,
        chain.work,
        chain.tau_wish,
    )
    limited = limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
    if limited == 3:  # no finite torque from a finite state: the model or this memory is broken
        chain.latched = reason = _STATE_INVALID
        chain.held = 0
    elif limited != 0:
        reason = max(reason, _TORQUE if limited == 2 else _TORQUE_RATE)
    if config.ledger.mode != 0 and gate_torque(chain.ledger, config.ledger, report.tau_executed_nm):
        reason = max(reason, _ENERGY_GATE)
    write_report(state, terms, config, chain, reason, quaternion, report)


@kernel
def guard_state(state: Record, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Holds the arm where a measured value left its limits, or a joint is at its stop distance.

    A trip latches, and takes the place of a milder latch: what is worst has to be answered for. A joint limit and a
    sensor that stands still drop the goal until another command is accepted.
    """
    box_min, box_max = config.limiter.box_min_base_m, config.limiter.box_max_base_m
    tau = torque_of_last_tick(state, config, chain)
    trip = watch_state(state, tau, position, chain.work.twist, box_min, box_max, config.watch, chain.watch)
    if chain.latched != 0:
        chain.latched = max(chain.latched, trip)
        return
    if trip != 0 and trip != _SENSOR_STUCK:
        enter_hold(position, quaternion, config, chain)
        chain.latched = trip
    elif trip == _SENSOR_STUCK or joint_margin(state.q_rad, config.impedance) < config.impedance.limit_stop_rad:
        enter_hold(position, quaternion, config, chain)
        chain.goal_reason = _SENSOR_STUCK if trip == _SENSOR_STUCK else _JOINT_LIMIT


@kernel
def let_go(state: Record, terms: Floats, config: Record, chain: Record, report: Record) -> None:
    """The tick of a state that is not finite: torque towards zero at the rate limit, latched; the pose is unknown.

    As long as the joints are known, the work is booked all the same; the gate holds in any case.
    """
    chain.latched = _STATE_INVALID
    chain.held = 0  # once the state is good again, the hold is entered where the arm is then
    for i in range(JOINTS):
        chain.tau_wish[i] = 0.0
    limit_torque(chain.tau_wish, chain.tau_previous, config.torque, report.tau_executed_nm)
    unknown = (math.nan, math.nan, math.nan, math.nan)
    settle_blind(state, config, chain)
    chain.ticked_ns = state.stamp_ns
    if config.ledger.mode != 0:
        gate_torque(chain.ledger, config.ledger, report.tau_executed_nm)
    write_report(state, terms, config, chain, _STATE_INVALID, unknown, report)


@kernel
def tick_entry(state: Record, terms: Floats, command: Record, config: Record, chain: Record, report: Record) -> None:
    """`run_tick` on arrays of one record each: Numba's dispatch of such arrays costs 1.5 us, of bare records 15 us."""
    run_tick(state[0], terms, command[0], config[0], chain[0], report[0])


@kernel
def seed_entry(terms: Floats, state: Record, config: Record, chain: Record) -> None:
    """`seed_chain` at the pose in terms and the torque and time in a STATE array of one record.

    A state that is not finite seeds nothing: the chain is latched until it is seeded from a good one.
    """
    if not reading_is_finite(state[0], terms):
        chain[0].latched = _STATE_INVALID
        chain[0].commanded = chain[0].held = 0
        return
    quaternion = so3.from_matrix(terms[1])
    settle_until_seed(state[0], config[0], chain[0])
    chain[0].ticked_ns = state[0].stamp_ns
    seed_chain(terms[0], quaternion, state[0].tau_applied_nm, state[0].stamp_ns, config[0], chain[0])
    reopen(terms[0], quaternion, state[0].q_rad, config[0], chain[0])
    rearm(chain[0].watch)
    if rearm_reflex(chain[0].reflex, config[0].reflex) == _STOP:
        chain[0].latched = _RISK_STOP
    forget(chain[0].risk)


@kernel
def grant_entry(config: Record, chain: Record) -> float:
    """`grant` on arrays of one record each."""
    return float(grant(chain[0].ledger, config[0].ledger))


def kernel_terms(terms: ModelTerms) -> tuple[NDArray[np.float64], ...]:
    """The model terms in the order in which the kernels take them."""
    return terms.position_base_m, terms.rotation_base, terms.jacobian, terms.mass, terms.coriolis_nm


class Chain(LatchWords):
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
        dt_s = 1.0 / config.rate_hz
        self.config_record["ledger"] = config.ledger.to_record(arm.max_velocity_rad_s, dt_s)
        self.config_record["watch"] = config.watch.to_record(arm.max_velocity_rad_s, dt_s)
        self.config_record["reflex"] = config.reflex.to_record(dt_s)
        self.config_record["critic"] = config.critic.to_record(config.limiter, dt_s)
        self.config_record["dt_s"] = dt_s
        self.config_record["gripper_range_m"] = (math.nan, math.nan) if gripper_range_m is None else gripper_range_m
        super().__init__(np.zeros(1, CHAIN))
        for name in ("seen_sequence", "last_sequence", "goal_sequence"):
            self.record[name] = -1
        self.record["risk"]["value"] = math.nan
        self.record["reflex"]["speed_share"] = 1.0
        self.record["ledger"]["tank_j"] = self.record["ledger"]["granted_j"] = config.ledger.tank_start_j

    def reseed(self, state: NDArray[Any], terms: ModelTerms) -> None:
        """Holds the measured pose from now on and ends a latch. state: STATE array (1,)."""
        seed_entry(kernel_terms(terms), state, self.config_record, self.record)

    def carried(self) -> None:
        """Says that the arm was carried since the last tick: its joints did not jump, nobody's torque did it.

        A hold is entered anew where the arm is then.
        """
        self.record["ledger"]["open"] = self.record["held"] = 0

    def grant(self) -> float:
        """Sets the tank to its start, for a new episode; returns the change [J]. Only a supervisor may ask for it."""
        return float(grant_entry(self.config_record, self.record))

    def adopt_critic(self, weights: NDArray[Any]) -> WeightsRefusal:
        """Takes a () CRITIC_WEIGHTS record into use, unless it is refused: then the old weights stay.

        Only between episodes, right before a reseed.
        """
        verdict = examine_weights(weights, self.critic_version, self.config_record["critic"][0])
        if verdict == WeightsRefusal.ACCEPTED:
            self.config_record["critic"]["weights"] = weights
        return verdict

    @property
    def critic_version(self) -> int:
        """Version of the safety critic's weights in use, 0 without any."""
        return int(self.config_record["critic"]["weights"]["version"][0])

    def tick(self, state: NDArray[Any], terms: ModelTerms, command: NDArray[Any], report: NDArray[Any]) -> None:
        """Runs one tick; the torque to apply is then report["tau_executed_nm"][0]. All records are arrays (1,)."""
        tick_entry(state, kernel_terms(terms), command, self.config_record, self.record, report)

    @property
    def taken(self) -> bool:
        """Whether the reflex arbiter has the arm."""
        return bool(self.record["reflex"]["mode"][0] >= Mode.REFLEX)

    @property
    def refusals(self) -> dict[str, int]:
        """How many commands the intake turned down since the start, by check."""
        counts = self.record["refusals"][0]
        return {kind.name.lower(): int(counts[kind]) for kind in Refusal if counts[kind]}
