"""Hand guiding: the reference follows the measured pose with a weak spring, so that a hand leads the arm.

The hand feels the damping; let go, the arm stands, since the spring pulls nowhere. Every limit of the tick holds.
"""

from __future__ import annotations

import numpy as np

from controllers.description.geometry import Pose
from controllers.types import Command, Source

GUIDE_STIFFNESS = (20.0, 20.0, 20.0, 1.0, 1.0, 1.0)
"""Of the spring between hand-led tool and reference [N/m x3, Nm/rad x3]: enough for damping, too little to hold."""
GUIDE_DAMPING_RATIO = 1.2
"""Damping ratio of that spring."""
GUIDE_PERIOD_S = 0.02
"""Time between two commands that put the reference at the measured pose [s]."""
GUIDE_COMMAND_S = 0.1
"""How long each of them means to hold [s]: a guide that stops sending leaves an arm that goes to a soft hold."""


def guide_command(T_base_tool: Pose) -> Command:
    """Returns the command that lets a hand lead the arm on from its measured pose."""
    return Command(
        T_base_tool.position_m,
        T_base_tool.quaternion_xyzw,
        np.array(GUIDE_STIFFNESS),
        damping_ratio=GUIDE_DAMPING_RATIO,
        duration_s=GUIDE_COMMAND_S,
        source=Source.HUMAN,
    )
