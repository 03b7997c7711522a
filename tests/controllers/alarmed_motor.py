"""Builder of a motor process whose critic is alarmed now and then; the processes of tests import it by name."""

from __future__ import annotations

from typing import Any

from controllers.motor_config import MotorParts
from tests.controllers.motor_fakes import HOME_RAD, FakeRobot
from tests.controllers.risk_tools import tell


class AlarmedRobot(FakeRobot):
    """A wrist sensor with noise, and a risk that is high for the first `alarm` of every `period` ticks."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.chain: Any = None
        self._reads, self._period, self._alarm = 0, options["period"], options["alarm"]

    def read(self, state: Any) -> None:
        super().read(state)
        self._reads += 1
        state["wrench_tool"][:, 5] = 1e-6 * (self._reads % 2)
        if self._reads % self._period in (0, self._alarm):
            tell(self.chain, 0.9 if self._reads % self._period == 0 else 0.0)


def alarmed(options: dict[str, Any]) -> MotorParts:
    """options: in every `period` ticks the risk is high for the first `alarm` ones."""
    from controllers.arm_model import ArmModel, ModelTerms
    from controllers.chain import Chain, ChainConfig
    from controllers.description.fr3 import fr3
    from controllers.description.tool import square_peg_tool

    robot = AlarmedRobot(options)
    robot.chain = Chain(ChainConfig(), fr3())
    return MotorParts(robot, ArmModel(fr3(), square_peg_tool()), ModelTerms(), robot.chain, HOME_RAD)
