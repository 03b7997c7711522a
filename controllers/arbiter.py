"""The reflex arbiter in the tick: what a mode does to goal, reference and stiffness.

    SOFT     K_goal = K (1 - (Q - eps_s) / (eps_h - eps_s) (1 - s)), damping ratio up, reference slower
    REFLEX   spring and feed-forward dropped at once; then the goal is the recovery's
    HOLD     soft hold at the measured pose
    STOP     the same, latched

The kernels of the modes are in `safety.reflex`, those of the way back in `safety.retreat`. The passivity ledger runs
afterwards and books every move made here.
"""

from __future__ import annotations

import math

from controllers.goal import enter_hold
from controllers.types import Source
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reasons import Reason
from safety.reflex import Mode, arm_taken, enter, next_mode
from safety.retreat import note_position, step_back
from safety.risk_critic import CriticMode
from safety.watch import norm_of_three

_NONE, _SOFT_REASON, _REFLEX_REASON = int(Reason.NONE), int(Reason.SOFT), int(Reason.REFLEX)
_RISK_HOLD, _RISK_STOP = int(Reason.RISK_HOLD), int(Reason.RISK_STOP)
_NORMAL, _SOFT, _REFLEX = int(Mode.NORMAL), int(Mode.SOFT), int(Mode.REFLEX)
_HOLD, _STOP = int(Mode.HOLD), int(Mode.STOP)
_DECISION = int(CriticMode.DECISION)
_EARLY_TICKS = 2
"""A reflex at the decision rate ends this much before the dropped command would have."""
_NOBODY, _RESET, _RECOVERY = int(Source.HOLD), int(Source.RESET), int(Source.RECOVERY)


