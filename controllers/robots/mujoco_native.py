"""A whole decision in one compiled loop: tick and physics alternate without returning to Python.

MuJoCo's C functions are called by address. Model terms come from the simulator's own data, which equal pinocchio's to 1e-6
(a test holds this), so that nothing is computed twice.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numba
from llvmlite import ir
from numba.extending import intrinsic

from controllers.chain import run_tick
from controllers.types import JOINTS
from safety.compilation import kernel


@intrinsic
def call_on_model_and_data(typing_context, address, model, data):  # type: ignore[no-untyped-def]
    """Calls `void f(const mjModel*, mjData*)` at an integer address. The address is an argument, so the caller stays cacheable."""
    signature = numba.types.void(numba.types.intp, numba.types.intp, numba.types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
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
    return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in ("mj_step1", "mj_step2"))  # type: ignore[return-value]


@kernel
def sense(views, tool, noise, state):  # type: ignore[no-untyped-def]
    """Fills a STATE record from the simulator as an arm with a wrist sensor would report it.

    views = (time (1,), qpos, qvel, sensordata (>= 6), site_xpos (3,), site_xmat (9,), ...); tool = WRIST record: the wrist reads contact and
    weight; the tool's declared weight is removed, the reading moved to the control point, bias and noise (6,) added.
    """
    state.stamp_ns = round(views[0][0] * 1e9)
    for i in range(JOINTS):
        state.q_rad[i] = views[1][i]
        state.qd_rad_s[i] = views[2][i]
    R, reading = views[5], views[3]
    # the sensor reads what the flange exerts on the tool; the tool stands still enough that the rest is minus weight and contact
    gx, gy, gz = -tool.weight_n * R[6], -tool.weight_n * R[7], -tool.weight_n * R[8]  # weight in tool axes (= wrist axes)
    fx, fy, fz = -reading[0] - gx, -reading[1] - gy, -reading[2] - gz
    c, r = tool.com_wrist_m, tool.control_point_wrist_m
    mx = -reading[3] - (c[1] * gz - c[2] * gy) - (r[1] * fz - r[2] * fy)
    my = -reading[4] - (c[2] * gx - c[0] * gz) - (r[2] * fx - r[0] * fz)
    mz = -reading[5] - (c[0] * gy - c[1] * gx) - (r[0] * fy - r[1] * fx)
    wrench, bias = state.wrench_tool, tool.bias
    wrench[0], wrench[1], wrench[2] = fx + bias[0] + noise[0], fy + bias[1] + noise[1], fz + bias[2] + noise[2]
    wrench[3], wrench[4], wrench[5] = mx + bias[3] + noise[3], my + bias[4] + noise[4], mz + bias[5] + noise[5]


@kernel
def gather_terms(views, terms):  # type: ignore[no-untyped-def]
    """Fills (position, rotation, jacobian, mass, coriolis) of the control point from the simulator's data after mj_step1."""
    position, R, anchors, axes, mass, bias, gravity = views[4], views[5], views[6], views[7], views[8], views[9], views[10]
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
def run_lockstep(ticks, pointers, views, tool, noise, terms, state, command, config, chain, reports, time_s, dt_s):  # type: ignore[no-untyped-def]
    """Runs `ticks` ticks: kinematics, sense, tick, torque, physics. reports (ticks,) REPORT; noise (ticks, 6)."""
    clock_s, control = views[0], views[11]
    for t in range(ticks):
        clock_s[0] = time_s + t * dt_s
        call_on_model_and_data(pointers[0], pointers[2], pointers[3])
        sense(views, tool[0], noise[t], state[0])
        gather_terms(views, terms)
        run_tick(state[0], terms, command[0], config[0], chain[0], reports[t])
        for i in range(JOINTS):
            control[i] = reports[t].tau_executed_nm[i]
            state[0].tau_applied_nm[i] = control[i]
        call_on_model_and_data(pointers[1], pointers[2], pointers[3])


def addresses(model: Any, data: Any) -> tuple[int, int, int, int]:
    """Returns (mj_step1, mj_step2, model, data) as integers for `run_lockstep`."""
    step1, step2 = step_addresses()
    return step1, step2, model._address, data._address
