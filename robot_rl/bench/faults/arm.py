"""A simulated arm that errs on order, inside the motor process; orders and its log pass through a mapped file."""

from __future__ import annotations

import time
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.motor_config import MotorParts, build_mujoco_arm
from controllers.robots.mujoco_arm import GRAVITY_M_S2, MujocoArm

Array = NDArray[Any]
PACKETS_UNTIL_BRAKE = 20
"""A real drive brakes after this many lost packets in a row."""
WALL = "wall"
"""The movable fixture that can be pushed into the arm."""
_LOG_TICKS = 8192


class Error(IntEnum):
    """What the arm can be told to get wrong, for a number of ticks."""

    NONE = 0
    BIAS = 1
    """amount is added to one force axis [N]."""
    STUCK = 2
    """The wrench stands still."""
    SATURATION = 3
    """One force axis shows amount [N]."""
    SIGN_FLIP = 4
    """The wrench has the wrong sign."""
    LOST_PACKETS = 5
    """Torques do not arrive: the drive goes on with the last one, and brakes after 20."""
    OVERRUN = 6
    """One reading takes amount [s] longer."""
    PUSH = 7
    """The wall moves up, within 0.1 s at amount [m/s]."""
    PAYLOAD = 8
    """The tool is heavier by amount [kg] than declared."""


ORDER = np.dtype([("number", "i8"), ("error", "i8"), ("ticks", "i8"), ("axis", "i8"), ("amount", "f8")], align=True)
APPLIED = np.dtype(
    [("count", "i8"), ("tau_nm", "f8", 7), ("q_rad", "f8", 7), ("force_n", "f8")],  # force_n: before any error
    align=True,
)
DESK = np.dtype([("order", ORDER), ("ticks", "i8"), ("log", APPLIED, _LOG_TICKS)], align=True)


class FaultDesk:
    """The end of the mapped file outside of the motor process: gives orders, reads what was applied."""

    def __init__(self, path: Path) -> None:
        """Makes the file."""
        path.write_bytes(bytes(DESK.itemsize))
        self.path = path
        self._desk = open_desk(path)

    def order(self, error: Error, ticks: int = 1, amount: float = 0.0, axis: int = 2) -> None:
        """Lets the arm err from its next reading on."""
        order = self._desk["order"]
        order["error"], order["ticks"], order["amount"], order["axis"] = error, ticks, amount, axis
        order["number"] += 1

    @property
    def ticks(self) -> int:
        """Readings so far."""
        return int(self._desk["ticks"])

    def applied(self, since: int) -> Array:
        """Returns the APPLIED records (n,) of the readings after number `since`, at most the newest 8,000."""
        first = max(since, self.ticks - 8000)
        return self._desk["log"][np.arange(first, self.ticks) % _LOG_TICKS].copy()  # type: ignore[no-any-return]


def open_desk(path: Path) -> Any:
    """Maps the file; returns its one DESK record."""
    return np.memmap(path, DESK, "r+", shape=(1,))[0]


class FaultyArm:
    """The simulated arm, with errors on order."""

    simulated = True

    def __init__(self, arm: MujocoArm, path: Path) -> None:
        self.arm, self.rate_hz = arm, arm.rate_hz
        self._desk = open_desk(path)
        self._order, self._log = self._desk["order"], self._desk["log"]
        self._number = self._ticks_left = self._lost = self._count = 0
        self._error, self._wall_m_s = Error.NONE, 0.0
        self._still, self._applied = np.zeros(6), np.zeros(7)
        self._wall = arm.model.body(WALL).mocapid[0]
        self._tool = arm.model.body("tool").id

    def start(self) -> None:
        """As the arm does."""
        self.arm.start()

    def stop(self) -> None:
        """As the arm does."""
        self.arm.stop()

    def teleport(self, q_rad: Any) -> None:
        """As the arm does; whatever was wrong is over."""
        self._finish()
        self.arm.teleport(q_rad)

    def place(self, fixture: str, T_base_fixture: Any) -> None:
        """As the arm does."""
        self.arm.place(fixture, T_base_fixture)

    def tare(self) -> None:
        """As the arm does."""
        self.arm.tare()

    def read(self, state: Array) -> None:
        """Reads the arm, writes down what is true, then spoils it as ordered."""
        if self._order["number"] != self._number:
            self._finish()
            self._number = int(self._order["number"])
            self._error, self._ticks_left = Error(int(self._order["error"])), int(self._order["ticks"])
        self.arm.read(state)
        wrench = state["wrench_tool"][0]
        row = self._log[self._count % _LOG_TICKS]
        row["count"], row["tau_nm"], row["q_rad"] = self._count, state["tau_applied_nm"][0], state["q_rad"][0]
        row["force_n"] = np.linalg.norm(wrench[:3])
        self._count += 1
        self._desk["ticks"] = self._count
        self._spoil(wrench)
        self._still[:] = wrench

    def write(self, tau_nm: Array) -> None:
        """Applies the torque if it arrives."""
        if self._error != Error.LOST_PACKETS or self._ticks_left <= 0:
            self._applied[:], self._lost = tau_nm, 0
        else:
            self._lost += 1
            if self._lost >= PACKETS_UNTIL_BRAKE:
                raise RuntimeError(f"communication lost: {self._lost} packets in a row, the arm has braked")
        self.arm.write(self._applied)
        self._ticks_left -= 1
        if self._ticks_left == 0:
            self._finish()

    def _finish(self) -> None:
        self._error, self._ticks_left, self._wall_m_s = Error.NONE, 0, 0.0
        self.arm.data.xfrc_applied[self._tool] = 0.0

    def _spoil(self, wrench: Array) -> None:
        error, amount, axis = self._error, float(self._order["amount"]), int(self._order["axis"])
        if error == Error.BIAS:
            wrench[axis] += amount
        elif error == Error.STUCK:
            wrench[:] = self._still
        elif error == Error.SATURATION:
            wrench[axis] = amount
        elif error == Error.SIGN_FLIP:
            wrench *= -1.0
        elif error == Error.OVERRUN:
            time.sleep(amount)
        elif error == Error.PUSH:
            step_m_s = 10.0 * amount / self.rate_hz  # it starts and stops within 0.1 s
            self._wall_m_s = min(self._wall_m_s + step_m_s, amount, self._ticks_left * step_m_s)
            self.arm.data.mocap_pos[self._wall, 2] += self._wall_m_s / self.rate_hz
        elif error == Error.PAYLOAD:
            self.arm.data.xfrc_applied[self._tool, 2] = -amount * GRAVITY_M_S2


def build(options: dict[str, Any]) -> MotorParts:
    """Builder of the motor process: the options of a simulated arm, and `desk`, the path of the mapped file."""
    options = dict(options)
    path = Path(options.pop("desk"))
    parts = build_mujoco_arm(options)
    arm = parts.robot
    if not isinstance(arm, MujocoArm):
        raise ValueError(f"expected the simulated arm, got {type(arm).__name__}")
    return parts._replace(robot=FaultyArm(arm, path))
