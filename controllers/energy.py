"""The passivity ledger in the tick: what the spring holds is booked, and moves are granted as far as the tank pays."""

from __future__ import annotations

import math

from controllers.reference import leash
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.ledger import LedgerMode, budget, open_ledger, pay, settle, spring_energy, write_off
from safety.reasons import Reason
from safety.reference_limiter import towards

_NONE, _SHARE, _EMPTY = int(Reason.NONE), int(Reason.ENERGY_SHARE), int(Reason.TANK_EMPTY)
_STATE_INVALID, _ENFORCE = int(Reason.STATE_INVALID), int(LedgerMode.ENFORCE)
_BELIEVED = 2.0
"""A read-back beyond this multiple of the torque bound is no torque of this arm."""
_ROUNDING = 1.001
"""Of a joint that moves as fast as its drive lets it."""
_BISECTIONS = 25
"""Halvings of the interval in which the granted share of a move is sought: to 3e-8 of the move."""


@kernel
def stored(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> float:
    """V [J] of the chain's reference and stiffness at the measured pose."""
    p, r = chain.reference_position, chain.reference_quaternion
    turn = so3.error((r[0], r[1], r[2], r[3]), quaternion)
    error = (p[0] - position[0], p[1] - position[1], p[2] - position[2], turn[0], turn[1], turn[2])
    return float(spring_energy(error, chain.stiffness, config.limiter.leash))


@kernel
def reopen(position: Floats, quaternion: so3.Quaternion, q: Floats, config: Record, chain: Record) -> None:
    """Opens the books at a seed, whose spring is what `stored` says."""
    if config.ledger.mode != 0:
        open_ledger(chain.ledger, stored(position, quaternion, config, chain), q)


@kernel
def torque_of_last_tick(state: Record, config: Record, chain: Record) -> Floats:
    """The torque (7,) that acted over the last tick: as read back, or as commanded where the reading makes no sense.

    That is one which is not finite, or beyond twice what the chain may command.
    """
    for i in range(state.tau_applied_nm.shape[0]):
        value = state.tau_applied_nm[i]
        if not (math.isfinite(value) and abs(value) <= _BELIEVED * config.torque.max_torque_nm[i]):
            return chain.tau_previous
    return state.tau_applied_nm


@kernel
def drop_spring(position: Floats, quaternion: so3.Quaternion, chain: Record) -> None:
    """Puts the reference at the measured pose."""
    for i in range(3):
        chain.reference_position[i] = position[i]
    for i in range(4):
        chain.reference_quaternion[i] = quaternion[i]


@kernel
def elapsed_ticks(state: Record, config: Record, chain: Record) -> float:
    """How many ticks long the last one was, by the stamps of the states, at least 1: packets may have been lost."""
    return float(max(1.0, 1e-9 * (state.stamp_ns - chain.ticked_ns) / config.dt_s))


@kernel
def joints_jumped(q: Floats, ticks: float, config: Record, chain: Record) -> bool:
    """Whether a joint (7,) [rad] is farther from where it was than its drive can take it in so many ticks."""
    for i in range(q.shape[0]):
        if abs(q[i] - chain.ledger.q_previous_rad[i]) > _ROUNDING * ticks * config.ledger.reach_rad[i]:
            return True
    return False


@kernel
def settle_blind(state: Record, config: Record, chain: Record) -> None:
    """Books the work of a tick whose pose is not known, if the joints are, the spring keeping what it held.

    Else the books are closed until joints and pose are known, and of each tick till then the most that its torque could
    deliver is written off.
    """
    ledger = chain.ledger
    if config.ledger.mode == 0:
        return
    for i in range(state.q_rad.shape[0]):
        if not math.isfinite(state.q_rad[i]):
            ledger.open = 0
    ticks = elapsed_ticks(state, config, chain)
    if joints_jumped(state.q_rad, ticks + config.ledger.repeat_ticks, config, chain):
        ledger.open = 0
    if ledger.open == 0:
        write_off(ledger, config.ledger, ticks)
        return
    tau = torque_of_last_tick(state, config, chain)
    settle(ledger, config.ledger, ledger.spring_j, tau, state.q_rad)


@kernel
def settle_until_seed(state: Record, config: Record, chain: Record) -> None:
    """Books what the last torque did until a seed, which reads the arm anew. An arm that was carried is written off."""
    ledger = chain.ledger
    if config.ledger.mode == 0:
        return
    if joints_jumped(state.q_rad, 1.0, config, chain):
        ledger.open = 0
    if ledger.open == 0:
        write_off(ledger, config.ledger, elapsed_ticks(state, config, chain))
    else:
        settle(ledger, config.ledger, ledger.spring_j, torque_of_last_tick(state, config, chain), state.q_rad)


@kernel
def settle_tick(state: Record, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Books the tick that ended, with the torque that the drive says it applied, and remembers reference and stiffness.

    A torque that cannot be read back counts as the one that was commanded. Joints that jumped are not believed while
    the ledger enforces: work between two such readings may be anything, so that it is written off and the arm latched.
    """
    ledger = chain.ledger
    if config.ledger.mode == 0:
        return
    ticks = elapsed_ticks(state, config, chain)
    enforced = ledger.open != 0 and config.ledger.mode == _ENFORCE
    if enforced and joints_jumped(state.q_rad, ticks + config.ledger.repeat_ticks, config, chain):
        ledger.open = chain.held = 0
        chain.latched = max(chain.latched, _STATE_INVALID)
    if ledger.open == 0:  # nobody knows where the joints went meanwhile: no spring is left that could be found loaded
        write_off(ledger, config.ledger, ticks)
        drop_spring(position, quaternion, chain)
        reopen(position, quaternion, state.q_rad, config, chain)
    tau = torque_of_last_tick(state, config, chain)
    settle(ledger, config.ledger, stored(position, quaternion, config, chain), tau, state.q_rad)
    for i in range(3):
        ledger.old_position[i] = chain.reference_position[i]
    for i in range(4):
        ledger.old_quaternion[i] = chain.reference_quaternion[i]
    for i in range(6):
        ledger.old_stiffness[i] = chain.stiffness[i]


@kernel
def grant_moves(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> int:
    """Lets the tick's moves of reference and stiffness through as far as the tank pays for them.

    Runs after the leash. Moves that release energy always pass, and fill the tank. Returns ENERGY_SHARE, TANK_EMPTY or
    NONE. While the tank is empty the damping ratio goes to at least empty_damping_ratio.
    """
    ledger = chain.ledger
    if config.ledger.mode == 0:
        return _NONE
    ledger.stiffness_share = ledger.reference_share = 1.0
    wished_j = stored(position, quaternion, config, chain)
    code = _NONE
    if wished_j - ledger.spring_j > budget(ledger, config.ledger):
        grant_in_part(position, quaternion, config, chain)
        code = _SHARE
        wished_j = stored(position, quaternion, config, chain)
    pay(ledger, config.ledger, wished_j)
    if budget(ledger, config.ledger) <= 0.0:
        ratio = max(config.ledger.empty_damping_ratio, chain.damping_ratio)
        step = config.limiter.damping_ratio_slew_per_s * config.dt_s
        chain.damping_ratio = towards(chain.damping_ratio, ratio, step + step)
        code = _EMPTY
    return code


@kernel
def grant_in_part(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Replaces the wished reference and stiffness by what the budget B pays for, stiffness first:

    softening passes; gamma_K = min(1, B / (V(K_up) - V(K_down))) of the stiffening; then the largest gamma_x in [0, 1]
    with V(x_r + gamma_x (x_r' - x_r)) <= V(x_r) + B, by bisection along the straight line and the shortest turn.
    """
    ledger, leash_limit = chain.ledger, config.limiter.leash
    p, r = chain.reference_position, chain.reference_quaternion
    wish_p, wish_q = (p[0], p[1], p[2]), (r[0], r[1], r[2], r[3])
    for i in range(3):
        p[i] = ledger.old_position[i]
    for i in range(4):
        r[i] = ledger.old_quaternion[i]
    leash(position, quaternion, config, chain)  # the arm moved since: pull the old reference in, which releases energy
    error = chain.work.error
    available_j = budget(ledger, config.ledger) + ledger.spring_j
    old, wish = ledger.old_stiffness, chain.stiffness
    soft = (
        *(min(old[0], wish[0]), min(old[1], wish[1]), min(old[2], wish[2])),
        *(min(old[3], wish[3]), min(old[4], wish[4]), min(old[5], wish[5])),
    )
    soft_j = spring_energy(error, soft, leash_limit)
    cost_j = spring_energy(error, wish, leash_limit) - soft_j
    share = 1.0
    if cost_j > available_j - soft_j:
        share = max(available_j - soft_j, 0.0) / cost_j
    for i in range(6):
        wish[i] = soft[i] + share * (wish[i] - soft[i])
    ledger.stiffness_share = share
    start_p, start_q = (p[0], p[1], p[2]), (r[0], r[1], r[2], r[3])
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        place_between(start_p, start_q, wish_p, wish_q, middle, chain)
        if stored(position, quaternion, config, chain) <= available_j:
            low = middle
        else:
            high = middle
    place_between(start_p, start_q, wish_p, wish_q, low, chain)
    leash(position, quaternion, config, chain)
    ledger.reference_share = low
    for i in range(3):
        chain.reference_velocity[i] *= low
        chain.reference_spin[i] *= low


@kernel
def place_between(
    start_p: so3.Vector,
    start_q: so3.Quaternion,
    wish_p: so3.Vector,
    wish_q: so3.Quaternion,
    share: float,
    chain: Record,
) -> None:
    """Puts the reference a share of the way from start to wish."""
    for i in range(3):
        chain.reference_position[i] = start_p[i] + share * (wish_p[i] - start_p[i])
    turn = so3.error(wish_q, start_q)
    step = so3.exp((share * turn[0], share * turn[1], share * turn[2]))
    rotation = so3.normalise(so3.multiply(step, start_q))
    for i in range(4):
        chain.reference_quaternion[i] = rotation[i]
