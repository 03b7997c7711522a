"""A taught task for tests: press a plate with a few newtons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from robot_rl.tasks.taught_config import TaughtConfig
from robot_rl.tasks.taught_parts import (
    StartBox,
    SuccessRule,
    TaughtAction,
    TaughtLimits,
    TaughtPlate,
    TaughtPose,
    Workspace,
)

DOWN = (1.0, 0.0, 0.0, 0.0)
TOUCH = TaughtConfig(
    name="touch",
    text="press the plate with 2 to 6 N",
    goal=TaughtPose((0.45, 0.0, 0.1), DOWN),
    starts=StartBox((-0.03, -0.03, -0.06), (0.03, 0.03, -0.03), (-0.1, -0.1, -0.2), (0.1, 0.1, 0.2)),
    workspace=Workspace((0.38, -0.07, 0.07), (0.52, 0.07, 0.2)),
    success=SuccessRule(0.004, 0.15, (2.0, 6.0), decisions=3),
    action=TaughtAction(translation_m=(0.005, 0.005, 0.008)),
    limits=TaughtLimits(max_speed_m_s=0.13),
    plate=TaughtPlate(TaughtPose((0.45, 0.0, 0.1), (0.0, 0.0, 0.0, 1.0))),
)


def touch(**changes: Any) -> TaughtConfig:
    """The task with some entries changed."""
    return replace(TOUCH, **changes)
