"""The tool of a taught task: one that is known by name, or a plain one of given mass and control point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.description.geometry import Cylinder, Pose, Sphere
from controllers.description.tool import ToolDescription, parallel_gripper_tool, round_finger_tool, square_peg_tool
from data.errors import UserError
from robot_rl.options import expected_names

Vector = tuple[float, float, float]

TOOLS = ("square_peg", "round_finger", "parallel_gripper", "plain")
_PLAIN_RADIUS_M, _TIP_RADIUS_M = 0.03, 0.008


@dataclass(frozen=True)
class TaughtTool:
    """What is bolted to the flange: one that is known by name, or a plain one of given mass and control point."""

    kind: str = "square_peg"
    """square_peg, round_finger, parallel_gripper or plain."""
    mass_kg: float | None = None
    """Of a plain tool [kg], > 0."""
    com_flange_m: Vector | None = None
    """Centre of mass of a plain tool, flange frame [m]."""
    control_point_flange_m: Vector | None = None
    """Tip of a plain tool, flange frame [m]; its axes are the flange's, z away from the arm."""

    def __post_init__(self) -> None:
        if self.kind not in TOOLS:
            raise UserError(f"tool {self.kind} is unknown; {expected_names(self.kind, TOOLS)}")
        given = [
            name for name in ("mass_kg", "com_flange_m", "control_point_flange_m") if getattr(self, name) is not None
        ]
        if self.kind != "plain" and given:
            raise UserError(
                f"tool {self.kind} brings its own figures, got {given[0]} as well: leave it out, or say plain"
            )
        if self.kind == "plain" and len(given) < 3:
            raise UserError("a plain tool needs mass_kg, com_flange_m and control_point_flange_m")
        self.description()

    def description(self) -> ToolDescription:
        """Returns the tool as controller and simulator need it."""
        if self.kind == "square_peg":
            return square_peg_tool()
        if self.kind == "round_finger":
            return round_finger_tool()
        if self.kind == "parallel_gripper":
            return parallel_gripper_tool()
        return _plain_tool(
            self.mass_kg or 0.0, self.com_flange_m or (0.0,) * 3, self.control_point_flange_m or (0.0,) * 3
        )


def _plain_tool(mass_kg: float, com_flange_m: Vector, tip_flange_m: Vector) -> ToolDescription:
    """A tool with the inertia of a solid cylinder of 3 cm radius, as long as it reaches; simulated as a ball."""
    tip = np.array(tip_flange_m)
    length_m = max(float(np.linalg.norm(tip)), 0.02)
    across, along = (3.0 * _PLAIN_RADIUS_M**2 + length_m**2) / 12.0, 0.5 * _PLAIN_RADIUS_M**2
    middle = Pose(np.array([tip[0], tip[1], 0.5 * tip[2]]))
    rod = Cylinder(pose=middle, radius_m=_TIP_RADIUS_M, length_m=max(abs(tip[2]), 0.001), collides=False)
    ball = Sphere(pose=Pose(tip - np.array([0.0, 0.0, _TIP_RADIUS_M])), radius_m=_TIP_RADIUS_M)
    try:
        return ToolDescription(
            name="plain",
            mass_kg=mass_kg,
            com_flange_m=np.array(com_flange_m),
            inertia_flange_kg_m2=mass_kg * np.diag([across, across, along]),
            T_flange_tool=Pose(tip),
            geoms=(rod, ball),
        )
    except ValueError as error:
        raise UserError(f"tool: {error}") from error
