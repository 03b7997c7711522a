"""The modern Gazebo (gz-sim): what is expected of a machine that shall drive it, and that nothing here does yet."""

from __future__ import annotations

import shutil
from typing import NoReturn

from data.errors import UserError

_INSTEAD = "use robot=gazebo (Gazebo Classic) or robot=mujoco; see docs/gazebo.md"


def refuse_gz() -> NoReturn:
    """Raises UserError that says what is missing for robot=gz on this machine, and what to use instead."""
    if shutil.which("gz") is None:
        raise UserError(
            "robot=gz needs the modern Gazebo, and there is no program `gz` here: it comes with the ROS distribution, "
            f"apt-get install ros-<distribution>-ros-gz; this version has no plugin for it yet, so {_INSTEAD}"
        )
    raise UserError(f"robot=gz: the modern Gazebo is here, but this version has no plugin for it yet, so {_INSTEAD}")
