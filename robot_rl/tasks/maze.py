"""Feel the way through a walled channel with baffles and loose bolts, without pressing hard on anything.

The tool is a round finger inside the channel. Where the gaps of the baffles are, and where the bolts stand, is for the
simulator only: a policy knows its own pose and what it feels, moves in the plane and chooses how stiff it is along and
across the channel, as in SRL-VIC (arXiv:2406.13744) and Bresa (arXiv:2503.21989). A decision that presses harder than
`max_force_n` ends the episode, at a price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controllers.chain import ChainConfig
from controllers.description.fixtures import baffle, bolt, channel
from controllers.description.geometry import ContactSoftness, Pose, look_at
from controllers.description.scene import CameraDescription, Scene
from controllers.description.tool import round_finger_tool
from data.errors import UserError
from robot_rl.options import as_declared, expected_names
from robot_rl.tasks.actions import ActionSpec
from robot_rl.tasks.base import CriticRecipe, Draw, Judgement, Sensed, Task
from robot_rl.tasks.maze_layout import SEEDS, MazeShape, layout
from robot_rl.tasks.peg_insertion import small_rotation
from robot_rl.tasks.resetting import ResetConfig
from safety.reference_limiter import ReferenceLimiterConfig

Array = NDArray[np.float64]

ACTIVE = ("dx", "dy", "k_x", "k_y")
STATE_NAMES = (
    *("x", "y", "z", "rx", "ry", "rz"),  # tool in the entrance frame: x into the channel, z down
    *("vx", "vy", "vz", "wx", "wy", "wz"),
    *("fx", "fy", "fz", "mx", "my", "mz"),  # external wrench about the tip, tool axes
    # limited reference after the newest tick minus measured pose: entrance axes, tool axes
    *("ex", "ey", "ez", "erx", "ery", "erz"),
    *(f"previous_{name}" for name in ACTIVE),  # as executed: the last two are the present stiffness
)
STATE_SCALE = 1.0 / np.array(
    [0.10, 0.05, 0.005, 0.05, 0.05, 0.05]
    + [0.10, 0.10, 0.05, 0.2, 0.2, 0.2]
    + [8.0, 8.0, 4.0, 0.2, 0.2, 0.1]
    + [0.015, 0.015, 0.010, 0.06, 0.06, 0.06]
    + [1.0] * len(ACTIVE)
)
TOOL_RADIUS_M = 0.010
_ENTRANCE = np.array([0.38, 0.0, 0.10])  # middle of the entrance on the floor, base frame [m]
_CLEARANCE_M = 0.005  # of the tip above the floor
_INTO = np.array([1.0, 0.0, 0.0, 0.0])  # half a turn about x: tool axes, z down
_ACCELERATION_M_S2 = 20.0  # of the reference: what shapes a decision shall be the speed, not the ramp
_RUBBER = ContactSoftness(time_constant_s=0.236, damping_ratio=0.274, impedance_min=0.3, impedance_max=0.3, priority=1)
"""The finger's coat: soft enough that a touch at full speed leaves some 50 ms before it becomes a violation."""
_STEEL = ContactSoftness(time_constant_s=0.02, impedance_min=0.9, impedance_max=0.9, priority=2)
"""A bolt is light, and MuJoCo's contacts are the softer the lighter what they hold: it needs figures of its own."""


