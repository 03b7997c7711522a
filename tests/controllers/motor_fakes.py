"""A whole fake robot, and builders that the motor processes of the tests import by name."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.motor_config import MotorParts

Array = NDArray[Any]
HOME_RAD = np.array([0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.785])
INERTIA_KG_M2 = 1.0


class FakeRobot:
    """Seven independent joints with inertia; writes what was done to it to a JSON file when it is stopped."""

    rate_hz = 1000.0

    def __init__(self, options: dict[str, Any]) -> None:
        self._log = options.get("log")
        self._fail_at = options.get("fail_at", -1)
        self._freeze_at = options.get("freeze_at", -1)
        self._q, self._qd, self._tau = HOME_RAD.copy(), np.zeros(7), np.zeros(7)
        self._q[3] += options.get("offset_rad", 0.0)
        self._fixed = options.get("fixed", False)
        self._noisy = options.get("noisy", True)
        self._push_n, self._push_ticks = options.get("push_n", 0.0), options.get("push_ticks", [0, 0])
        self._started = False
        self._taus: list[list[float]] = []

    def start(self) -> None:
        self._started = True

    def read(self, state: Array) -> None:
        if not self._started:
            raise RuntimeError("read before start")
        if len(self._taus) == self._fail_at:
            raise RuntimeError("the arm's cable was pulled")
        if len(self._taus) == self._freeze_at:
            time.sleep(3600.0)
        state["q_rad"], state["qd_rad_s"], state["tau_applied_nm"] = self._q, self._qd, self._tau
        state["wrench_tool"], state["gripper_m"] = 0.0, np.nan
        if self._noisy:  # as every real force sensor
            state["wrench_tool"][0, 0] = 1e-6 * (len(self._taus) % 2)
        if self._push_ticks[0] <= len(self._taus) < self._push_ticks[1]:
            state["wrench_tool"][:, 2] = self._push_n

    def write(self, tau_nm: Array) -> None:
        self._tau[:] = tau_nm
        self._taus.append(tau_nm.tolist())
        if self._fixed:
            return
        self._qd += (tau_nm / INERTIA_KG_M2 - self._qd) / self.rate_hz
        self._q += self._qd / self.rate_hz

    def stop(self) -> None:
        if self._log is not None:
            record = {"taus": self._taus[-2000:], "modules": sorted(sys.modules)}
            Path(self._log).write_text(json.dumps(record))


class GrippingRobot(FakeRobot):
    """One whose gripper is where it was asked to be at once; its readings count how often it was asked."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._opening_m, self._asked = np.nan, 0

    def grip(self, opening_m: float) -> None:
        self._opening_m, self._asked = opening_m, self._asked + 1

    def read(self, state: Array) -> None:
        super().read(state)
        state["gripper_m"], state["wrench_tool"][:, 5] = self._opening_m, self._asked


class NoModel:
    def terms(self, q: Array, qd: Array, out: Any) -> None:
        return


class EchoChain:
    """Constant torque; reports the command's sequence, so that tests see which commands arrived."""

    gripper_range_m: tuple[float, float] | None = None

    following = holding = resetting = False

    def __init__(self, tau_nm: float) -> None:
        self._tau_nm, self._tick = tau_nm, 0
        self.latched = self.asked_hold = 0

    def reseed(self, state: Array, terms: Any) -> None:
        self._tick = self.latched = 0

    def carried(self) -> None:
        return

    def grant(self) -> float:
        return 0.0

    critic_version = 0

    def adopt_critic(self, weights: Array) -> int:
        self.critic_version = int(weights["version"])
        return 0

    def tick(self, state: Array, terms: Any, command: Array, report: Array) -> None:
        self._tick += 1
        report["tick"], report["stamp_ns"] = self._tick, state["stamp_ns"]
        report["sequence"], report["command_age_s"] = command["sequence"], 0.0
        report["latched"] = self.latched
        report["q_rad"], report["tau_executed_nm"] = state["q_rad"], self._tau_nm


def echo(options: dict[str, Any]) -> MotorParts:
    return MotorParts(FakeRobot(options), NoModel(), None, EchoChain(options.get("tau_nm", 2.0)), HOME_RAD)


def refusing(options: dict[str, Any]) -> MotorParts:
    raise ValueError(f"no arm at {options['address']}; switch it on")


def loading_torch(options: dict[str, Any]) -> MotorParts:
    import torch  # noqa: F401

    return echo(options)


def real_chain(options: dict[str, Any]) -> MotorParts:
    """The real tick and model around the fake robot; options: gripper_range_m of the tool, grips of the robot."""
    from controllers.arm_model import ArmModel, ModelTerms
    from controllers.chain import Chain, ChainConfig
    from controllers.description.fr3 import fr3
    from controllers.description.tool import square_peg_tool

    arm = fr3()
    robot = GrippingRobot(options) if options.get("grips") else FakeRobot(options)
    chain = Chain(ChainConfig(), arm, options.get("gripper_range_m"))
    return MotorParts(robot, ArmModel(arm, square_peg_tool()), ModelTerms(), chain, HOME_RAD)
