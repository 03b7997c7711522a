"""The environment on a bench: no simulator to ask, everything goes through the link."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from controllers.types import REPORT, Command, TickReport
from data.errors import UserError
from robot_rl.envs.robot_env import RobotEnv
from robot_rl.tasks.peg_insertion import PegInsertion

BIAS_N = 3.0


class BenchLinkWithoutTare:
    """An arm in free space that stands where it was last sent to, with a wrist sensor that is off by 3 N."""

    def __init__(self) -> None:
        self._report = np.zeros(1, REPORT)
        self._report["position_base_m"] = [0.45, 0.0, 0.3]
        self._report["quaternion_base_xyzw"] = [1.0, 0.0, 0.0, 0.0]
        self._report["wrench_tool"][0, 2] = BIAS_N
        self._report["gripper_m"] = np.nan

    def reset(self) -> None:
        self._report["sequence"] = -1

    def grant(self) -> float:
        return 0.0  # no tank here

    def send(self, command: Command) -> None:
        for name in ("position_base_m", "quaternion_base_xyzw"):
            self._report[name] = self._report[f"executed_{name}"] = getattr(command, name)
        self._report["executed_stiffness"] = command.stiffness

    def step(self, duration_s: float, interruptible: bool = False) -> NDArray[np.void]:
        self._report["stamp_ns"] += round(duration_s * 1e9)
        return np.repeat(self._report, round(duration_s * 1000))

    def latest(self) -> TickReport:
        return TickReport.from_record(self._report[0])

    def now_ns(self) -> int:
        return int(self._report["stamp_ns"][0])

    def close(self) -> None:
        return


class BenchLink(BenchLinkWithoutTare):
    """The same with a sensor that can be tared; notes where that was done."""

    def __init__(self) -> None:
        super().__init__()
        self.tared_at_m: list[NDArray[np.float64]] = []

    def tare(self) -> None:
        self.tared_at_m.append(self._report["position_base_m"][0].copy())
        self._report["wrench_tool"] = 0.0


def test_every_reset_on_a_bench_tares_through_the_link_at_the_start_of_the_episode() -> None:
    link = BenchLink()
    env = RobotEnv(PegInsertion(), link)
    starts = []
    for seed in range(3):
        env.reset(seed=seed)
        starts.append(env.draw.T_base_start.position_m)
        *_, info = env.step(np.zeros(env.task.action.size, np.float32))
        assert info["force_n"] == 0.0
    np.testing.assert_allclose(link.tared_at_m, starts, atol=1e-9)


def test_a_link_that_cannot_tare_is_refused() -> None:
    with pytest.raises(UserError, match="expected a link with a `tare` for the wrist sensor, got BenchLinkWithoutTare"):
        RobotEnv(PegInsertion(), BenchLinkWithoutTare())
