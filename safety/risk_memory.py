"""What the safety critic sees, remembers from tick to tick, and leaves for the reflex arbiter in each tick."""

from __future__ import annotations

import numpy as np

_SIX = ("x", "y", "z", "rx", "ry", "rz")
FEATURE_NAMES = (
    *("fx", "fy", "fz", "mx", "my", "mz"),  # wrench, low-passed, over the violation limits
    *("dfx", "dfy", "dfz"),  # rate of the force below 10 Hz
    *("vx", "vy", "vz", "wx", "wy", "wz"),
    *(f"spring_{axis}" for axis in _SIX),  # reference minus measured pose over the leash
    *(f"stiffness_{axis}" for axis in _SIX),  # log scale
    *("damping_ratio", "tank", "granted"),
    *("force_now", "moment_now"),  # norms of the mean over three ticks: what a violation is judged by
    *(f"ahead_{axis}" for axis in _SIX),  # goal minus reference, as far as the reference gets within the look-ahead
    *(f"goal_stiffness_{axis}" for axis in _SIX),  # log scale
    *("depth", "reference_depth", "tilt_x", "tilt_y"),  # about the task's surface; 0 for a task that names none
)
"""State part, action part, and what a task may add: where the tool is. All but the depths in tool axes."""
FEATURES = len(FEATURE_NAMES)
BLIND_FEATURES = FEATURE_NAMES.index("depth")
"""How many of them, from the first on, a critic has that sees no position."""
ACTION_FEATURES = slice(BLIND_FEATURES - 12, BLIND_FEATURES)
"""The composite action that is being executed: where the goal is, and the stiffness on the way there."""
PLACE_FEATURES = slice(BLIND_FEATURES, FEATURES)
"""Depth of tool and limited reference behind the surface, and the surface's normal across the tool's own axis."""
WIDTH = 64
"""Units of each hidden layer."""

RISK = np.dtype(
    [
        ("version", "i8"),  # of the weights in use; 0 while there are none
        ("value", "f8"),  # newest risk in [0, 1]; NaN while there are no weights
        ("fresh", "i8"),  # 1 if the value was computed in this tick
        ("has_recovery", "i8"),  # 1 if the weights hold a learned recovery policy
        ("recovery_offset_base_m", "f8", 3),  # where it wants the reference, from the measured position
        ("recovery_stiffness", "f8", 6),
        ("outside", "i8"),  # 1 if the newest value is 1 because a feature left the training box
        ("primed", "i8"),  # 1 once the filters started from a measured wrench
        ("sequence", "i8"),  # of the command that was assessed last
        ("smooth_wrench", "f8", (6, 2)),  # states of the second-order low-pass per axis
        ("recent_wrench", "f8", (2, 6)),  # of the last tick and the one before
        ("slow_force", "f8", 3),  # state of the filter behind the force's rate
        ("axes", "f8", (3, 3)),  # rows: axes of the tool in the base frame
        ("features", "f4", FEATURES),
        ("standard", "f4", FEATURES),  # features, standardised
        ("hidden", "f4", (2, WIDTH)),
    ],
    align=True,
)
