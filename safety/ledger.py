"""Passivity ledger: an energy tank that pays for everything active the controller does.

If the torque is constant over a tick and positions are read at the ticks, the work that the controller does on the
robot is exactly

    W_k = tau_k^T (q_{k+1} - q_k)

without a model, a velocity or an assumption about the environment (energy sampling, Stramigioli et al. 2005). The
ledger keeps T, the tank, and V, the energy stored in the virtual spring:

    settle   T += V_{k-1} - V(x_k; x_r, K) - W_k          what the spring gave up and the robot did not get
    pay      T += V(x_k; x_r, K) - V(x_k; x_r', K')       for a move of the reference or of the stiffness

so that T + V changes by -W_k exactly (and by what overflows T_max, which is lost). With a gate that keeps the next
work within T + V, the energy delivered never exceeds T_0 + V_0 + granted refills, whatever the environment, the
operator or the policy do. Moving the set point only as far as stored energy pays for it: Lee and Huang 2010 (passive
set-position modulation); energy tanks: Ferraguti et al. 2015; filter for learned policies: "Towards passive safe RL",
arXiv:2503.00287.

Assumptions: the torque read back is the one applied, held over the tick; |q_{k+1} - q_k| <= max joint speed x tick
per joint; gravity and friction compensation inside the drive are outside this port.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.compilation import Floats, Record, kernel

_JOINTS = 7
MAX_DELAY_TICKS, MAX_REPEAT_TICKS = 2, 20
SENT = MAX_DELAY_TICKS + MAX_REPEAT_TICKS + 1
"""Torques that may still act, or that acted over the tick that ended."""

LEDGER_CONFIG = np.dtype(
    [
        ("mode", "i8"),  # LedgerMode
        ("tank_start_j", "f8"),
        ("tank_min_j", "f8"),
        ("tank_max_j", "f8"),
        ("max_active_power_w", "f8"),
        ("empty_damping_ratio", "f8"),
        ("delay_ticks", "i8"),
        ("repeat_ticks", "i8"),
        ("reach_rad", "f8", _JOINTS),  # farthest that a joint moves in a tick
    ],
    align=True,
)

LEDGER = np.dtype(
    [
        ("open", "i8"),  # 1 once it was seeded
        ("tank_j", "f8"),
        ("spring_j", "f8"),  # V after the last tick's moves
        ("granted_j", "f8"),  # since the chain was made
        ("lost_j", "f8"),  # overflow and what was let go of, since the chain was made
        ("delivered_j", "f8"),  # sum of W, since the chain was made
        ("work_j", "f8"),  # W of the last tick
        ("spent_j", "f8"),  # what left the tank since the last grant, refills by the spring not subtracted
        ("stiffness_share", "f8"),  # gamma_K of this tick, in [0, 1]
        ("reference_share", "f8"),  # gamma_x of this tick, in [0, 1]
        ("active_share", "f8"),  # of feed-forward and posture torque, in [0, 1]
        ("gate_share", "f8"),  # of the torque, in [0, 1]
        ("sent_j", "f8", SENT),  # most that a torque delivers in a tick; newest first
        ("q_previous_rad", "f8", _JOINTS),
        ("old_position", "f8", 3),  # reference and stiffness before this tick's moves
        ("old_quaternion", "f8", 4),
        ("old_stiffness", "f8", 6),
    ],
    align=True,
)


class LedgerMode(IntEnum):
    """What the ledger does."""

    OFF = 0
    """Keeps no books."""
    OBSERVE = 1
    """Keeps books and limits nothing: the tank may become negative, which tells what the limits would have stopped."""
    ENFORCE = 2
    """Keeps books and limits."""


@dataclass(frozen=True)
class LedgerConfig:
    """Budget and figures of the passivity ledger."""

    mode: str = "enforce"
    """off, observe (books only) or enforce."""
    tank_start_j: float = 4.0
    """Energy in the tank at the beginning of an episode [J], in (tank_min_j, tank_max_j]."""
    tank_min_j: float = 0.05
    """At or below this the tank counts as empty: nothing that costs energy is let through [J], >= 0."""
    tank_max_j: float = 8.0
    """What would fill the tank beyond this is lost [J], at most 10."""
    max_active_power_w: float = 5.0
    """Bound of the power of feed-forward wrench and posture torque [W], > 0."""
    empty_damping_ratio: float = 1.2
    """Smallest damping ratio while the tank is empty."""
    delay_ticks: int = 0
    """Ticks from writing a torque to its effect, 0..2: energy for torques under way is reserved."""
    repeat_ticks: int = 0
    """Ticks for which a drive repeats the last torque when packets are lost, 0..20: the gate reserves their energy."""

    def __post_init__(self) -> None:
        if self.mode not in {mode.name.lower() for mode in LedgerMode}:
            raise ValueError(f"mode must be off, observe or enforce, got {self.mode!r}")
        if not 0.0 <= self.tank_min_j < self.tank_start_j <= self.tank_max_j <= 10.0:
            raise ValueError(
                "expected 0 <= tank_min_j < tank_start_j <= tank_max_j <= 10, got "
                f"{self.tank_min_j}, {self.tank_start_j}, {self.tank_max_j}"
            )
        for name in ("max_active_power_w", "empty_damping_ratio"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, got {getattr(self, name)}")
        if not 0 <= self.delay_ticks <= MAX_DELAY_TICKS:
            raise ValueError(f"delay_ticks must be 0..{MAX_DELAY_TICKS}, got {self.delay_ticks}")
        if not 0 <= self.repeat_ticks <= MAX_REPEAT_TICKS:
            raise ValueError(f"repeat_ticks must be 0..{MAX_REPEAT_TICKS}, got {self.repeat_ticks}")

    def to_record(self, max_speed_rad_s: NDArray[np.float64], dt_s: float) -> NDArray[Any]:
        """Returns the () LEDGER_CONFIG record for joints that the drive keeps below these speeds (7,) [rad/s]."""
        record = np.zeros((), LEDGER_CONFIG)
        for name in LEDGER_CONFIG.names or ():
            if name not in ("mode", "reach_rad"):
                record[name] = getattr(self, name)
        record["mode"] = LedgerMode[self.mode.upper()]
        record["reach_rad"] = np.asarray(max_speed_rad_s) * dt_s
        return record


@kernel
def spring_energy(error: Floats, stiffness: Floats, leash: Floats) -> float:
    """V [J] of a spring whose force is K clip(e, c): sum of K e^2 / 2 within the leash c, K c (|e| - c/2) beyond.

    With a quadratic V beyond the leash the tank would pay for a force that never acts.
    """
    total = 0.0
    for i in range(6):
        size, limit = abs(error[i]), leash[i]
        total += stiffness[i] * (0.5 * size * size if size <= limit else limit * (size - 0.5 * limit))
    return total


@kernel
def open_ledger(ledger: Record, spring_j: float, q: Floats) -> None:
    """Starts the books anew at joint positions q (7,) with a spring that holds spring_j. Makes no energy: T stays.

    A spring that was dropped is lost; one that is found loaded is granted, so that T + V = T_0 + V_0 + ... holds.
    """
    change_j = spring_j - ledger.spring_j
    if change_j > 0.0:
        ledger.granted_j += change_j
    else:
        ledger.lost_j -= change_j
    ledger.spring_j = spring_j
    for i in range(_JOINTS):
        ledger.q_previous_rad[i] = q[i]
    ledger.stiffness_share = ledger.reference_share = ledger.active_share = ledger.gate_share = 1.0
    ledger.work_j = 0.0
    ledger.open = 1


@kernel
def grant(ledger: Record, config: Record) -> float:
    """Sets the tank to its start: what is missing is granted, what is too much is lost. Returns the change [J].

    For the supervisor, between episodes; nothing in a tick calls this.
    """
    change_j: float = config.tank_start_j - ledger.tank_j
    if change_j > 0.0:
        ledger.granted_j += change_j
    else:
        ledger.lost_j -= change_j
    ledger.tank_j = config.tank_start_j
    ledger.spent_j = 0.0
    return change_j


@kernel
def deposit(ledger: Record, config: Record, amount_j: float) -> None:
    """T += amount_j (which may be negative); what overflows is lost."""
    ledger.tank_j += amount_j
    if amount_j < 0.0:
        ledger.spent_j -= amount_j
    if ledger.tank_j > config.tank_max_j:
        ledger.lost_j += ledger.tank_j - config.tank_max_j
        ledger.tank_j = config.tank_max_j


@kernel
def settle(ledger: Record, config: Record, spring_j: float, tau_applied: Floats, q: Floats) -> None:
    """Books the tick that ended: W = tau^T dq; spring_j is V at the new pose with the old reference and stiffness."""
    work_j = 0.0
    for i in range(_JOINTS):
        work_j += tau_applied[i] * (q[i] - ledger.q_previous_rad[i])
        ledger.q_previous_rad[i] = q[i]
    ledger.work_j = work_j
    ledger.delivered_j += work_j
    deposit(ledger, config, ledger.spring_j - spring_j - work_j)
    ledger.spring_j = spring_j


@kernel
def pay(ledger: Record, config: Record, spring_j: float) -> None:
    """Books a move of reference or stiffness at a standing pose, after which the spring holds spring_j."""
    deposit(ledger, config, ledger.spring_j - spring_j)
    ledger.spring_j = spring_j


@kernel
def budget(ledger: Record, config: Record) -> float:
    """What may be spent [J]: max(T - T_min, 0); infinite unless the ledger enforces."""
    if config.mode != 2:
        return math.inf
    return float(max(ledger.tank_j - config.tank_min_j, 0.0))


@kernel
def active_valve(ledger: Record, config: Record, power_w: float, dt_s: float) -> float:
    """Share in [0, 1] of active terms of power_w [W]: within the budget over a tick, and within the power bound."""
    share = 1.0
    if config.mode == 2 and power_w > 0.0:
        share = min(1.0, min(budget(ledger, config) / dt_s, config.max_active_power_w) / power_w)
    ledger.active_share = share
    return share


@kernel
def under_way(ledger: Record, config: Record) -> float:
    """Most that earlier torques can still deliver before the next one takes effect [J].

    In tick k + s, s = 0 .. d - 1, the drive applies one of the torques of the ticks k + s - d - r .. k + s - d: d ticks
    late, and up to r more where packets are lost. Which one is not known: the greatest counts.
    """
    total_j = 0.0
    for s in range(config.delay_ticks):
        newest = config.delay_ticks - 1 - s
        most_j = 0.0
        for back in range(newest, newest + config.repeat_ticks + 1):
            most_j = max(most_j, ledger.sent_j[back])
        total_j += most_j
    return total_j


@kernel
def write_off(ledger: Record, config: Record, ticks: float) -> None:
    """Books work that nobody can tell: the most that any torque could deliver that may have acted, as lost.

    ticks: how long it acted, >= 1. It comes from the tank, and from the spring where the tank does not hold as much:
    the gate left enough in both together.
    """
    most_j = 0.0
    for back in range(config.delay_ticks, config.delay_ticks + config.repeat_ticks + 1):
        most_j = max(most_j, ticks * ledger.sent_j[back])
    most_j = min(most_j, max(ledger.tank_j + ledger.spring_j, 0.0))
    from_tank_j = min(most_j, max(ledger.tank_j, 0.0))
    ledger.tank_j -= from_tank_j
    ledger.spent_j += from_tank_j
    ledger.spring_j -= most_j - from_tank_j
    ledger.lost_j += most_j


@kernel
def gate_torque(ledger: Record, config: Record, tau: Floats) -> bool:
    """Scales tau (7,) in place such that its work, for as long as it may act, cannot exceed T + V.

    need = (1 + r) sum_i |tau_i| reach_i <= T + V - what is under way. Returns whether it bit. It comes after every
    other limit: only what is applied counts.
    """
    tick_j = 0.0
    for i in range(_JOINTS):
        tick_j += abs(tau[i]) * config.reach_rad[i]
    need_j = tick_j * (1 + config.repeat_ticks)
    available_j = max(ledger.tank_j + ledger.spring_j - under_way(ledger, config), 0.0)  # rounding may go below 0
    share = 1.0
    if config.mode == 2 and need_j > available_j:
        share = available_j / need_j
        for i in range(_JOINTS):
            tau[i] *= share
    ledger.gate_share = share
    for back in range(SENT - 1, 0, -1):
        ledger.sent_j[back] = ledger.sent_j[back - 1]
    ledger.sent_j[0] = tick_j * share
    return share < 1.0
