"""Hand guiding step by step over a motor link, and what is read from an arm that a hand leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from controllers.guiding import GUIDE_PERIOD_S, guide_command
from controllers.link import MotorLink
from robot_rl.envs.sensing import measured_pose
from robot_rl.teaching.hand import PUSH_S, SimulatedHand
from safety.reasons import Reason
from safety.supervision import reason_name

Array = NDArray[np.float64]

REST_S = 0.5
"""A pose is the mean over this time [s]."""
STILL_M_S, STILL_RAD_S = 0.01, 0.05
"""Faster than this is no rest [m/s], [rad/s]."""
PRESSED_N = 10.0
"""The tool is pressed against something above this force [N]: what gives way under it is no good place."""


class ArmStoppedError(Exception):
    """The chain has latched: a person must look."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason_name(reason))
        self.reason = reason


class RestlessError(Exception):
    """The arm moved or was pressed while it should rest; the text says which, and the cure."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One step of guiding."""

    T_base_tool: Pose
    force_n: float
    """Mean of the step."""
    speed_m_s: float
    turn_rad_s: float
    held_by: str
    """Why the arm is held at this moment, in words; empty while it can be led."""


@dataclass(frozen=True, eq=False)
class Rest:
    """Mean of REST_S at rest."""

    T_base_tool: Pose
    force_n: float
    spread_m: float
    """Largest distance of a reading from the mean."""


class Guide:
    """Lets a hand lead the arm: each tick puts the reference at the measured pose. One thread may use it."""

    def __init__(self, link: MotorLink, hand: SimulatedHand | None = None) -> None:
        """hand: pushes at the simulated arm in place of a person's hand; its link must have `push`."""
        self.link, self.hand = link, hand
        self.here = self._latest().T_base_tool

    def _latest(self) -> Reading:
        report = self.link.latest()
        pose = Pose(report.position_base_m, report.quaternion_base_xyzw)
        return Reading(pose, float(np.linalg.norm(report.wrench_tool[:3])), 0.0, 0.0, "")

    def tick(self) -> Reading:
        """Guides for GUIDE_PERIOD_S. Raises ArmStoppedError once the chain has latched."""
        if self.hand is not None:
            pushing: Any = self.link
            pushing.push(self.hand.wrench(self.here, self.link.latest().twist_base), PUSH_S)
        self.link.send(guide_command(self.here))
        reports = self.link.step(GUIDE_PERIOD_S)
        newest = reports[-1]
        if newest["latched"]:
            raise ArmStoppedError(int(newest["latched"]))
        self.here = measured_pose(newest)
        reason = int(newest["reason"])
        return Reading(
            self.here,
            float(np.linalg.norm(reports["wrench_tool"][:, :3].mean(axis=0))),
            float(np.linalg.norm(newest["twist_base"][:3])),
            float(np.linalg.norm(newest["twist_base"][3:])),
            reason_name(reason) if reason >= Reason.HOLD else "",
        )

    def rest(self, pressing: bool = False) -> Rest:
        """Returns the mean pose and force over REST_S.

        pressing: the tool shall press, so any force is right. Raises RestlessError if the arm moves, or is pressed.
        """
        readings = [self.tick() for _ in range(round(REST_S / GUIDE_PERIOD_S))]
        speed_m_s = max(reading.speed_m_s for reading in readings)
        turn_rad_s = max(reading.turn_rad_s for reading in readings)
        force_n = float(np.mean([reading.force_n for reading in readings]))
        if speed_m_s > STILL_M_S or turn_rad_s > STILL_RAD_S:
            raise RestlessError(
                f"the arm moves ({1e3 * speed_m_s:.0f} mm/s): let it rest for a second, then press Enter"
            )
        if force_n > PRESSED_N and not pressing:
            raise RestlessError(f"the tool is pressed ({force_n:.0f} N): lead it back a little, then press Enter")
        mean = mean_pose([reading.T_base_tool for reading in readings])
        spread_m = max(mean.distance(reading.T_base_tool)[0] for reading in readings)
        return Rest(mean, force_n, spread_m)

    def start_over(self) -> None:
        """Starts the chain over after a stop. Raises ResetRefused while a person has to reset the arm first."""
        self.link.reset()
        if self.hand is not None:
            self.hand.let_go()
        self.here = self._latest().T_base_tool


def mean_pose(poses: list[Pose]) -> Pose:
    """Returns the mean position and the mean turn of poses that lie near each other."""
    first = poses[0].quaternion_xyzw
    quaternions = [q if float(q @ first) >= 0.0 else -q for q in (pose.quaternion_xyzw for pose in poses)]
    quaternion = np.mean(quaternions, axis=0)
    return Pose(np.mean([pose.position_m for pose in poses], axis=0), quaternion / np.linalg.norm(quaternion))
