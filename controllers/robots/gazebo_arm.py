"""The simulated arm on Gazebo Classic: a server of its own behind the robot protocol, with a real sensor's faults.

It senses as MujocoArm does: the same records, signs, frames and errors (see `mujoco_native.sense`). What differs is
the physics, see controllers/description/sdf.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.arm_model import ArmModel
from controllers.description.arm import ArmDescription
from controllers.description.geometry import Pose
from controllers.description.mjcf_bodies import sliding_place
from controllers.description.scene import Fixture, Scene
from controllers.description.sdf import to_sdf
from controllers.robots.gazebo.protocol import Operation, state_dtype
from controllers.robots.gazebo.server import GazeboServer
from controllers.robots.mujoco_arm import MAX_PUSH
from controllers.robots.mujoco_native import sense
from controllers.robots.wrist_sensor import WristSensor, WristSensorConfig
from controllers.types import JOINTS

_NS = 1e9


class GazeboArm:
    """An arm with its tool in a scene of primitive shapes. One `write` advances the simulated time by one tick."""

    simulated = True

    def __init__(
        self, arm: ArmDescription, scene: Scene, sensor: WristSensorConfig | None = None, seed: int = 0
    ) -> None:
        """Starts the server. Raises UserError where Gazebo is not installed, or for a tool that it does not have."""
        to_sdf(arm, scene)  # refuses what Gazebo cannot hold before anything starts
        self.arm, self.scene, self.sensor = arm, scene, sensor or WristSensorConfig()
        self._wrist = WristSensor(scene.tool, self.sensor, seed)
        self._model = ArmModel(arm, scene.tool)
        self._state = np.zeros(1, state_dtype(JOINTS))
        self._offset_s = 0.0
        self._R_base_tool = np.zeros(9)
        self._placed = {item.name: item.T_base_fixture for item in scene.fixtures if item.movable}
        self._pushed_until_s = np.inf  # while nobody pushes
        empty = np.zeros(0)
        state = self._state
        self._views = (
            state["time_s"], state["q_rad"][0], state["qd_rad_s"][0], state["reading"][0], empty, self._R_base_tool,
            empty, empty, empty, empty, empty, empty, empty, empty,
        )  # fmt: skip
        names = [joint.name for joint in arm.joints]
        self.server = GazeboServer(lambda settings: to_sdf(arm, scene, plugin=settings), names)
        self.rate_hz = 1.0 / self.server.timestep_s
        try:
            self.teleport(arm.home_rad)
            self.tare()
        except BaseException:
            self.server.close()
            raise

    def _ask(self, operation: Operation, argument: int = 0, numbers: Any = (), name: str = "") -> None:
        """Sends a request and takes the state that answers it."""
        self._state[:] = self.server.request(operation, argument, numbers, name)
        self._state["time_s"] += self._offset_s
        self._turn()

    def _turn(self) -> None:
        R_base_flange = self._state["axes_flange"][0].T
        self._R_base_tool[:] = (R_base_flange @ self.scene.tool.T_flange_tool.rotation).ravel()

    # Robot protocol

    def start(self) -> None:
        """Zero torque at rest in the present configuration."""
        self._put(self._state["q_rad"][0], np.zeros(JOINTS))

    def read(self, state: NDArray[Any]) -> None:
        """Fills a STATE array (1,)."""
        state["tau_applied_nm"] = self._state["tau_nm"]
        sense(self._views, self._wrist.record[0], self._wrist.take_noise(1)[0], state[0])

    def write(self, tau_nm: NDArray[Any]) -> None:
        """Applies torques (7,) and advances by one tick. Raises RobotFault if the server is gone."""
        self._end_push()
        self._ask(Operation.STEP, 1, tau_nm)

    def stop(self) -> None:
        """Ends the server; may be called twice."""
        self.server.close()

    # What only a simulator can do

    def _put(self, q_rad: Any, qd_rad_s: Any) -> None:
        self._ask(Operation.RESET, 0, np.concatenate([q_rad, qd_rad_s]))

    def teleport(self, q_rad: Sequence[float] | NDArray[np.float64]) -> None:
        """Sets the arm's joints (7,) at rest without moving there: for benchmarks and tests, never a robot's reset."""
        self._put(np.asarray(q_rad, np.float64), np.zeros(JOINTS))

    def place(self, fixture: str, T_base_fixture: Pose) -> None:
        """Moves a movable fixture; one that slides then rests there.

        Raises KeyError naming the movable ones, and ValueError for a pose that a sliding one cannot take.
        """
        if fixture not in self._placed:
            raise KeyError(f"no movable fixture {fixture!r}; there are {list(self._placed)}")
        item = self.scene.fixture(fixture)
        if item.sliding is not None:
            item.require_upright(T_base_fixture)
            self._ask(Operation.SLIDE, 0, _way(item, T_base_fixture), fixture)
        else:
            numbers = (*T_base_fixture.position_m, *T_base_fixture.quaternion_xyzw)
            self._ask(Operation.POSE, 0, numbers, fixture)
        self._placed[fixture] = T_base_fixture

    def push(self, wrench_base: NDArray[np.float64], duration_s: float) -> None:
        """Pushes for a while as a hand on the flange would: (6,) [N, Nm] about the control point, base axes.

        The wrist sensor sits below the hand and does not feel it. A later push takes the place of this one. Raises
        ValueError for numbers that are not finite, a negative duration, or more than MAX_PUSH.
        """
        wrench = np.asarray(wrench_base, dtype=np.float64)
        if wrench.shape != (6,) or not np.isfinite(wrench).all() or not 0.0 <= duration_s < np.inf:
            raise ValueError(
                f"a push needs 6 finite numbers and a duration of at least 0 s, got {wrench}, {duration_s}"
            )
        if np.abs(wrench[:3]).max() > MAX_PUSH[0] or np.abs(wrench[3:]).max() > MAX_PUSH[1]:
            raise ValueError(f"a hand pushes with at most {MAX_PUSH[0]:g} N and {MAX_PUSH[1]:g} Nm, got {wrench}")
        T_base_tool = self._model.forward(self._state["q_rad"][0])
        T_tool_last = self.arm.T_last_flange.compose(self.scene.tool.T_flange_tool).inverse()
        com_m = T_base_tool.compose(T_tool_last).apply(self.arm.links[-1].inertia.com_m)
        lever_m = T_base_tool.position_m - com_m
        self._ask(Operation.PUSH, 0, np.concatenate([wrench[:3], wrench[3:] + np.cross(lever_m, wrench[:3])]))
        self._pushed_until_s = float(self._state["time_s"][0]) + duration_s

    def _end_push(self) -> None:
        if self._pushed_until_s <= self._state["time_s"][0]:
            self._let_go()

    def _let_go(self) -> None:
        self._ask(Operation.PUSH, 0, np.zeros(6))
        self._pushed_until_s = np.inf

    def tare(self) -> None:
        """Draws the bias that a tare of the wrist sensor leaves; call in free space only, as on a bench."""
        self._wrist.tare()

    def reseed(self, seed: int) -> None:
        """Restarts the sensor's random numbers, so that an episode can be repeated exactly."""
        self._wrist.reseed(seed)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that the next tick depends on, as arrays; the sensor's random numbers restart with `reseed`."""
        fixtures = [np.concatenate([pose.position_m, pose.quaternion_xyzw]) for pose in self._placed.values()]
        return {
            "world.state": self._state.view(np.uint8).copy(),
            "world.fixtures": np.array(fixtures).reshape(-1, 7),
            "world.bias": self._wrist.record["bias"][0].copy(),
        }

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Puts back what `snapshot` returned; fixtures that slide stand where they were placed last. A push ends."""
        self._let_go()
        former = snapshot["world.state"].view(self._state.dtype)
        self._put(former["q_rad"][0], former["qd_rad_s"][0])
        for name, row in zip(self._placed, snapshot["world.fixtures"], strict=True):
            self.place(name, Pose(row[:3], row[3:]))
        self._wrist.record["bias"] = snapshot["world.bias"]
        self._offset_s += float(former["time_s"][0] - self._state["time_s"][0])
        self._state[:] = former  # with the forces of the last tick: a reset has none
        self._turn()


def _way(fixture: Fixture, T_base_fixture: Pose) -> NDArray[np.float64]:
    """How far (x, y [m], yaw [rad]) a sliding fixture stands from where its scene puts it."""
    return np.subtract(sliding_place(T_base_fixture), sliding_place(fixture.T_base_fixture))
