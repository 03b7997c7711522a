"""The goal of the tick: the newest accepted command inside box and cone; how it ages, is held and is seeded."""

from __future__ import annotations

import math

from controllers.intake import CLOCK_TOLERANCE_NS, examine
from controllers.types import JOINTS
from safety import so3
from safety.compilation import Floats, Record, kernel
from safety.reasons import Reason, Refusal
from safety.reference_limiter import clip_scalar, clip_to_cone
from safety.reflex import Mode, arm_taken

_NONE, _BOX, _CONE = int(Reason.NONE), int(Reason.BOX), int(Reason.CONE)
_UNSEEDED, _REFUSED, _STALE = int(Reason.UNSEEDED), int(Reason.REFUSED), int(Reason.STALE)
_HOLD, _LATCHED, _REFUSED_HELD = int(Reason.HOLD), int(Reason.LATCHED), int(Refusal.HELD)
_ACCEPTED, _REFUSED_LATCHED = int(Refusal.ACCEPTED), int(Refusal.LATCHED)
_REFUSED_REFLEX, _REFUSED_SEQUENCE = int(Refusal.REFLEX), int(Refusal.SEQUENCE)
_REFLEX = int(Mode.REFLEX)


@kernel
def seed_chain(
    position: Floats, quaternion: so3.Quaternion, tau_applied: Floats, now_ns: int, config: Record, chain: Record
) -> None:
    """Puts reference and goal at the measured pose, at rest, in a soft hold; ends a latch.

    The tick counter, the count of refusals and the newest sequence stay. The first torque departs from the applied
    one.
    """
    for i in range(3):
        chain.goal_position[i] = chain.proposed_position[i] = chain.reference_position[i] = position[i]
        chain.reference_velocity[i] = chain.reference_spin[i] = 0.0
    for i in range(4):
        chain.goal_quaternion[i] = chain.proposed_quaternion[i] = chain.reference_quaternion[i] = quaternion[i]
    for i in range(6):
        hold = config.limiter.hold_stiffness[i]
        chain.proposed_stiffness[i] = chain.goal_stiffness[i] = chain.stiffness[i] = hold
        chain.proposed_wrench[i] = chain.goal_wrench[i] = chain.wrench[i] = 0.0
    ratio = config.limiter.hold_damping_ratio
    chain.proposed_damping_ratio = chain.goal_damping_ratio = chain.damping_ratio = ratio
    for i in range(JOINTS):  # a NaN here would slip through every later comparison of the rate limit
        if math.isfinite(tau_applied[i]):
            chain.tau_previous[i] = clip_scalar(tau_applied[i], config.torque.max_torque_nm[i])
    chain.commanded = chain.latched = chain.held = chain.newest_refused = chain.goal_reason = 0
    chain.goal_stamp_ns = now_ns
    chain.proposed_gripper_m = chain.goal_gripper_m = math.nan
    chain.proposed_duration_s = 0.0


@kernel
def take_command(
    command: Record, now_ns: int, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record
) -> None:
    """Looks at the newest command once; an accepted one becomes the goal, moved into box and cone."""
    followed = chain.commanded != 0 and command.sequence == chain.goal_sequence
    if followed and same_command(command, chain):
        renew_goal(command, now_ns, config, chain)
    elif followed and command.stamp_ns != chain.seen_stamp_ns:  # another command under a used number
        refuse(_REFUSED_SEQUENCE, chain)
    chain.seen_stamp_ns = command.stamp_ns
    if followed or command.sequence == chain.seen_sequence or command.sequence < 0:
        return
    chain.seen_sequence = command.sequence
    verdict = _REFUSED_LATCHED
    if chain.latched == 0 and chain.asked_hold != 0:
        verdict = _REFUSED_HELD
    elif chain.latched == 0:
        verdict = examine(command, chain.last_sequence, now_ns, position, quaternion, config.limiter)
    if verdict == _ACCEPTED and arm_taken(chain.reflex.mode):
        verdict = _REFUSED_REFLEX
    if verdict != _REFUSED_SEQUENCE:  # a number out of all proportion must not shut out the good ones that follow
        chain.last_sequence = max(chain.last_sequence, command.sequence)
    if verdict != _ACCEPTED:
        refuse(verdict, chain)
        return
    chain.newest_refused = chain.held = chain.goal_reason = chain.reflex.dropped = 0
    chain.commanded = 1
    chain.goal_stamp_ns, chain.goal_sequence, chain.goal_source = command.stamp_ns, command.sequence, command.source
    chain.proposed_damping_ratio = chain.goal_damping_ratio = command.damping_ratio
    chain.proposed_gripper_m, chain.proposed_duration_s = command.gripper_m, command.duration_s
    chain.accepted_tick, chain.accepted_ns, chain.former_gripper_m = chain.tick, command.stamp_ns, chain.goal_gripper_m
    chain.goal_gripper_m = bounded_opening(command.gripper_m, config.gripper_range_m)
    for i in range(6):
        chain.proposed_stiffness[i] = chain.goal_stiffness[i] = command.stiffness[i]
        chain.proposed_wrench[i] = chain.goal_wrench[i] = command.feedforward_wrench_base[i]
    bound_goal(command, config.limiter, chain)


