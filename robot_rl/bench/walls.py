"""Random policies push a rigid tool against rigid walls: what the tool feels once it rests, axis by axis.

A slim rod stands in an open pocket, so that whatever a policy wants, only the rod touches, and something stops it. At
rest the law says

    F_ext = K e + Lambda J M^-1 tau_friction,    |e_i| <= leash_i

so the limit stiffness x leash is exceeded by no more than what dry friction in the joints holds (the posture torque
drops out: its projector leaves no static force at the control point). So the limit is measured on an arm whose joints
have no dry friction, where nothing but the law remains, and once more on the arm as it is.

MuJoCo's dry friction does not stick. Below its bound it is a constraint with aref = -b v
(https://mujoco.readthedocs.io/en/stable/computation/index.html), so like a very stiff damper it holds nothing at a
speed of zero: a rod that it holds back creeps for up to minutes to where the law alone holds it. Joints that stick hold
their share for ever. They are not simulated: what they can hold at most is computed wherever the rod creeps, and the
excess that the creeping rods still show is reported apart from that of those at rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.chain import ChainConfig
from controllers.description.arm import vector
from controllers.description.fr3 import fr3
from controllers.description.geometry import Box, Pose
from controllers.description.scene import Fixture, Scene
from controllers.description.tool import square_peg_tool
from controllers.link import LockstepLink
from controllers.robots.mujoco_arm import MujocoArm, WristSensorConfig
from controllers.types import Command
from data.errors import UserError
from robot_rl.metrics import progress
from safety import so3
from safety.reference_limiter import ReferenceLimiterConfig
from safety.watch import WatchConfig

Array = NDArray[np.float64]

_POCKET_M = np.array([0.45, 0.0, 0.15])
"""Middle of the pocket's floor, base frame."""
_HALF_WIDTHS_M = (0.03, 0.016)
"""Of the two pockets, half of the policies in each. In the narrow one the rod jams: that presses the moments, too."""
_DEPTH_M = 0.12
_FACE_DOWN = (1.0, 0.0, 0.0, 0.0)
_START = Pose(_POCKET_M + np.array([0.0, 0.0, 0.02]), np.array(_FACE_DOWN))
_DECISIONS, _DECISION_S = 5, 0.1
_WINDOW_S, _PATIENCE = 0.5, 400
"""Rest is looked for in windows of half a second, for two hundred seconds."""
_REST_M_S, _REST_RAD_S = 1e-5, 1e-4
"""Rest: on average the tool moves no faster than this, 0.6 mm and a third of a degree a minute."""
_CREEP = 30.0
"""Creep: no faster than this many times the speed of rest. The law's damping holds less than 0.1 N and 0.05 Nm then."""
_ALLOWANCE = np.array([2.0] * 3 + [0.3] * 3)
"""What the net wrench may exceed stiffness x leash by."""


@dataclass(frozen=True)
class Press:
    """What the tool felt of one policy. An excess is |net wrench| - stiffness x leash per base axis (6,) [N, Nm]."""

    excess: Array
    """At rest, or where `rests` is false as it was when the patience ended."""
    rests: bool
    creeping: Array
    """The largest excess per axis while it crept or rested (6,)."""
    beyond_friction: Array
    """The largest of excess minus what dry friction in the joints can hold there, as above (6,)."""
    friction: Array
    """The most that dry friction can hold per base axis, of all those places (6,) [N, Nm]."""
    largest_contact_n: float
    """Of the single contacts at the ends of its windows: no impacts."""


def pocket_scene(half_width_m: float) -> Scene:
    """A floor and four walls around a rod of half the width 0.01 m; the wrist stays above them."""

    def block(x: float, y: float, z: float, size: tuple[float, float, float]) -> Box:
        return Box(pose=Pose(vector((x, y, z))), size_m=size)

    thick, outer = 0.02, 2 * half_width_m + 0.04
    middle = half_width_m + thick / 2
    geoms = (
        block(0.0, 0.0, -thick / 2, (outer, outer, thick)),
        *(block(sign * middle, 0.0, _DEPTH_M / 2, (thick, outer, _DEPTH_M)) for sign in (-1.0, 1.0)),
        *(block(0.0, sign * middle, _DEPTH_M / 2, (outer, thick, _DEPTH_M)) for sign in (-1.0, 1.0)),
    )
    pocket = Fixture(name="pocket", geoms=geoms, T_base_fixture=Pose(_POCKET_M))
    return Scene(tool=square_peg_tool(length_m=0.25), fixtures=(pocket,))


