"""The robot's error flags, modes and libfranka's exceptions in plain words, each with its cure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_NETWORK = "direct cable, no switch, no Wi-Fi; look at the CPU load and `robot-rl doctor` (real time)"
_SLOWER = "lower the speed and acceleration limits of the reference limiter"
_SOFTER = "see what the arm touched; if the contact was meant, raise the stop thresholds within their bounds"
_OTHER_INTERFACE = "no motion generator of the robot is used here: another program commands it, end that one"
_DESK = "open Desk in a browser, see what it says, and call Franka's support if it stays"

FLAGS: dict[str, tuple[str, str]] = {
    "joint_position_limits_violation": ("a joint is beyond its limit", "move it back by hand in Desk's guiding mode"),
    "cartesian_position_limits_violation": ("the arm left its workspace", "move it back in Desk's guiding mode"),
    "self_collision_avoidance_violation": ("the arm came too close to itself", "move it apart in Desk's guiding mode"),
    "joint_velocity_violation": ("a joint was faster than allowed where it stands", _SLOWER),
    "cartesian_velocity_violation": ("the tool was faster than allowed", _SLOWER),
    "force_control_safety_violation": ("the force controller left its limits", _OTHER_INTERFACE),
    "joint_reflex": ("an external torque on a joint exceeded its stop threshold", _SOFTER),
    "cartesian_reflex": ("an external force on the tool exceeded its stop threshold", _SOFTER),
    "max_goal_pose_deviation_violation": ("the arm is far from its internal goal", _OTHER_INTERFACE),
    "max_path_pose_deviation_violation": ("the arm is far from its internal path", _OTHER_INTERFACE),
    "cartesian_velocity_profile_safety_violation": ("the velocity profile is not allowed", _OTHER_INTERFACE),
    "joint_position_motion_generator_start_pose_invalid": ("a joint motion began elsewhere", _OTHER_INTERFACE),
    "joint_motion_generator_position_limits_violation": ("a commanded joint is beyond its limit", _OTHER_INTERFACE),
    "joint_motion_generator_velocity_limits_violation": ("a commanded joint speed is too high", _OTHER_INTERFACE),
    "joint_motion_generator_velocity_discontinuity": ("a commanded joint speed jumped", _OTHER_INTERFACE),
    "joint_motion_generator_acceleration_discontinuity": ("a commanded joint acceleration jumped", _OTHER_INTERFACE),
    "cartesian_position_motion_generator_start_pose_invalid": ("a Cartesian motion began elsewhere", _OTHER_INTERFACE),
    "cartesian_motion_generator_elbow_limit_violation": ("the commanded elbow is beyond its limit", _OTHER_INTERFACE),
    "cartesian_motion_generator_velocity_limits_violation": ("a commanded tool speed is too high", _OTHER_INTERFACE),
    "cartesian_motion_generator_velocity_discontinuity": ("a commanded tool speed jumped", _OTHER_INTERFACE),
    "cartesian_motion_generator_acceleration_discontinuity": ("a commanded acceleration jumped", _OTHER_INTERFACE),
    "cartesian_motion_generator_elbow_sign_inconsistent": ("the commanded elbow changed its side", _OTHER_INTERFACE),
    "cartesian_motion_generator_start_elbow_invalid": ("a Cartesian motion began with another elbow", _OTHER_INTERFACE),
    "cartesian_motion_generator_joint_position_limits_violation": ("a motion leads beyond a joint", _OTHER_INTERFACE),
    "cartesian_motion_generator_joint_velocity_limits_violation": (
        "a motion is too fast for a joint",
        _OTHER_INTERFACE,
    ),
    "cartesian_motion_generator_joint_velocity_discontinuity": ("a motion makes a joint speed jump", _OTHER_INTERFACE),
    "cartesian_motion_generator_joint_acceleration_discontinuity": ("a motion makes a joint jerk", _OTHER_INTERFACE),
    "cartesian_position_motion_generator_invalid_frame": ("a commanded pose is no rotation", _OTHER_INTERFACE),
    "force_controller_desired_force_tolerance_violation": ("a desired force is too large", _OTHER_INTERFACE),
    "controller_torque_discontinuity": (
        "the commanded torque jumped by more than 1 Nm in 1 ms",
        f"packets were lost, or TorqueLimitConfig allows more than 1000 Nm/s: {_NETWORK}",
    ),
    "start_elbow_sign_inconsistent": ("the elbow stands on the other side", _OTHER_INTERFACE),
    "communication_constraints_violation": ("20 commands in a row came too late", _NETWORK),
    "power_limit_violation": ("the arm needed more power than allowed", _SLOWER),
    "joint_p2p_insufficient_torque_for_planning": ("the load is too heavy for the motion", "check the tool's mass"),
    "tau_j_range_violation": ("a joint torque sensor left its range", f"take the load off the arm; {_DESK}"),
    "instability_detected": ("the arm oscillates", "check the tool's mass; lower stiffness, or raise damping"),
    "joint_move_in_wrong_direction": (
        "a joint beyond its limit was driven further",
        "move it back in Desk's guiding mode",
    ),
    "cartesian_spline_motion_generator_violation": ("a spline motion is not possible", _OTHER_INTERFACE),
    "joint_via_motion_generator_planning_joint_limit_violation": (
        "a via motion leads beyond a joint",
        _OTHER_INTERFACE,
    ),
    "base_acceleration_initialization_timeout": ("the base's acceleration sensor did not start", _DESK),
    "base_acceleration_invalid_reading": ("the base's acceleration sensor reads nonsense", _DESK),
}
"""Flag of libfranka's Errors -> what happened, what to do."""

