"""A whole decision in one compiled loop: tick and physics alternate without returning to Python.

MuJoCo's C functions are called by address. Model terms come from the simulator's own data, which equal pinocchio's to
1e-6 (a test holds this), so that nothing is computed twice.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numba
from llvmlite import ir
from numba.extending import intrinsic

from controllers.chain import run_tick
from controllers.types import JOINTS
from safety.compilation import Floats, Record, kernel
from safety.reflex import arm_taken
from safety.risk_memory import FEATURES


@intrinsic  # type: ignore[untyped-decorator]  # Numba is not typed
def call_on_model_and_data(typing_context: Any, address: Any, model: Any, data: Any) -> Any:
    """Calls `void f(const mjModel*, mjData*)` at an address: an argument, so that the caller stays cacheable."""
    signature = numba.types.void(numba.types.intp, numba.types.intp, numba.types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [pointer, pointer])
        function = builder.inttoptr(arguments[0], function_type.as_pointer())
        builder.call(function, [builder.inttoptr(value, pointer) for value in arguments[1:]])
        return context.get_dummy_value()

    return signature, generate


@cache
def step_addresses() -> tuple[int, int]:
    """Returns the addresses of mj_step1 and mj_step2 in the library that the mujoco package has loaded."""
    folder = Path(mujoco.__file__).parent
    libraries = sorted(folder.glob("libmujoco*.so*")) + sorted(folder.glob("libmujoco*.dylib"))
    if not libraries:
        raise RuntimeError(f"expected MuJoCo's shared library in {folder}, found none: reinstall the mujoco package")
    library = ctypes.CDLL(str(libraries[0]))
    step1, step2 = (ctypes.cast(function, ctypes.c_void_p).value for function in (library.mj_step1, library.mj_step2))
    return step1 or 0, step2 or 0


@kernel
def sense(views: Floats, tool: Record, noise: Floats, state: Record) -> None:
    """Fills a STATE record from the simulator as an arm with a wrist sensor would report it.

    views = (time (1,), qpos, qvel, sensordata (>= 6), site_xpos (3,), site_xmat (9,), ..., fingers (2,), gripper
    control (1,)), the last two empty without gripper; a finger's position is half the opening. tool = WRIST record. The
    wrist reads contact and weight in its own axes: the reading is turned into tool axes, the tool's declared weight
    removed, the moment taken about the control point, bias and noise (6,) added. What the tool's inertia adds in
    motion stays in, as it does in a real sensor.
    """
    state.stamp_ns = round(views[0][0] * 1e9)
    for i in range(JOINTS):
        state.q_rad[i] = views[1][i]
        state.qd_rad_s[i] = views[2][i]
    fingers = views[12]
    state.gripper_m = fingers[0] + fingers[1] if fingers.size > 0 else math.nan
    reading, R = views[3], views[5]
    force, moment, weight = state.wrench_tool[:3], state.wrench_tool[3:], tool.weight_n
    for i in range(
        3
    ):  # the sensor reads what the flange exerts on the tool: at rest the opposite of weight and contact
        force[i] = weight * R[6 + i]
        moment[i] = 0.0
        for j in range(3):
            force[i] -= tool.R_tool_wrist[i, j] * reading[j]
            moment[i] -= tool.R_tool_wrist[i, j] * reading[3 + j]
    c, r = tool.com_tool_m, tool.control_point_tool_m
    gx, gy, gz = -weight * R[6], -weight * R[7], -weight * R[8]
    moment[0] = moment[0] - (c[1] * gz - c[2] * gy) - (r[1] * force[2] - r[2] * force[1])
    moment[1] = moment[1] - (c[2] * gx - c[0] * gz) - (r[2] * force[0] - r[0] * force[2])
    moment[2] = moment[2] - (c[0] * gy - c[1] * gx) - (r[0] * force[1] - r[1] * force[0])
    for i in range(6):
        state.wrench_tool[i] = state.wrench_tool[i] + tool.bias[i] + noise[i]


@kernel
def gather_terms(views: Floats, terms: Floats) -> None:
    """Fills (position, rotation, jacobian, mass, coriolis) of the control point from the data that mj_step1 left."""
    position, R, anchors, axes = views[4], views[5], views[6], views[7]
    mass, bias, gravity = views[8], views[9], views[10]
    entry = 0
    for i in range(JOINTS):
        for j in range(i + 1):  # rows of the lower triangle: a serial chain has no zeros in it
            terms[3][i, j] = terms[3][j, i] = mass[entry]
            entry += 1
        terms[4][i] = bias[i] - gravity[i]
        ax, ay, az = axes[i, 0], axes[i, 1], axes[i, 2]
        rx, ry, rz = position[0] - anchors[i, 0], position[1] - anchors[i, 1], position[2] - anchors[i, 2]
        terms[2][0, i] = ay * rz - az * ry
        terms[2][1, i] = az * rx - ax * rz
        terms[2][2, i] = ax * ry - ay * rx
        terms[2][3, i], terms[2][4, i], terms[2][5, i] = ax, ay, az
    for i in range(3):
        terms[0][i] = position[i]
        for j in range(3):
            terms[1][i, j] = R[3 * i + j]


@kernel
def run_lockstep(
    ticks: int,
    pointers: tuple[int, int, int, int],
    views: Floats,
    tool: Record,
    noise: Floats,
    terms: Floats,
    state: Record,
    command: Record,
    config: Record,
    chain: Record,
    reports: Record,
    features: Floats,
    time_s: float,
    dt_s: float,
    interruptible: bool,
) -> int:
    """Runs `ticks` ticks: kinematics, sense, tick, torque and gripper, physics. Returns how many.

    reports (ticks,) REPORT; noise (ticks, 6); features (ticks, FEATURES) of the safety critic, or (0, FEATURES). An
    interruptible run ends with the tick in which the reflex arbiter takes the arm, or gives it back.
    """
    clock_s, control, gripper = views[0], views[11], views[13]
    taken = arm_taken(chain[0].reflex.mode)
    for t in range(ticks):
        clock_s[0] = time_s + t * dt_s
        call_on_model_and_data(pointers[0], pointers[2], pointers[3])
        sense(views, tool[0], noise[t], state[0])
        gather_terms(views, terms)
        run_tick(state[0], terms, command[0], config[0], chain[0], reports[t])
        if features.shape[0] > 0:
            for i in range(FEATURES):
                features[t, i] = chain[0].risk.features[i]
        for i in range(JOINTS):
            control[i] = reports[t].tau_executed_nm[i]
            state[0].tau_applied_nm[i] = control[i]
        if gripper.size > 0 and not math.isnan(reports[t].executed_gripper_m):
            gripper[0] = reports[t].executed_gripper_m
        call_on_model_and_data(pointers[1], pointers[2], pointers[3])
        if interruptible and arm_taken(reports[t].mode) != taken:
            return t + 1
    return ticks


def addresses(model: Any, data: Any) -> tuple[int, int, int, int]:
    """Returns (mj_step1, mj_step2, model, data) as integers for `run_lockstep`."""
    step1, step2 = step_addresses()
    return step1, step2, model._address, data._address
