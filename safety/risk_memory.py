"""What the safety critic leaves for the reflex arbiter in each tick."""

from __future__ import annotations

import numpy as np

RISK = np.dtype(
    [
        ("version", "i8"),  # of the weights in use; 0 while there are none
        ("value", "f8"),  # newest risk in [0, 1]; NaN while there are no weights
        ("fresh", "i8"),  # 1 if the value was computed in this tick
        ("has_recovery", "i8"),  # 1 if the weights hold a learned recovery policy
        ("recovery_offset_base_m", "f8", 3),  # where it wants the reference, from the measured position
        ("recovery_stiffness", "f8", 6),
    ],
    align=True,
)