MODES: dict[str, str] = {
    "Other": "is not ready (brakes closed, or Desk has control): unlock the joints and activate FCI in Desk",
    "Move": "is moving already: another program commands it; end that one",
    "Guiding": "is being guided by hand: let go of the guiding buttons",
    "Reflex": "has stopped itself",
    "UserStopped": "has its user stop pressed: release it (the lights turn from white to blue or green)",
    "AutomaticErrorRecovery": "is recovering from an error: wait a moment, then start again",
}
"""Name of a RobotMode in which torque control cannot begin -> what the robot does, and what to do."""

_EXCEPTIONS: tuple[tuple[str, str], ...] = (
    (
        r"incompatible|library version",
        "its system version does not fit the version of pylibfranka here: update one of the two",
    ),
    (r"refused.*FCI|FCI.*refused|enable FCI", "it refuses: activate FCI in Desk, and take control there"),
    (r"user.?stop", MODES["UserStopped"]),
    (r"safety function", "a safety function is active: clear it in Desk (Watchman)"),
    (r"not possible in the current mode", "it is in another mode: unlock the joints and activate FCI in Desk"),
    (r"preempted|already|another control|other control", "another program has it: end that one"),
    (
        r"realtime|real-time|scheduling",
        "the kernel gives no real time: install PREEMPT_RT, or robot_config.realtime=ignore",
    ),
    (
        r"TCP|connection got interrupted|server closed|reset by peer",
        f"the connection broke: power and cable; {_NETWORK}",
    ),
    (r"UDP|timeout|timed out", f"it sends nothing any more: power and cable; {_NETWORK}"),
    (r"connect", "no connection: check address, cable and FCI in Desk"),
)
"""Pattern of an exception's text -> what it means and what to do; the first that fits counts."""


def raised_flags(errors: Any) -> list[str]:
    """Returns the names of the flags that are set in libfranka's Errors."""
    return [name for name in FLAGS if getattr(errors, name, False)]


def explain_flags(names: Iterable[str]) -> str:
    """Returns one line for some flags; an unknown one stands for itself."""
    parts = []
    for name in names:
        words, cure = FLAGS.get(name, ("unknown to this version", _DESK))
        parts.append(f"{words} ({name}): {cure}")
    return "; ".join(parts)


def explain_exception(text: str) -> str:
    """Returns one line for the text of an exception of libfranka: its flags in words, else what its text is about."""
    named = [name for name in re.findall(r"[a-z_]{8,}", text) if name in FLAGS]
    if named:
        return explain_flags(dict.fromkeys(named))
    first_line = " ".join(text.replace("libfranka:", "").split())
    for pattern, words in _EXCEPTIONS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"{words} ({first_line})"
    return f"{first_line}: {_DESK}"