class WallBench:
    """One arm with its rod in the pocket."""

    def __init__(self, half_width_m: float, dry_friction: bool = True) -> None:
        arm, scene = fr3(), pocket_scene(half_width_m)
        if not dry_friction:
            arm = replace(arm, joints=tuple(replace(joint, friction_nm=0.0) for joint in arm.joints))
        self._model = ArmModel(arm, scene.tool)
        limiter = ReferenceLimiterConfig()
        self._robot = MujocoArm(arm, scene, WristSensorConfig(1e-6, 1e-8, 0.0, 0.0, 0.0))
        self._start_rad = self._model.inverse_kinematics(_START, arm.home_rad)
        self._robot.teleport(self._start_rad)
        self._link = LockstepLink(
            self._robot, self._model, ChainConfig(limiter=limiter, watch=WatchConfig(enabled=False))
        )
        self._leash = np.array(limiter.leash)
        self._friction_nm = np.array([joint.friction_nm for joint in arm.joints])

    def run(self, rng: np.random.Generator) -> Press | None:
        """One policy: random decisions, the last of which it keeps to.

        None if it never slowed down to a creep, or if the arm's housing touches something.
        """
        self._robot.teleport(self._start_rad)
        self._link.reset()
        self._link.grant()
        for _ in range(_DECISIONS):
            command = _random_command(rng)
            self._link.send(command)
            self._link.step(_DECISION_S)
        bound, places, largest_n, rests = command.stiffness * self._leash, [], 0.0, False
        for _ in range(_PATIENCE):
            self._link.send(command)  # kept to: none holds for ever
            reports = self._link.step(_WINDOW_S)
            force_n, tool_only = self._contacts()
            if not tool_only:
                return None
            largest_n = max(largest_n, force_n)
            last = np.abs(_mean_wrench_base(reports)) - bound
            if _moves_slower(reports, _CREEP):
                places.append((last, self._friction_wrench()))
            if rests := _moves_slower(reports, 1.0):
                break
        if not places:
            return None
        excess, friction = (np.array(column) for column in zip(*places, strict=True))
        beyond = (excess - friction).max(axis=0)
        return Press(last, rests, excess.max(axis=0), beyond, friction.max(axis=0), largest_n)

    def _contacts(self) -> tuple[float, bool]:
        """Largest force of one contact [N], and whether all contacts are those of the tool with the pocket."""
        model, data, force, largest_n, names = self._robot.model, self._robot.data, np.zeros(6), 0.0, set()
        mujoco.mj_forward(model, data)  # a tick ends before the forces of its contacts are solved
        for index in range(data.ncon):
            mujoco.mj_contactForce(model, data, index, force)
            largest_n = max(largest_n, float(np.linalg.norm(force[:3])))
            names |= {model.body(model.geom_bodyid[geom]).name for geom in data.contact[index].geom}
        return largest_n, names <= {"tool", "pocket"}

    def _friction_wrench(self) -> Array:
        """Largest |(Lambda J M^-1 tau)_i| over joint torques within their dry friction (6,)."""
        terms = self._link.terms
        q = self._link.state
        self._model.terms(q["q_rad"][0], q["qd_rad_s"][0], terms)
        J_inverse_M = np.linalg.solve(terms.mass, terms.jacobian.T).T
        share: Array = np.linalg.solve(J_inverse_M @ terms.jacobian.T, J_inverse_M)
        most: Array = np.abs(share) @ self._friction_nm
        return most