@kernel
def refuse(verdict: int, chain: Record) -> None:
    """Counts a command that was turned down."""
    chain.refused += 1
    chain.refusals[verdict] += 1
    chain.newest_refused = 1


@kernel
def same_command(command: Record, chain: Record) -> bool:
    """Whether a COMMAND record says to the last bit what the followed command said, its stamp and source aside."""
    same = command.damping_ratio == chain.proposed_damping_ratio and command.duration_s == chain.proposed_duration_s
    wish_m, former_m = command.gripper_m, chain.proposed_gripper_m
    same = same and (wish_m == former_m or (math.isnan(wish_m) and math.isnan(former_m)))
    for i in range(3):
        same = same and command.position_base_m[i] == chain.proposed_position[i]
    for i in range(4):
        same = same and command.quaternion_base_xyzw[i] == chain.proposed_quaternion[i]
    for i in range(6):
        same = same and command.stiffness[i] == chain.proposed_stiffness[i]
        same = same and command.feedforward_wrench_base[i] == chain.proposed_wrench[i]
    return bool(same)


@kernel
def bounded_opening(wish_m: float, range_m: Floats) -> float:
    """Returns the wished opening within the tool's range (2,) [m]; NaN, leave it alone, without a wish or a gripper."""
    if math.isnan(wish_m) or math.isnan(range_m[0]):
        return math.nan
    return float(min(range_m[1], max(range_m[0], wish_m)))


@kernel
def renew_goal(command: Record, now_ns: int, config: Record, chain: Record) -> None:
    """The followed command with a newer stamp: its sender still means it, so its age starts again.

    Nothing but the stamp is taken, none from the future, and none later than the command's declared duration. A goal
    that is held, latched, or so old that it was frozen stays so, and one that was dropped stays dropped: only another
    command moves the arm again.
    """
    fresh = now_ns - chain.goal_stamp_ns <= config.limiter.age_limit_s * 1e9
    newer = chain.goal_stamp_ns < command.stamp_ns <= now_ns + CLOCK_TOLERANCE_NS
    meant = command.stamp_ns - chain.accepted_ns <= chain.proposed_duration_s * 1e9
    if fresh and newer and meant and chain.held == 0 and chain.latched == 0 and chain.reflex.dropped == 0:
        chain.goal_stamp_ns = command.stamp_ns


@kernel
def bound_goal(command: Record, limiter: Record, chain: Record) -> None:
    """Puts the goal at the command's pose moved into the box and the cone; goal_reason says which of them bit."""
    for i in range(3):
        wish = command.position_base_m[i]
        chain.proposed_position[i] = wish
        chain.goal_position[i] = min(limiter.box_max_base_m[i], max(limiter.box_min_base_m[i], wish))
        if chain.goal_position[i] != wish:
            chain.goal_reason = _BOX
    q = command.quaternion_base_xyzw
    goal, clipped = clip_to_cone(
        so3.normalise((q[0], q[1], q[2], q[3])), limiter.cone_axis_base, limiter.cone_angle_rad
    )
    if clipped:
        chain.goal_reason = _CONE
    for i in range(4):
        chain.proposed_quaternion[i] = q[i]
        chain.goal_quaternion[i] = goal[i]


@kernel
def age_goal(now_ns: int, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> int:
    """Freezes, holds or latches as the last good command ages. Returns the reason, NONE while it is fresh."""
    limiter = config.limiter
    if chain.latched != 0:
        if chain.held == 0:  # the state is finite again after it was not: hold where the arm is now
            enter_hold(position, quaternion, config, chain)
        return int(chain.latched)
    if chain.asked_hold != 0:
        return hold_as_asked(now_ns, position, quaternion, config, chain)
    if chain.commanded == 0:
        return _UNSEEDED
    age_s = (now_ns - chain.goal_stamp_ns) * 1e-9
    if age_s <= limiter.age_limit_s:
        return _REFUSED if chain.newest_refused != 0 else _NONE
    if age_s <= limiter.stop_s:
        if chain.held == 0 and chain.reflex.mode != _REFLEX:  # else the goal is the hold's, or the recovery's
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
def hold_as_asked(now_ns: int, position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> int:
    """The supervisor wants a hold: entered at once; the command ages on until it latches. Returns the reason."""
    if chain.held == 0:
        enter_hold(position, quaternion, config, chain)
    if chain.commanded != 0 and (now_ns - chain.goal_stamp_ns) * 1e-9 > config.limiter.latch_s:
        chain.latched = _LATCHED
        return _LATCHED
    return int(chain.asked_hold)


@kernel
def enter_hold(position: Floats, quaternion: so3.Quaternion, config: Record, chain: Record) -> None:
    """Drops the spring: goal and reference become the measured pose at once, soft, well damped, no feed-forward.

    The energy that the spring had stored is thereby let go of, not pushed into the arm: its force falls to zero at the
    torque rate limit. The stiffness against later deflections then goes to the hold's within hold_ramp_s.
    """
    if chain.held == 0:  # near a joint limit the hold is entered anew at every tick, its ramp goes on
        for i in range(6):
            change = abs(config.limiter.hold_stiffness[i] - chain.stiffness[i])
            chain.hold_rate_per_s[i] = change / config.limiter.hold_ramp_s
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
