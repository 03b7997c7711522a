"""The reference of the tick: slewed towards the goal, kept on a leash about the measured pose."""

from __future__ import annotations

from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reasons import Reason
from safety.reference_limiter import approach, clip_scalar, towards

_NONE, _SLEW, _STIFFNESS_SLEW = int(Reason.NONE), int(Reason.SLEW), int(Reason.STIFFNESS_SLEW)
_ARRIVED = 1e-6
"""Distance [m and rad] below which the reference counts as being at the goal."""


@kernel
def move_reference(config: Record, chain: Record) -> int:
    """Moves reference, stiffness, damping ratio and feed-forward wrench one tick towards the goal, within their rates.

    Returns STIFFNESS_SLEW, SLEW or NONE: what is still on its way.
    """
    limiter, dt_s, share = config.limiter, config.dt_s, chain.reflex.speed_share
    p, g, v, w = chain.reference_position, chain.goal_position, chain.reference_velocity, chain.reference_spin
    velocity = approach(
        (g[0] - p[0], g[1] - p[1], g[2] - p[2]),
        (v[0], v[1], v[2]),
        share * limiter.max_speed_m_s,
        limiter.max_acceleration_m_s2,
        dt_s,
    )
    remaining = 0.0
    for i in range(3):
        v[i] = velocity[i]
        p[i] += velocity[i] * dt_s
        remaining = max(remaining, abs(g[i] - p[i]))
    r, h = chain.reference_quaternion, chain.goal_quaternion
    reference, goal = (r[0], r[1], r[2], r[3]), (h[0], h[1], h[2], h[3])
    spin = approach(
        so3.error(goal, reference),
        (w[0], w[1], w[2]),
        share * limiter.max_angular_speed_rad_s,
        limiter.max_angular_acceleration_rad_s2,
        dt_s,
    )
    reference = so3.normalise(so3.multiply(so3.exp((spin[0] * dt_s, spin[1] * dt_s, spin[2] * dt_s)), reference))
    turn = so3.error(goal, reference)
    for i in range(3):
        w[i] = spin[i]
        remaining = max(remaining, abs(turn[i]))
    for i in range(4):
        r[i] = reference[i]
    return max(_SLEW if remaining > _ARRIVED else _NONE, move_gains(limiter, dt_s, chain))


@kernel
def move_gains(limiter: Record, dt_s: float, chain: Record) -> int:
    """Moves stiffness (in a hold at the hold's own rate), damping ratio and feed-forward wrench one tick.

    Returns STIFFNESS_SLEW or NONE.
    """
    code = _NONE
    for i in range(6):
        rate = limiter.stiffness_slew_per_s[i]
        if chain.held != 0:
            rate = min(rate, chain.hold_rate_per_s[i])
        chain.stiffness[i] = towards(chain.stiffness[i], chain.goal_stiffness[i], rate * dt_s)
        if chain.stiffness[i] != chain.goal_stiffness[i]:
            code = _STIFFNESS_SLEW
        chain.wrench[i] = towards(chain.wrench[i], chain.goal_wrench[i], limiter.wrench_slew_n_s * dt_s)
    step = limiter.damping_ratio_slew_per_s * dt_s
    chain.damping_ratio = towards(chain.damping_ratio, chain.goal_damping_ratio, step)
    return code


@kernel
def leash(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> bool:
    """Fills work.error with the pose error clipped to the leash, and moves the reference there (write-back).

    Returns whether it bit. Afterwards |K_i e_i| <= K_i leash_i for whatever target was asked. Only the axes that were
    clipped lose their speed: an arm that presses against a wall can still slide along it.
    """
    limit, error = config.limiter.leash, chain.work.error
    r = chain.reference_quaternion
    turn = so3.error((r[0], r[1], r[2], r[3]), quaternion)
    moved = turned = False
    for i in range(3):
        offset = chain.reference_position[i] - position[i]
        error[i] = clip_scalar(offset, limit[i])
        if error[i] != offset:
            moved = True
            chain.reference_position[i] = position[i] + error[i]
            chain.reference_velocity[i] = 0.0
        error[3 + i] = clip_scalar(turn[i], limit[3 + i])
        if error[3 + i] != turn[i]:
            turned = True
            chain.reference_spin[i] = 0.0
    if turned:
        reference = so3.normalise(so3.multiply(so3.exp((error[3], error[4], error[5])), quaternion))
        for i in range(4):
            chain.reference_quaternion[i] = reference[i]
    return moved or turned
