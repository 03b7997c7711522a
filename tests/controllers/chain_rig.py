"""A chain whose arm stands wherever a test puts it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from controllers.arm_model import ArmModel, ModelTerms
from controllers.chain import Chain, ChainConfig
from controllers.description import fr3, square_peg_tool
from controllers.types import COMMAND, REPORT, STATE
from safety.reference_limiter import ReferenceLimiterConfig

ARM = fr3()
MODEL = ArmModel(ARM, square_peg_tool())
STEP_NM = 0.5
"""Largest change of a torque in one tick."""
WIDE = ChainConfig(limiter=ReferenceLimiterConfig(box_min_base_m=(-2.0,) * 3, box_max_base_m=(2.0,) * 3))


class Rig:
    """A chain whose arm stands wherever the test puts it."""

    def __init__(self, config: ChainConfig = WIDE, gripper_range_m: tuple[float, float] | None = None) -> None:
        self.chain = Chain(config, ARM, gripper_range_m)
        self.state, self.command, self.report = np.zeros(1, STATE), np.zeros(1, COMMAND), np.zeros(1, REPORT)
        self.terms = ModelTerms()
        self.state["q_rad"] = ARM.home_rad
        self.command["sequence"] = -1
        self.measure()
        self.chain.reseed(self.state, self.terms)
        self.command["damping_ratio"], self.command["duration_s"], self.command["gripper_m"] = 0.9, 0.1, np.nan
        self.command["stiffness"] = [400.0] * 3 + [30.0] * 3
        self.aim()

    def measure(self) -> None:
        MODEL.terms(self.state["q_rad"][0], self.state["qd_rad_s"][0], self.terms)

    def carry(self, q_rad: Any) -> None:
        """Puts the joints (7,) elsewhere [rad], as if they had been there at the last tick: no reading that jumped."""
        self.state["q_rad"][0] = self.memory["ledger"]["q_previous_rad"][:] = q_rad

    def stand(self, joint: int, q_rad: float) -> None:
        """Does the same with a single joint."""
        self.state["q_rad"][0, joint] = self.memory["ledger"]["q_previous_rad"][joint] = q_rad

    def aim(self, offset_m: Any = (0.0, 0.0, 0.0), turn_rad: Any = (0.0, 0.0, 0.0)) -> None:
        self.command["position_base_m"] = self.terms.position_base_m + np.asarray(offset_m)
        rotation = Rotation.from_rotvec(turn_rad) * Rotation.from_matrix(self.terms.rotation_base)
        self.command["quaternion_base_xyzw"] = rotation.as_quat()

    def send(self, **fields: Any) -> None:
        self.command["sequence"] += 1
        self.command["stamp_ns"] = self.state["stamp_ns"]
        for name, value in fields.items():
            self.command[name] = value

    def tick(self, count: int = 1) -> Any:
        for _ in range(count):
            self.state["stamp_ns"] += 1_000_000
            self.state["wrench_tool"][0, 5] = -1e-9 - self.state["wrench_tool"][0, 5]  # a sensor always has noise
            self.measure()
            self.chain.tick(self.state, self.terms, self.command, self.report)
        return self.report[0]

    @property
    def memory(self) -> Any:
        return self.chain.record[0]
