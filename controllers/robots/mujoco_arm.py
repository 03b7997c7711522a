"""The simulated arm: MuJoCo behind the robot protocol, with the sensing faults of a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controllers.robots.rendering import RENDER_ERRORS, no_rendering  # isort: skip - chooses how MuJoCo draws
import mujoco
import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ModelTerms
from controllers.chain import kernel_terms
from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose
from controllers.description.mjcf import to_mjcf
from controllers.description.mjcf_bodies import sliding_place
from controllers.description.scene import Scene
from controllers.robots.mujoco_native import addresses, run_lockstep, sense
from controllers.robots.wrist_sensor import GRAVITY_M_S2 as GRAVITY_M_S2
from controllers.robots.wrist_sensor import WristSensor
from controllers.robots.wrist_sensor import WristSensorConfig as WristSensorConfig
from controllers.types import JOINTS

MAX_PUSH = (60.0, 10.0)
"""Largest force [N] and moment [Nm] per axis of a simulated hand."""


class MujocoArm:
    """An arm with its tool in a scene of primitive shapes. One `write` advances the simulated time by one tick."""

    simulated = True

    def __init__(
        self, arm: ArmDescription, scene: Scene, sensor: WristSensorConfig | None = None, seed: int = 0
    ) -> None:
        self.arm, self.scene, self.sensor = arm, scene, sensor or WristSensorConfig()
        self.model = mujoco.MjModel.from_xml_string(to_mjcf(arm, scene))
        # a diverged simulation must be seen as such, not silently start over
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.data = mujoco.MjData(self.model)
        self._dt_s: float = self.model.opt.timestep
        self.rate_hz = 1.0 / self._dt_s
        self._wrist = WristSensor(scene.tool, self.sensor, seed)
        self._pointers = addresses(self.model, self.data)
        self._views = self._make_views()
        self._terms = kernel_terms(ModelTerms())
        self._renderer: mujoco.Renderer | None = None
        self._pushed_until_s = np.inf  # while nobody pushes
        mujoco.mj_resetDataKeyframe(self.model, self.data, self.model.key("home").id)
        self.teleport(arm.home_rad)
        self.tare()

    def _make_views(self) -> tuple[NDArray[Any], ...]:
        """Arrays over the simulator's own memory, in the order that the compiled loop expects; made once."""
        model, data = self.model, self.data
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, "tool")
        force = model.sensor("wrist_force").adr[0]
        self._time = np.zeros(1)
        has_gripper = int(self.scene.tool.gripper_range_m is not None)
        return (
            self._time,
            data.qpos,
            data.qvel,
            data.sensordata[force : force + 6],
            data.site_xpos[site],
            data.site_xmat[site],
            data.xanchor,
            data.xaxis,
            data.M,
            data.qfrc_bias,
            data.qfrc_gravcomp,
            data.ctrl,
            data.qpos[JOINTS : JOINTS + 2 * has_gripper],
            data.ctrl[JOINTS : JOINTS + has_gripper],
        )

    # Robot protocol

    def start(self) -> None:
        """Zero torque at the present configuration; a gripper holds its opening."""
        self.data.ctrl[:JOINTS] = 0.0
        self.data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def read(self, state: NDArray[Any]) -> None:
        """Fills a STATE array (1,)."""
        self._time[0] = self.data.time
        state["tau_applied_nm"] = self.data.ctrl[:JOINTS]
        sense(self._views, self._wrist.record[0], self._wrist.take_noise(1)[0], state[0])

    def write(self, tau_nm: NDArray[Any]) -> None:
        """Applies torques (7,) and advances by one tick."""
        self.data.ctrl[:JOINTS] = tau_nm
        self._end_push()
        mujoco.mj_step2(self.model, self.data)
        mujoco.mj_step1(self.model, self.data)

    def grip(self, opening_m: float) -> None:
        """Sets the opening [m] that the gripper's drive moves to. Raises RuntimeError if the tool has no gripper."""
        if self.scene.tool.gripper_range_m is None:
            raise RuntimeError(f"{self.scene.tool.name} has no gripper: set gripper_range_m of the tool")
        self.data.ctrl[JOINTS] = opening_m

    def stop(self) -> None:
        """Zero torque; a gripper holds its opening; frees the renderer."""
        self.data.ctrl[:JOINTS] = 0.0
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # What only a simulator can do

    def run_ticks(
        self,
        command: NDArray[Any],
        chain: Any,
        state: NDArray[Any],
        reports: NDArray[Any],
        features: NDArray[np.float32],
        interruptible: bool = False,
    ) -> int:
        """Runs len(reports) whole ticks of a Chain in one compiled loop: the same as read, tick, grip, write.

        features: one row a tick for what the safety critic saw, or no row at all. Returns how many ticks it ran: fewer
        if it is interruptible and the reflex arbiter took the arm or gave it back.
        """
        ticks = len(reports)
        self._end_push()
        done: int = run_lockstep(
            ticks,
            self._pointers,
            self._views,
            self._wrist.record,
            self._wrist.take_noise(ticks),
            self._terms,
            state,
            command,
            chain.config_record,
            chain.record,
            reports,
            features,
            self.data.time,
            self._dt_s,
            interruptible,
        )
        self._wrist.give_back(ticks - done)
        mujoco.mj_step1(self.model, self.data)
        return done

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Moves a movable fixture; one that slides then rests there.

        Raises KeyError naming the movable ones, and ValueError for a pose that a sliding one cannot take.
        """
        names = [item.name for item in self.scene.fixtures if item.movable]
        if fixture not in names:
            raise KeyError(f"no movable fixture {fixture!r}; there are {names}")
        if self.scene.fixture(fixture).sliding is not None:
            self._place_sliding(fixture, T_base_fixture)
            return
        index = self.model.body(fixture).mocapid[0]
        x, y, z, w = T_base_fixture.quaternion_xyzw
        self.data.mocap_pos[index] = T_base_fixture.position_m
        self.data.mocap_quat[index] = (w, x, y, z)
        mujoco.mj_forward(self.model, self.data)

    def _place_sliding(self, fixture: str, T_base_fixture: Pose) -> None:
        self.scene.fixture(fixture).require_upright(T_base_fixture)
        first = self.model.joint(f"{fixture}_x")
        position, speed = int(first.qposadr[0]), int(first.dofadr[0])
        self.data.qpos[position : position + 3] = sliding_place(T_base_fixture)
        self.data.qvel[speed : speed + 3] = 0.0
        self.data.qacc_warmstart[speed : speed + 3] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def push(self, wrench_base: NDArray[np.float64], duration_s: float) -> None:
        """Pushes for a while as a hand on the flange would: (6,) [N, Nm] about the control point, base axes.

        The wrist sensor sits below the hand and does not feel it. A later push takes the place of this one; one that
        is over ends before the next tick, or before the next interval of `run_ticks`. Raises ValueError for numbers
        that are not finite, a negative duration, or more than MAX_PUSH.
        """
        wrench = np.asarray(wrench_base, dtype=np.float64)
        if wrench.shape != (6,) or not np.isfinite(wrench).all() or not 0.0 <= duration_s < np.inf:
            raise ValueError(
                f"a push needs 6 finite numbers and a duration of at least 0 s, got {wrench}, {duration_s}"
            )
        if np.abs(wrench[:3]).max() > MAX_PUSH[0] or np.abs(wrench[3:]).max() > MAX_PUSH[1]:
            raise ValueError(f"a hand pushes with at most {MAX_PUSH[0]:g} N and {MAX_PUSH[1]:g} Nm, got {wrench}")
        flange = self.model.body("flange").id
        lever_m = self.data.site("tool").xpos - self.data.xipos[flange]
        self.data.xfrc_applied[flange] = np.concatenate([wrench[:3], wrench[3:] + np.cross(lever_m, wrench[:3])])
        self._pushed_until_s = self.data.time + duration_s

    def _end_push(self) -> None:
        if self._pushed_until_s <= self.data.time:
            self._let_go()

    def _let_go(self) -> None:
        self.data.xfrc_applied[self.model.body("flange").id] = 0.0
        self._pushed_until_s = np.inf

    def teleport(self, q_rad: Sequence[float] | NDArray[np.float64]) -> None:
        """Sets the arm's joints (7,) at rest without moving there: for benchmarks and tests, never a robot's reset."""
        self.data.qpos[:JOINTS] = q_rad
        self.data.qvel[:] = 0.0
        self.data.ctrl[:JOINTS] = 0.0
        self.data.qacc_warmstart[:] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def tare(self) -> None:
        """Draws the bias that a tare of the wrist sensor leaves; call in free space only, as on a bench."""
        self._wrist.tare()

    def reseed(self, seed: int) -> None:
        """Restarts the sensor's random numbers, so that an episode can be repeated exactly."""
        self._wrist.reseed(seed)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that the next tick depends on, as arrays; the sensor's random numbers restart with `reseed`."""
        size = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION)
        state = np.zeros(size)
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        # Forces of the last tick are part of it: a new forward pass would give those of the next.
        sensors = self.data.sensordata.copy()
        return {"world.state": state, "world.sensors": sensors, "world.bias": self._wrist.record["bias"][0].copy()}

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `snapshot` returned. A push ends."""
        mujoco.mj_setState(self.model, self.data, snapshot["world.state"], mujoco.mjtState.mjSTATE_INTEGRATION)
        self._let_go()
        self._wrist.record["bias"] = snapshot["world.bias"]
        warmstart = self.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.model, self.data)
        self.data.qacc_warmstart[:] = warmstart
        self.data.sensordata[:] = snapshot["world.sensors"]

    def render(self, camera: str, width_px: int, height_px: int) -> NDArray[np.uint8]:
        """Returns an RGB image (height, width, 3). Raises RenderError where no rendering library works."""
        if self._renderer is None or (self._renderer.width, self._renderer.height) != (width_px, height_px):
            if self._renderer is not None:
                self._renderer.close()
            try:
                self._renderer = mujoco.Renderer(self.model, height_px, width_px)
            except RENDER_ERRORS as error:
                raise no_rendering(error) from error
        self._renderer.update_scene(self.data, camera=camera)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture
