"""The FR3 behind the robot protocol, by pylibfranka: paced by the robot's packets, starts at zero torque.

The drives add gravity and friction themselves; the chain sends torque without gravity, as to the simulated arm. The
robot's frames EE and K are set to the tool's control point, so that its external wrench is about that point in tool
axes. It counts what the robot exerts on its surroundings as positive; STATE counts the opposite: wrench_tool = -K_F.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.arm import ArmDescription
from controllers.description.tool import ToolDescription
from controllers.robots.base import RobotFault
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_connection import connect, fault_of, franka_errors, prepare
from controllers.robots.franka_errors import explain_exception
from controllers.robots.franka_gripper import FrankaGripper
from controllers.robots.momentum_observer import MomentumObserver
from controllers.types import JOINTS

Array = NDArray[Any]

_PERIOD_S = 0.001
_SETTLED_PACKETS = 300
"""The robot's success rate is about its last 100 commands; so soon after the start it says nothing yet."""
_TARE_SHARE = 0.01
"""Of the running mean of the wrench that a tare takes as zero: about the last 0.1 s."""


class FrankaArm:
    """One FR3. Made connected and configured, so that a mistake is told before any loop runs."""

    rate_hz = 1.0 / _PERIOD_S
    paces = True

    def __init__(self, arm: ArmDescription, tool: ToolDescription, config: FrankaConfig) -> None:
        """Raises UserError in plain words if the robot is not there, refuses, or cannot take torques."""
        self.config, self.tool = config, tool
        self._franka, self._robot = connect(config)
        self._errors = franka_errors(self._franka)
        self.fault = fault_of(self._robot)
        if not self.fault:  # else once a person has let it recover: until then it takes no settings
            prepare(self._franka, self._robot, tool, config)
        self._gripper: FrankaGripper | None = None
        if config.gripper and tool.gripper_range_m is not None:
            limits = (config.gripper_speed_m_s, config.gripper_force_n, tool.gripper_range_m[0])
            self._gripper = FrankaGripper(config.ip, *limits)
            self.grip = self._gripper.grip  # a method only where there is a gripper, see CanGrip
        self._observer = MomentumObserver(arm, tool, self.rate_hz) if config.wrench == "observer" else None
        self._control: Any = None
        self._torques = self._franka.Torques([0.0] * JOINTS)
        self._bias, self._mean, self._wrench = np.zeros(6), np.zeros(6), np.zeros(6)
        self._seen: Array | None = None
        self.packet_ns = self.lost_packets = self.repeated_packets = self.broken_packets = self._packets = 0
        self.success_rate, self._rates = math.nan, 0.0
        self.complaint, self.must_stop = "", False

    # Robot protocol

    def start(self) -> None:
        """Begins torque control with zero torque. Raises RobotFault if the robot does not let us."""
        if self.fault:
            raise RobotFault(self.fault)
        try:
            self._control = self._robot.start_torque_control()
            self._control.readOnce()
            self._torques.tau_J = [0.0] * JOINTS
            self._control.writeOnce(self._torques)
        except self._errors as error:
            raise self._stopped(error) from error

    def read(self, state: Array) -> None:
        """Waits for the robot's next packet and fills a STATE array (1,). Raises RobotFault once there is none."""
        if self._control is None:
            raise RuntimeError("torque control has not begun: call start() first")
        try:
            robot_state, elapsed = self._control.readOnce()
        except self._errors as error:
            raise self._stopped(error) from error
        self.packet_ns = time.monotonic_ns()
        if state is not self._seen:
            self._look_at(state)
        q, qd, elapsed_s = robot_state.q, robot_state.dq, elapsed.to_sec()
        self._q[:], self._qd[:], self._tau[:] = q, qd, robot_state.tau_J_d
        self._sense(robot_state, math.isfinite(sum(q) + sum(qd)), elapsed_s)
        self._count(elapsed_s, robot_state.control_command_success_rate)

    def write(self, tau_nm: Array) -> None:
        """Sends torques (7,) [Nm] as the answer to the packet read last; they hold until the next answer."""
        self._torques.tau_J = tau_nm.tolist()
        try:
            self._control.writeOnce(self._torques)
        except self._errors as error:
            raise self._stopped(error) from error

    def stop(self) -> None:
        """Tells the robot that the motion is finished, then leaves it: it holds its position by itself."""
        control, self._control = self._control, None
        if control is not None:
            self._torques.tau_J = [0.0] * JOINTS
            self._torques.motion_finished = True
            try:
                control.writeOnce(self._torques)
            except self._errors as error:  # it stopped by itself at the same moment, which is what was wanted
                self.fault = explain_exception(str(error))
        self._robot = None  # which ends the connection: another program may have the robot now
        if self._gripper is not None:
            self._gripper.close()

    def tare(self) -> None:
        """Takes the mean wrench of the last 0.1 s as zero from now on; in free space only."""
        self._bias[:] = self._mean

    def recover(self) -> None:
        """Clears what the robot stopped for; only after a person's reset. Raises RobotFault if it stays."""
        try:
            self._robot.automatic_error_recovery()
        except self._errors as error:
            raise RobotFault(f"the robot does not recover: {explain_exception(str(error))}") from error
        self.fault = fault_of(self._robot)
        if self.fault:
            raise RobotFault(f"the robot does not recover: {self.fault}")
        prepare(self._franka, self._robot, self.tool, self.config)

    # Parts

    def _look_at(self, state: Array) -> None:
        """Views of a state's fields, made once: looking a field up costs more than filling it."""
        self._seen, record = state, state[0]
        self._q, self._qd, self._tau = record["q_rad"], record["qd_rad_s"], record["tau_applied_nm"]
        self._wrench_tool, self._opening = record["wrench_tool"], state["gripper_m"]
        self._opening[0] = math.nan

    def _sense(self, robot_state: Any, finite: bool, elapsed_s: float) -> None:
        """Wrench and gripper of the state. A packet that is not finite is counted; the chain then lets go by itself."""
        if self._gripper is not None:
            self._opening[0] = self._gripper.opening_m
        if self._observer is None:
            wrench = self._wrench
            np.negative(robot_state.K_F_ext_hat_K, wrench)
            finite = finite and math.isfinite(float(wrench.sum()))
        elif finite:
            wrench = self._observer.update(self._q, self._qd, self._tau, elapsed_s)
        if not finite:
            self.broken_packets += 1
            self._wrench_tool[:] = math.nan
            if self._observer is not None:
                self._observer.restart()
            return
        self._mean += _TARE_SHARE * (wrench - self._mean)
        np.subtract(wrench, self._bias, self._wrench_tool)

    def _count(self, elapsed_s: float, success_rate: float) -> None:
        """Lost and repeated packets by the robot's own clock; what its success rate means."""
        self._packets += 1
        periods = round(elapsed_s / _PERIOD_S)
        if self._packets > 1:
            self.lost_packets += max(periods - 1, 0)
            self.repeated_packets += periods < 1
        if self._packets < _SETTLED_PACKETS:
            return
        self._rates += success_rate
        self.success_rate = self._rates / (self._packets - _SETTLED_PACKETS + 1)
        if success_rate >= self.config.warn_success_rate:
            if self.complaint:
                self.complaint, self.must_stop = "", False
        elif not self.complaint or success_rate < self.config.stop_success_rate:
            self.must_stop = success_rate < self.config.stop_success_rate
            self.complaint = (
                f"only {success_rate:.0%} of the commands reach the robot in time: look at cable, CPU load and the "
                "real-time measures (docs/franka.md)"
            )

    def _stopped(self, error: Exception) -> RobotFault:
        """The robot or its connection ended torque control: remembers and returns why."""
        self._control = None
        self.fault = f"the robot at {self.config.ip} stopped: {explain_exception(str(error))}"
        return RobotFault(self.fault)