@kernel
def arbitrate(state: Record, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> int:
    """Lets the mode that the risk asks for act on the chain; returns its Reason code, NONE in NORMAL.

    Runs after the critic and before the goal ages. Does nothing while there is no critic.
    """
    memory = chain.reflex
    before = memory.mode
    if config.reflex.enabled == 0 or (before == _NORMAL and no_critic(chain.risk)):
        return _NONE
    if chain.latched != 0:
        if arm_taken(before):
            enter(memory, _STOP)
        return _NONE
    risk = risk_now(config, chain)
    mode = next_mode(memory, config.reflex, risk, norm_of_three(state.wrench_tool, 0))
    if arm_taken(mode) and not arm_taken(before):
        drop_command(position, quaternion, config, chain)
    if mode == _REFLEX:
        pause_age(state.stamp_ns, chain)
        if chain.held == 0:  # a joint limit or a sensor that stands still has stopped the recovery
            recover(position, config, chain)
        return _REFLEX_REASON
    if mode == _HOLD:
        if before != _HOLD:
            enter_hold(position, quaternion, config, chain)
            pause_age(state.stamp_ns, chain)
        return _RISK_HOLD
    if mode == _STOP:
        enter_hold(position, quaternion, config, chain)
        chain.latched = _RISK_STOP
        return _RISK_STOP
    note_position(memory.path, position)
    if arm_taken(before):
        await_command(state.stamp_ns, chain)
    soften(mode, before, risk, config, chain)
    return _SOFT_REASON if mode == _SOFT else _NONE


@kernel
def no_critic(risk: Record) -> bool:
    """Whether nobody has evaluated a risk yet; one that was, and is no number, is another matter."""
    return math.isnan(risk.value) and risk.fresh == 0


@kernel
def risk_now(config: Record, chain: Record) -> float:
    """The risk in [0, 1] that the arbiter acts on.

    An answer that is no number, and a wrench that stands still for stale_ms, are certain risk. In a hold, before the
    first command and in the automatic reset there is nothing to preempt: 0. Once a command was dropped, no other comes
    that a critic at the decision rate could evaluate: its last evaluation then lapses, and counts as 0, early enough
    for the reflex to end just before that command would have, so that the next one finds the arm given back.
    """
    memory, critic = chain.reflex, chain.risk
    memory.age_ticks = 0 if critic.fresh != 0 else memory.age_ticks + 1
    if no_critic(critic):
        return 0.0
    resetting = chain.goal_source == _RESET and config.reflex.resets == 0
    if not arm_taken(memory.mode) and (chain.commanded == 0 or chain.held != 0 or resetting):
        return 0.0
    ahead_s = (memory.age_ticks + config.reflex.exit_ticks + _EARLY_TICKS) * config.dt_s
    lapsed = memory.dropped > 0 and memory.age_ticks > 0 and ahead_s > chain.proposed_duration_s
    if config.critic.mode == _DECISION and lapsed:
        return 0.0
    stale = config.watch.enabled != 0 and chain.watch.same_ticks >= config.watch.stale_ticks
    return 1.0 if stale or not math.isfinite(critic.value) else float(critic.value)


@kernel
def drop_command(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Begins a reflex: nothing of the command is left; reference and goal are the measured pose, at rest.

    Letting go of the spring fills the tank by what it held, so that a recovery can be paid for.
    """
    chain.reflex.dropped += 1
    chain.reflex.path.gone_m = 0.0
    chain.reflex.speed_share = 1.0
    chain.goal_source, chain.goal_reason = _RECOVERY, 0
    if chain.accepted_tick == chain.tick:  # dropped before it moved anything, the gripper included
        chain.goal_gripper_m = chain.former_gripper_m
    for i in range(3):
        chain.goal_position[i] = chain.reference_position[i] = position[i]
        chain.reference_velocity[i] = chain.reference_spin[i] = 0.0
    for i in range(4):
        chain.goal_quaternion[i] = chain.reference_quaternion[i] = quaternion[i]
    for i in range(6):
        chain.goal_wrench[i] = chain.wrench[i] = 0.0
        chain.goal_stiffness[i] = within_limits(config.reflex.recovery_stiffness[i], i, config.limiter)
    chain.goal_damping_ratio = max(chain.proposed_damping_ratio, config.reflex.soft_damping_ratio)


@kernel
def within_limits(stiffness: float, axis: int, limiter: Record) -> float:
    """The stiffness of one axis within the range that commands have."""
    return float(max(limiter.stiffness_min[axis], min(limiter.stiffness_max[axis], stiffness)))


@kernel
def recover(position: Floats, config: Record, chain: Record) -> None:
    """Moves the goal of a reflex: a learned recovery's at every evaluation, else back along the measured path.

    A learned offset is cut to max_offset_m, its goal to the workspace box, its stiffness to max_recovery_stiffness. One
    that is not finite is passed over.
    """
    risk, limiter = chain.risk, config.limiter
    if config.reflex.learned == 0 or risk.has_recovery == 0:
        step_back(chain.reflex.path, chain.reference_position, config.reflex.retreat_m, chain.goal_position)
        return
    length_m = norm_of_three(risk.recovery_offset_base_m, 0)
    if risk.fresh == 0 or not math.isfinite(length_m):
        return
    share = min(1.0, config.reflex.max_offset_m / length_m) if length_m > 0.0 else 0.0
    for i in range(3):
        goal = position[i] + share * risk.recovery_offset_base_m[i]
        chain.goal_position[i] = min(limiter.box_max_base_m[i], max(limiter.box_min_base_m[i], goal))
    for i in range(6):
        if math.isfinite(risk.recovery_stiffness[i]):
            wish = min(risk.recovery_stiffness[i], config.reflex.max_recovery_stiffness[i])
            chain.goal_stiffness[i] = within_limits(wish, i, limiter)


@kernel
def pause_age(now_ns: int, chain: Record) -> None:
    """Lets the age of the goal begin now: nobody could have sent a command that counts.

    Only for the first reflex since a command was accepted: the wait for a dead policy must end in a latch.
    """
    if chain.reflex.dropped == 1:
        chain.goal_stamp_ns = now_ns


@kernel
def await_command(now_ns: int, chain: Record) -> None:
    """After the recovery the reference stays where it is until a command is accepted; the wait for it ages."""
    pause_age(now_ns, chain)
    chain.goal_source = _NOBODY
    if chain.held == 0:
        for i in range(3):
            chain.goal_position[i] = chain.reference_position[i]


@kernel
def soften(mode: int, before: int, risk: float, config: Record, chain: Record) -> None:
    """Softens, damps and slows a command that is followed as the risk rises; gives it all back as the risk falls."""
    reflex = config.reflex
    if mode == _NORMAL and before != _SOFT:
        return
    share = 0.0
    if mode == _SOFT:
        share = min(1.0, max(0.0, (risk - reflex.eps_soft) / (reflex.eps_hard - reflex.eps_soft)))
    chain.reflex.speed_share = reflex.soft_speed_share if mode == _SOFT else 1.0
    if chain.held != 0 or chain.reflex.dropped != 0:
        return
    for i in range(6):
        wish = chain.proposed_stiffness[i]
        least = min(wish, config.limiter.stiffness_min[i])
        chain.goal_stiffness[i] = max(least, wish * (1.0 - share * (1.0 - reflex.soft_stiffness_share)))
    wish = chain.proposed_damping_ratio
    chain.goal_damping_ratio = wish + share * max(0.0, reflex.soft_damping_ratio - wish)
