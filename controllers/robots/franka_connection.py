"""Bring-up of an FR3: reach it, look at its mode, set collision limits, frames and load. Nothing here moves it."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.tool import ToolDescription
from controllers.robots.franka_config import FrankaConfig
from controllers.robots.franka_errors import MODES, explain_exception, explain_flags, raised_flags
from data.errors import UserError

Array = NDArray[np.float64]

PORT = 1337
"""TCP port of the robot interface, the same on every control box."""
_NEGLIGIBLE_KG = 0.005
_MASS_TOLERANCE_KG = 0.02


def franka_errors(franka: Any) -> tuple[type[Exception], ...]:
    """Returns what pylibfranka raises: not all of it is a RuntimeError."""
    return RuntimeError, franka.FrankaException


def connect(config: FrankaConfig) -> tuple[Any, Any]:
    """Returns pylibfranka and the connected robot. Raises UserError: what is wrong at the address, and the cure."""
    try:
        franka = importlib.import_module("pylibfranka")
    except ImportError as error:
        raise UserError(f"robot=fr3 needs pylibfranka ({error}): pip install -c constraints.txt '.[franka]'") from error
    require_answer(config)
    realtime = franka.RealtimeConfig.kEnforce if config.realtime == "enforce" else franka.RealtimeConfig.kIgnore
    try:
        with _same_scheduling():
            robot = franka.Robot(config.ip, realtime)
            state = robot.read_once()
    except franka_errors(franka) as error:
        raise UserError(f"robot at {config.ip}: {explain_exception(str(error))}") from error
    mode = state.robot_mode.name
    if mode in MODES and mode != "Reflex":
        raise UserError(f"robot at {config.ip} {MODES[mode]}")
    return franka, robot


@contextmanager
def _same_scheduling() -> Iterator[None]:
    """Leaves the thread's scheduling as it was: libfranka takes SCHED_FIFO 99 for whoever connects.

    Above it nothing else of the machine would run, and the motor loop takes its own measures, or none.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) != (policy, parameters.sched_priority):
            os.sched_setscheduler(0, policy, parameters)


def require_answer(config: FrankaConfig) -> None:
    """Raises UserError if nothing listens at the address: libfranka alone would wait a minute for that."""
    try:
        with socket.create_connection((config.ip, PORT), config.connect_timeout_s):
            return
    except socket.gaierror as error:
        raise UserError(f"no such address {config.ip} ({error.strerror}): check robot_config.ip") from error
    except ConnectionRefusedError as error:
        raise UserError(
            f"no robot at {config.ip}: the machine there refuses port {PORT}; check robot_config.ip, or activate FCI "
            "in Desk"
        ) from error
    except OSError as error:
        raise UserError(
            f"no robot at {config.ip}: nothing answers on port {PORT} within {config.connect_timeout_s:g} s "
            f"({error.strerror or error}); check robot_config.ip and the cable, that the robot is switched on, and "
            "that no other program is connected to it"
        ) from error


def fault_of(robot: Any) -> str:
    """Returns what a robot stands still for, "" if it is ready for torques."""
    state = robot.read_once()
    flags = raised_flags(state.current_errors)
    if not flags and state.robot_mode.name != "Reflex":
        return ""
    return (
        f"the robot stopped itself: {explain_flags(flags or raised_flags(state.last_motion_errors)) or 'no flag set'}"
    )


def prepare(franka: Any, robot: Any, tool: ToolDescription, config: FrankaConfig) -> None:
    """Sets collision limits, the frames EE and K at the tool's control point, and the load. Raises UserError."""
    state = robot.read_once()
    T_flange_nominal = _matrix(state.F_T_NE)
    T_nominal_tool = np.linalg.solve(T_flange_nominal, tool.T_flange_tool.matrix)
    mass_kg, com_m, inertia = load_beside(tool, state.m_ee, np.array(state.F_x_Cee), _square(state.I_ee))
    try:
        robot.set_collision_behavior(
            list(config.contact_torque_nm),
            list(config.stop_torque_nm),
            list(config.contact_wrench),
            list(config.stop_wrench),
        )
        robot.set_EE(_column_major(T_nominal_tool))
        robot.set_K(_column_major(np.eye(4)))
        robot.set_load(mass_kg, com_m.tolist(), _column_major(inertia))
    except franka_errors(franka) as error:
        raise UserError(f"robot at {config.ip} did not take its settings: {explain_exception(str(error))}") from error


def load_beside(tool: ToolDescription, m_ee_kg: float, c_ee_m: Array, I_ee: Array) -> tuple[float, Array, Array]:
    """Returns mass, centre (3,) and inertia (3, 3) of what of the tool Desk does not already count as end effector.

    m = m_t - m_e, c = (m_t c_t - m_e c_e) / m, I = I_t + P(m_t, c_t) - I_e - P(m_e, c_e) - P(m, c), all in flange
    axes, with P(m, r) = m (|r|^2 1 - r r^T). Raises UserError if Desk's end effector is heavier than the tool.
    """
    mass_kg = tool.mass_kg - m_ee_kg
    if mass_kg < -_MASS_TOLERANCE_KG:
        raise UserError(
            f"Desk says that the end effector weighs {m_ee_kg:.3f} kg, the description of {tool.name} says "
            f"{tool.mass_kg:.3f} kg: choose the right end effector in Desk, or none"
        )
    if mass_kg < _NEGLIGIBLE_KG:
        return 0.0, np.zeros(3), np.zeros((3, 3))
    com_m = (tool.mass_kg * tool.com_flange_m - m_ee_kg * c_ee_m) / mass_kg
    inertia = tool.inertia_flange_kg_m2 + _steiner(tool.mass_kg, tool.com_flange_m)
    inertia = inertia - I_ee - _steiner(m_ee_kg, c_ee_m) - _steiner(mass_kg, com_m)
    values, axes = np.linalg.eigh(0.5 * (inertia + inertia.T))
    return mass_kg, com_m, (axes * np.maximum(values, 0.0)) @ axes.T


def _steiner(mass_kg: float, r_m: Array) -> Array:
    added: Array = mass_kg * (r_m @ r_m * np.eye(3) - np.outer(r_m, r_m))
    return added


def _matrix(column_major: Any) -> Array:
    return np.array(column_major, dtype=np.float64).reshape(4, 4).T


def _square(column_major: Any) -> Array:
    return np.array(column_major, dtype=np.float64).reshape(3, 3).T


def _column_major(matrix: NDArray[Any]) -> list[float]:
    values: list[float] = matrix.T.ravel().tolist()
    return values