@dataclass(frozen=True)
class MazeConfig(MazeShape):
    """The mazes, how they are felt, and how often a policy decides."""

    split: str = "train"
    """Which mazes are drawn: those to learn from (train) or those kept for judging (heldout)."""
    decision_s: float = 0.1
    """Time between two decisions [s], a multiple of 0.05 from 0.1 to 1; increments grow with it."""
    time_limit_s: float = 15.0
    """An episode is cut off after this [s]."""
    speed_m_s: float = 0.055
    """The arm shall move about this fast at action 1 [m/s]: an increment is this times (decision_s + lag_s)."""
    lag_s: float = 0.3
    """The arm trails its reference by about this, damping over stiffness [s], and increments count from the arm."""
    max_force_n: float = 14.0
    """A larger peak force is a violation and ends the episode [N]."""
    stiffness_n_m: tuple[float, float] = (150.0, 1000.0)
    """Smallest and largest stiffness that a policy may choose for each axis of the plane [N/m]."""
    violation_reward: float = -1.0
    """Reward of a violation, at most 0: without a price it is the cheapest end for a policy that has to save energy."""
    start_x_m: tuple[float, float] = (0.014, 0.024)
    """Range of the start behind the entrance [m]."""
    start_y_m: float = 0.03
    """The start lies within this of the channel's middle [m]."""
    observe_tank: bool = False
    """Let the policy see how much energy is in the tank, as a share of the task's own budget: observation `tank`."""

    def __post_init__(self) -> None:
        if self.split not in SEEDS:
            raise UserError(f"split={self.split} is unknown; {expected_names(self.split, list(SEEDS))}")
        for name in ("time_limit_s", "speed_m_s", "max_force_n", "length_m", "width_m", "gap_m", "bolt_radius_m"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be a finite number above 0, got {getattr(self, name)}")
        for name in ("baffle_shift_m", "baffle_slant_rad", "gap_change_m", "start_y_m", "lag_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be a finite number of at least 0, got {getattr(self, name)}")
        steps = self.decision_s / 0.05
        if not (2.0 <= steps <= 20.0 and math.isclose(steps, round(steps))):
            raise UserError(f"decision_s must be a multiple of 0.05 s from 0.1 to 1 s, got {self.decision_s}")
        if not -math.inf < self.violation_reward <= 0.0:
            raise UserError(f"violation_reward must be a finite number of at most 0, got {self.violation_reward}")
        low, high = self.start_x_m
        if not 0.0 <= low <= high < self.length_m:
            raise UserError(
                f"start_x_m must be two numbers, 0 <= lowest <= highest < length_m={self.length_m}, got {low}, {high}"
            )
        low, high = self.stiffness_n_m
        if not 0.0 < low < high <= 1000.0:
            raise UserError(f"stiffness_n_m must be two numbers, 0 < lowest < highest <= 1000, got {low}, {high}")
        if not 1 <= self.baffles <= 3 or not 0 <= self.bolts <= 2 * self.baffles:
            raise UserError(
                f"expected 1 to 3 baffles and at most two bolts a baffle, got {self.baffles} and {self.bolts}"
            )


VARIANTS = {"default": MazeConfig(), "heldout": MazeConfig(split="heldout")}


class Maze(Task):
    """Two baffles and three bolts by default; reward 1 for leaving the channel at its far end."""

    name = "maze"
    text = "feel the way through a channel with baffles and loose bolts, pressing hard on nothing"
    variants = tuple(VARIANTS)
    critic_recipe = CriticRecipe(250, ({}, {"decision_s": 0.5}), "heldout", ({"decision_s": 0.5},))
    success_target = 0.8

    def __init__(self, variant: str = "default", **changes: Any) -> None:
        if variant not in VARIANTS:
            raise UserError(f"task maze has the variants {', '.join(VARIANTS)}, got {variant!r}")
        unknown = [key for key in changes if key not in MazeConfig.__dataclass_fields__]
        if unknown:
            known = ", ".join(MazeConfig.__dataclass_fields__)
            raise UserError(f"maze has no setting {unknown[0]!r}; it has {known}")
        config = self.config = replace(VARIANTS[variant], **as_declared(MazeConfig, changes))
        self.rate_hz, self.max_force_n = 1.0 / config.decision_s, config.max_force_n
        self.max_steps = round(config.time_limit_s / config.decision_s)
        low, high = config.stiffness_n_m
        middle, increment_m = math.sqrt(low * high), config.speed_m_s * (config.decision_s + config.lag_s)
        self.action = ActionSpec(
            translation_m=(increment_m,) * 3,
            stiffness=(middle, middle, 1000.0, 30.0, 30.0, 30.0),
            stiffness_factor=math.sqrt(high / low),
            stiffness_columns=("k_x", "k_y"),
            active=ACTIVE,
        )
        self._T_base_channel = Pose(_ENTRANCE)
        self._T_base_entrance = Pose(_ENTRANCE + np.array([0.0, 0.0, _CLEARANCE_M]), _INTO)

    def scene(self) -> Scene:
        """Finger, channel on its stand, baffles, bolts, and a camera above."""
        config = self.config
        stand_m = float(_ENTRANCE[2])
        walls = channel(config.length_m, config.width_m, stand_m=stand_m, T_base_fixture=self._T_base_channel)
        at = {name: self._T_base_channel.compose(pose) for name, pose in layout(0, config).items()}
        # each half reaches beyond the channel wherever the gap lies
        halves = [
            baffle(name, config.gap_m, config.width_m, T_base_fixture=pose)
            for name, pose in at.items()
            if name.startswith("baffle")
        ]
        bolts = [
            bolt(name, config.bolt_radius_m, contact=_STEEL, T_base_fixture=pose)
            for name, pose in at.items()
            if name.startswith("bolt")
        ]
        middle = _ENTRANCE + np.array([0.5 * config.length_m, 0.0, 0.0])
        above = look_at(middle + np.array([0.18, 0.32, 0.30]), middle)
        return Scene(
            tool=round_finger_tool(TOOL_RADIUS_M, contact=_RUBBER),
            fixtures=(walls, *halves, *bolts),
            cameras=(CameraDescription(name="above", T_base_camera=above, width_px=64, height_px=64),),
        )

    def chain_config(self) -> ChainConfig:
        """A box around the channel; leash 20 mm: at most 20 N of static push an axis at the largest stiffness."""
        config, slack = self.config, np.array([0.05, 0.02, 0.0])
        low = _ENTRANCE + np.array([0.0, -0.5 * config.width_m, 0.0]) - slack
        high = _ENTRANCE + np.array([config.length_m, 0.5 * config.width_m, 0.15]) + slack
        return ChainConfig(
            limiter=ReferenceLimiterConfig(
                box_min_base_m=tuple(low),
                box_max_base_m=tuple(high),
                cone_angle_rad=0.3,
                max_acceleration_m_s2=_ACCELERATION_M_S2,
                max_speed_m_s=self._reference_speed_m_s(),
            )
        )

    def _reference_speed_m_s(self) -> float:
        """The speed at which the largest increment, along both axes, just fits into a decision, with 5 % to spare.

        From d / v + v / a = T: v = a (T - sqrt(T^2 - 4 d / a)) / 2.
        """
        distance_m, time_s = math.sqrt(2.0) * self.action.translation_m[0], 0.95 * self.config.decision_s
        root_s = math.sqrt(max(0.0, time_s**2 - 4.0 * distance_m / _ACCELERATION_M_S2))
        return 0.5 * _ACCELERATION_M_S2 * (time_s - root_s)

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draws the maze last, so that two draws that differ only in it share everything that is seen."""
        config = self.config
        x, y = rng.uniform(*config.start_x_m), rng.uniform(-config.start_y_m, config.start_y_m)
        start = self._T_base_entrance.compose(Pose(np.array([x, y, 0.0])))
        seed = int(rng.integers(*SEEDS[config.split]))
        fixtures = {name: self._T_base_channel.compose(pose) for name, pose in layout(seed, config).items()}
        return Draw(fixtures, self._T_base_entrance, start, {"maze_seed": seed})

    def observation_space(self) -> spaces.Dict:
        """One vector `state`, see STATE_NAMES; about +-1, bounded at +-10. Perhaps `tank`, 1: the task's own budget."""
        sizes = {"state": len(STATE_NAMES)} | ({"tank": 1} if self.config.observe_tank else {})
        return spaces.Dict({name: spaces.Box(-10.0, 10.0, (size,), np.float32) for name, size in sizes.items()})

    def observe(self, sensed: Sensed, draw: Draw, previous_action: Array) -> dict[str, NDArray[np.float32]]:
        """Pose, twist, wrench, spring state and previous action in the axes of the entrance."""
        R = draw.T_base_goal.rotation
        state = np.concatenate(
            [
                self.place_in_channel(sensed.T_base_tool, draw),
                small_rotation(R.T @ sensed.rotation_base_tool),
                R.T @ sensed.twist_base[:3],
                R.T @ sensed.twist_base[3:],
                sensed.wrench_tool,
                R.T @ (sensed.T_base_reference.position_m - sensed.T_base_tool.position_m),
                small_rotation(sensed.rotation_base_tool.T @ sensed.T_base_reference.rotation),
                previous_action[self.action.active_index],
            ]
        )
        observation = {"state": np.clip(state * STATE_SCALE, -10.0, 10.0).astype(np.float32)}
        return observation | (self.observed_tank(sensed) if self.config.observe_tank else {})

    def place_in_channel(self, T_base: Pose, draw: Draw) -> Array:
        """Position (3,) in the entrance frame [m]."""
        place: Array = draw.T_base_goal.rotation.T @ (T_base.position_m - draw.T_base_goal.position_m)
        return place

    def progress_m(self, sensed: Sensed, draw: Draw) -> float:
        """Way along the channel."""
        return float(self.place_in_channel(sensed.T_base_tool, draw)[0])

    def judge(self, sensed: Sensed, draw: Draw) -> Judgement:
        """Out at the far end: success. Pressed too hard: over, at a price, wherever the tool is."""
        if self.violated(sensed):
            return Judgement(self.config.violation_reward, True, False)
        out = bool(self.place_in_channel(sensed.T_base_tool, draw)[0] >= self.config.length_m + TOOL_RADIUS_M)
        return Judgement(float(out), out, out)

    def clip_target(self, T_base_target: Pose, draw: Draw) -> Pose:
        """Keeps targets at the drawn depth, inside the outer walls and before the entrance's line."""
        x, y, _ = self.place_in_channel(T_base_target, draw)
        half_m = 0.5 * self.config.width_m
        place = np.array([np.clip(x, 0.0, self.config.length_m + 0.04), np.clip(y, -half_m, half_m), 0.0])
        return Pose(draw.T_base_goal.apply(place), T_base_target.quaternion_xyzw)

    def reset_config(self) -> ResetConfig:
        """Straight up out of the channel, across above the walls, and down at the entrance."""
        return ResetConfig(lift_m=0.04, approach_m=0.04)

    def operator(self, rng: np.random.Generator) -> Any:
        """A blind explorer, sometimes cautious and sometimes hasty."""
        from robot_rl.operators.maze_explorer import MazeExplorer

        return MazeExplorer(rng, self.action, self.config.decision_s)