def _random_command(rng: np.random.Generator) -> Command:
    """A target up to 15 cm behind floor and walls, turned by up to 0.4 rad an axis, with any stiffness."""
    stiffness = rng.uniform([100.0] * 3 + [10.0] * 3, [1000.0] * 3 + [60.0] * 3)
    aim = _POCKET_M + rng.uniform([-0.15, -0.15, -0.15], [0.15, 0.15, 0.0])
    turn = so3.exp(tuple(rng.uniform(-0.4, 0.4, 3).tolist()))
    duration_s = _DECISION_S + _WINDOW_S
    return Command(aim, np.array(so3.multiply(turn, _FACE_DOWN)), stiffness, duration_s=duration_s)


def _moves_slower(reports: NDArray[Any], times: float) -> bool:
    """Whether it moved slower, on average, than so many times the speed that counts as rest."""
    begin, end = (Pose(report["position_base_m"], report["quaternion_base_xyzw"]) for report in reports[[0, -1]])
    moved_m, turned_rad = begin.distance(end)
    return moved_m < times * _REST_M_S * _WINDOW_S and turned_rad < times * _REST_RAD_S * _WINDOW_S


def _mean_wrench_base(reports: NDArray[Any]) -> Array:
    wrench: Array = reports["wrench_tool"].mean(axis=0)
    R = Pose(reports[-1]["position_base_m"], reports[-1]["quaternion_base_xyzw"]).rotation
    return np.concatenate([R @ wrench[:3], R @ wrench[3:]])


def measure_walls(policies: int, seed: int = 0) -> dict[str, float]:
    """Returns the worst excess over stiffness x leash of `policies` random policies, [N] and [Nm].

    The law itself (joints without dry friction) and, with `_dry` in the name, the arm with its dry friction. Raises
    UserError if not one of them presses against something at a creep or at rest.
    """
    law, dry = (_presses_of(policies, seed, dry_friction) for dry_friction in (False, True))
    creeping, beyond, friction = (
        np.array([getattr(press, name) for press in dry]).max(axis=0)
        for name in ("creeping", "beyond_friction", "friction")
    )
    return {
        "wall_policies": policies,
        **_worst(law, "wall"),
        **_worst(dry, "wall_dry"),
        "wall_dry_creeping_over_allowance": sum(bool((press.creeping > _ALLOWANCE).any()) for press in dry),
        **_by_unit("wall_dry_creeping_excess", creeping),
        **_by_unit("wall_dry_friction", friction),
        **_by_unit("wall_dry_beyond_friction", beyond),
        "wall_largest_contact_n": max(press.largest_contact_n for press in (*law, *dry)),
    }


def _presses_of(policies: int, seed: int, dry_friction: bool) -> list[Press]:
    benches = [WallBench(half_width_m, dry_friction) for half_width_m in _HALF_WIDTHS_M]
    presses = []
    with progress(policies, f"walls, {'with' if dry_friction else 'without'} dry friction", unit="trial") as bar:
        for index in range(policies):
            press = benches[index % 2].run(np.random.default_rng([seed, index]))
            presses += [] if press is None else [press]
            bar.update()
    if not presses:
        raise UserError(f"expected a policy that presses against something, none of {policies} did: raise policies")
    return presses


def _worst(presses: list[Press], name: str) -> dict[str, float]:
    excess, rests = np.array([press.excess for press in presses]), np.array([press.rests for press in presses])
    return {
        f"{name}_presses": len(presses),
        f"{name}_rests": int(rests.sum()),
        f"{name}_over_allowance": int((excess > _ALLOWANCE).any(axis=1).sum()),
        f"{name}_force_excess_n": float(excess[:, :3].max()),
        f"{name}_moment_excess_nm": float(excess[:, 3:].max()),
        f"{name}_rest_force_excess_n": float(excess[rests, :3].max(initial=-np.inf)),
        f"{name}_rest_moment_excess_nm": float(excess[rests, 3:].max(initial=-np.inf)),
    }


def _by_unit(name: str, wrench: Array) -> dict[str, float]:
    return {f"{name}_n": float(wrench[:3].max()), f"{name}_nm": float(wrench[3:].max())}
