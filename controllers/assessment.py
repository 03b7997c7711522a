"""The safety critic in the tick: features of the present state and of the action under way, and the risk of both."""

from __future__ import annotations

import math

from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reference_limiter import clip_scalar
from safety.risk_critic import (
    DEPTH_M,
    MIDDLE_STIFFNESS,
    RATE_HZ,
    RATE_PER_S,
    SPEED_M_S,
    STIFFNESS_DECADE,
    TILT_RAD,
    TURN_RAD_S,
    prime,
    recover,
    risk_of_features,
    smooth,
)

_DECISION, _CONTROL = 1, 2
_LOG_DECADE = math.log(STIFFNESS_DECADE)
_SMALLEST = 1e-3
"""Least stiffness on the log scale, as a share of the middle one: softer counts as this."""


@kernel
def assess(state: Record, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Fills chain.risk: features in every tick, risk and recovery where the mode asks for them.

    Comes after the command of the tick was taken, so that a new goal is judged before it moves anything.
    """
    critic, risk = config.critic, chain.risk
    risk.fresh = 0
    risk.version = critic.weights.version
    if critic.mode == 0:
        risk.value = math.nan
        return
    sense_wrench(state.wrench_tool, critic, risk)
    state_features(position, quaternion, config, chain)
    action_features(config, chain)
    place_features(position, config, chain)
    if critic.weights.version == 0:
        risk.value = math.nan
        return
    commanded = chain.commanded != 0 and chain.goal_sequence != risk.sequence
    due = commanded if critic.mode == _DECISION else chain.tick % critic.period_ticks == 0
    if not due:
        return
    risk.sequence = chain.goal_sequence
    risk.fresh = 1
    risk.value = risk_of_features(critic.weights, risk)
    recover(critic.weights, risk)
    if chain.watch.same_ticks >= config.watch.stale_ticks:
        risk.value = 1.0  # whatever the networks say of a sensor that stands still


@kernel
def sense_wrench(wrench: Floats, critic: Record, risk: Record) -> None:
    """Features 0-8 and 30-31: the low-passed wrench, the rate of its force below RATE_HZ, and its size right now."""
    b, a = critic.smooth_b, critic.smooth_a
    if risk.primed == 0:
        for i in range(6):
            prime(wrench[i], b, a, risk.smooth_wrench[i])
        for i in range(3):
            risk.slow_force[i] = wrench[i]
        for i in range(6):
            risk.recent_wrench[0, i] = risk.recent_wrench[1, i] = wrench[i]
        risk.primed = 1
    force = moment = 0.0
    for i in range(6):
        mean = (wrench[i] + risk.recent_wrench[0, i] + risk.recent_wrench[1, i]) / 3.0
        risk.recent_wrench[1, i] = risk.recent_wrench[0, i]
        risk.recent_wrench[0, i] = wrench[i]
        if i < 3:
            force += mean * mean
        else:
            moment += mean * mean
        value = smooth(wrench[i], b, a, risk.smooth_wrench[i])
        risk.features[i] = value / (critic.max_force_n if i < 3 else critic.max_moment_nm)
        if i < 3:
            rate = 2.0 * math.pi * RATE_HZ * (value - risk.slow_force[i])
            risk.slow_force[i] += critic.slow_gain * (value - risk.slow_force[i])
            risk.features[6 + i] = rate / (RATE_PER_S * critic.max_force_n)
    risk.features[30] = math.sqrt(force) / critic.max_force_n
    risk.features[31] = math.sqrt(moment) / critic.max_moment_nm


@kernel
def state_features(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Features 9-29: twist, spring, stiffness, damping ratio, tank and granted share. Fills risk.axes."""
    risk, leash, twist, p = chain.risk, config.limiter.leash, chain.work.twist, chain.reference_position
    r = chain.reference_quaternion
    axes = so3.rotate(quaternion, (1.0, 0.0, 0.0)), so3.rotate(quaternion, (0.0, 1.0, 0.0))
    for c in range(3):
        risk.axes[0, c], risk.axes[1, c] = axes[0][c], axes[1][c]
    for c in range(3):  # the third is the cross product of the first two
        i, j = (c + 1) % 3, (c + 2) % 3
        risk.axes[2, c] = axes[0][i] * axes[1][j] - axes[0][j] * axes[1][i]
    turn = so3.error((r[0], r[1], r[2], r[3]), quaternion)
    for i in range(3):
        speed = rate = offset = bend = span = arc = 0.0
        for c in range(3):
            share = risk.axes[i, c]
            speed += share * twist[c]
            rate += share * twist[3 + c]
            offset += share * clip_scalar(p[c] - position[c], leash[c])
            bend += share * clip_scalar(turn[c], leash[3 + c])
            span += share * share * leash[c]
            arc += share * share * leash[3 + c]
        risk.features[9 + i], risk.features[12 + i] = speed / SPEED_M_S, rate / TURN_RAD_S
        risk.features[15 + i], risk.features[18 + i] = offset / span, bend / arc
    stiffness_features(chain.stiffness, 21, risk)
    ledger, books = chain.ledger, config.ledger.mode != 0
    risk.features[27] = chain.damping_ratio
    risk.features[28] = ledger.tank_j / config.ledger.tank_start_j if books else 1.0
    shares = min(ledger.stiffness_share, ledger.reference_share, ledger.gate_share)
    risk.features[29] = shares if books else 1.0


@kernel
def action_features(config: Record, chain: Record) -> None:
    """Features 32-43: the way from reference to goal that fits into the look-ahead, and the goal's stiffness."""
    risk, reach = chain.risk, config.critic.travel
    p, g, r, h = chain.reference_position, chain.goal_position, chain.reference_quaternion, chain.goal_quaternion
    turn = so3.error((h[0], h[1], h[2], h[3]), (r[0], r[1], r[2], r[3]))
    for i in range(3):
        way = angle = 0.0
        for c in range(3):
            way += risk.axes[i, c] * (g[c] - p[c])
            angle += risk.axes[i, c] * turn[c]
        risk.features[32 + i] = clip_scalar(way / reach[i], 1.0)
        risk.features[35 + i] = clip_scalar(angle / reach[3 + i], 1.0)
    stiffness_features(chain.goal_stiffness, 38, risk)


@kernel
def place_features(position: Floats, config: Record, chain: Record) -> None:
    """Features 44-47: depth of tool and reference behind the task's surface, and its normal across the tool's axis.

    A task that names no surface has 0 there. After `state_features`, which fills risk.axes.
    """
    critic, risk = config.critic, chain.risk
    for i in range(44, 48):
        risk.features[i] = 0.0
    if critic.sees_surface == 0:
        return
    for c in range(3):
        start, normal = critic.surface[c], critic.surface[3 + c]
        risk.features[44] += normal * (position[c] - start) / DEPTH_M
        risk.features[45] += normal * (chain.reference_position[c] - start) / DEPTH_M
        risk.features[46] += normal * risk.axes[0, c] / TILT_RAD
        risk.features[47] += normal * risk.axes[1, c] / TILT_RAD


@kernel
def stiffness_features(stiffness: Floats, first: int, risk: Record) -> None:
    """Six features from `first` on: the diagonal of R^T diag(K) R, in decades about the middle stiffness."""
    for i in range(3):
        push = twist = 0.0
        for c in range(3):
            weight = risk.axes[i, c] * risk.axes[i, c]
            push += weight * stiffness[c]
            twist += weight * stiffness[3 + c]
        risk.features[first + i] = math.log(max(push / MIDDLE_STIFFNESS[0], _SMALLEST)) / _LOG_DECADE
        risk.features[first + 3 + i] = math.log(max(twist / MIDDLE_STIFFNESS[1], _SMALLEST)) / _LOG_DECADE
