"""What a motor process is told at its start, as one JSON text; and the parts that it is made of."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from controllers.flight.config import FlightConfig
from controllers.plain import from_plain, to_plain
from controllers.realtime import RealtimeConfig
from controllers.robots.base import Robot
from controllers.shared_memory.block import block_path
from data.errors import UserError
from safety.supervision import SupervisorConfig

Array = NDArray[Any]


class TickModel(Protocol):
    """Fills the model terms of a configuration, see controllers.arm_model.ArmModel."""

    def terms(self, q: Array, qd: Array, out: Any) -> None: ...


class TickChain(Protocol):
    """From state to torque, see controllers.chain.Chain."""

    gripper_range_m: tuple[float, float] | None
    """Closed and open width of the tool's gripper; None: it has none, and the robot is never asked to grip."""

    latched: int
    """The Reason of the latch, 0 without one; the supervisor sets it too."""
    asked_hold: int
    """The Reason for which the supervisor wants a soft hold, 0 without one."""

    @property
    def following(self) -> bool: ...

    @property
    def resetting(self) -> bool: ...

    @property
    def holding(self) -> bool: ...

    def reseed(self, state: Array, terms: Any) -> None: ...

    def carried(self) -> None: ...

    def grant(self) -> float: ...

    def adopt_critic(self, weights: Array) -> int: ...

    @property
    def critic_version(self) -> int: ...

    def tick(self, state: Array, terms: Any, command: Array, report: Array) -> None: ...


class MotorParts(NamedTuple):
    """What the loop drives."""

    robot: Robot
    model: TickModel
    terms: Any
    """Work memory that `model.terms` fills and `chain.tick` reads."""
    chain: TickChain
    home_rad: Array
    """Joint positions (7,) at which the kernels are warmed up before the robot is touched."""


@dataclass(frozen=True)
class MotorConfig:
    """One motor process."""

    name: str
    """Names the shared block: one live motor process a name; for a real arm use the arm's own name."""
    builder: str
    """`module:function` that makes the MotorParts from `options`."""
    options: dict[str, Any] = field(default_factory=dict)
    """JSON values for the builder."""
    realtime: RealtimeConfig = field(default_factory=RealtimeConfig)
    """The five measures."""
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    """When the arm holds by itself, and what it takes to leave a latch."""
    remember_latch: bool = True
    """Whether a latch outlives the process: the next one of this name begins latched. Off for simulated arms."""
    flight: FlightConfig = field(default_factory=FlightConfig)
    """Where the flight recorder writes, and how much."""
    orphan_after_s: float = 0.25
    """Without a sign of life from the parent for this long the process counts as orphaned [s], 0.05..5."""
    leave_after_s: float = 30.0
    """An orphaned process stops in order and leaves after this long [s], above orphan_after_s."""
    hold_s: float = 0.1
    """Soft hold at the measured pose that begins an ordered stop [s], 0..2."""
    ramp_s: float = 0.3
    """Time over which an ordered stop takes the torque to zero [s], 0..2."""
    max_torque_step_nm: float = 0.5
    """Largest change of a joint torque in one tick of that ramp [Nm], above 0."""
    warm_ticks: int = 200
    """Ticks run without a robot before the loop may arm, 1..100000."""

    def __post_init__(self) -> None:
        block_path(self.name)
        module, _, function = self.builder.partition(":")
        if not module or not function:
            raise ValueError(f"builder must read 'module:function', got {self.builder!r}")
        if not 0.05 <= self.orphan_after_s <= 5.0:
            raise ValueError(f"orphan_after_s must be 0.05..5, got {self.orphan_after_s}")
        if not self.leave_after_s > self.orphan_after_s:
            raise ValueError(
                f"leave_after_s must be above orphan_after_s ({self.orphan_after_s}), got {self.leave_after_s}"
            )
        for name in ("hold_s", "ramp_s"):
            if not 0.0 <= getattr(self, name) <= 2.0:
                raise ValueError(f"{name} must be 0..2, got {getattr(self, name)}")
        if not self.max_torque_step_nm > 0.0:
            raise ValueError(f"max_torque_step_nm must be above 0, got {self.max_torque_step_nm}")
        if not 1 <= self.warm_ticks <= 100_000:
            raise ValueError(f"warm_ticks must be 1..100000, got {self.warm_ticks}")

    def to_json(self) -> str:
        """Returns this configuration as one line of JSON."""
        return json.dumps({**asdict(self), "supervisor": to_plain(self.supervisor)})

    @classmethod
    def from_json(cls, text: str) -> MotorConfig:
        """Reads what `to_json` wrote; raises UserError naming what is wrong with it."""
        try:
            values = json.loads(text)
            parts = {
                "realtime": RealtimeConfig(**values.get("realtime", {})),
                "flight": FlightConfig(**values.get("flight", {})),
            }
            if "supervisor" in values:
                parts["supervisor"] = from_plain(values["supervisor"])
            return cls(**{**values, **parts})
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"expected a motor configuration as JSON, see controllers.motor_config: {error}") from error

    def build(self) -> MotorParts:
        """Calls the builder; raises UserError if there is none of that name."""
        module, _, function = self.builder.partition(":")
        try:
            builder: Callable[[dict[str, Any]], MotorParts] = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise UserError(f"no builder {self.builder!r} ({error}); name an importable 'module:function'") from error
        return builder(self.options)


def mujoco_motor(name: str, **parts: Any) -> MotorConfig:
    """Returns the configuration of a simulated arm in real time.

    parts: `arm` (ArmDescription), `scene` (Scene), and if wished `chain` (ChainConfig), `sensor` (WristSensorConfig),
    `seed`; `realtime` and the other fields of MotorConfig by their names.
    """
    known = ("arm", "scene", "chain", "sensor", "seed")
    options = {key: to_plain(parts.pop(key)) for key in known if key in parts}
    parts.setdefault("remember_latch", False)
    return MotorConfig(name=name, builder=f"{__name__}:build_mujoco_arm", options=options, **parts)


def build_mujoco_arm(options: dict[str, Any]) -> MotorParts:
    """Builder of `mujoco_motor`."""
    from controllers.arm_model import ArmModel, ModelTerms
    from controllers.chain import Chain, ChainConfig
    from controllers.robots.mujoco_arm import MujocoArm
    from controllers.types import STATE

    given = {key: from_plain(value) for key, value in options.items()}
    arm, scene = given["arm"], given["scene"]
    robot = MujocoArm(arm, scene, given.get("sensor"), given.get("seed", 0))
    robot.read(np.zeros(1, STATE))  # compiles the sensor's kernel now: an armed loop must not stand still for that
    chain = Chain(given.get("chain") or ChainConfig(rate_hz=robot.rate_hz), arm, scene.tool.gripper_range_m)
    return MotorParts(robot, ArmModel(arm, scene.tool), ModelTerms(), chain, arm.home_rad)
