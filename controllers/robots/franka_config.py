"""What an FR3 is told before it moves: address, collision limits, gripper, and when its connection is too poor."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

MAX_STOP_TORQUE_NM = 50.0
"""Highest threshold at which the robot must stop for an external joint torque [Nm]."""
MAX_STOP_FORCE_N = 80.0
"""The same for an external force on the tool [N]."""
MAX_STOP_MOMENT_NM = 50.0
"""The same for an external moment about the control point [Nm]."""
_MIN_THRESHOLD = 1.0
_REALTIME = ("ignore", "enforce")
_WRENCHES = ("robot", "observer")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class FrankaConfig:
    """One FR3 behind its control box. Thresholds are bounded: beyond them the robot's reflex would be switched off.

    The load is not among these: it comes from the description of the tool. Nor is any automatic recovery: after the
    robot has stopped itself, a person resets it.
    """

    ip: str
    """Address or host name of the control box, such as 172.16.0.2."""
    realtime: str = "ignore"
    """`ignore`: the loop's own measures, which it reports; `enforce`: also refuse a kernel without PREEMPT_RT."""
    contact_torque_nm: tuple[float, ...] = (8.0,) * 7
    """External joint torques (7,) above which the robot reports contact [Nm], at least 1."""
    stop_torque_nm: tuple[float, ...] = (25.0,) * 7
    """External joint torques (7,) above which the robot stops [Nm], above contact, at most 50."""
    contact_wrench: tuple[float, ...] = (10.0,) * 3 + (8.0,) * 3
    """External wrench (6,) on the tool above which the robot reports contact [N, Nm], at least 1."""
    stop_wrench: tuple[float, ...] = (40.0,) * 3 + (25.0,) * 3
    """External wrench (6,) on the tool above which the robot stops [N, Nm], above contact, at most 80 and 50."""
    wrench: str = "robot"
    """Where the external wrench comes from: the `robot`'s estimate, or our momentum `observer` (see docs/franka.md)."""
    gripper: bool = True
    """Whether a tool with a gripper is driven through the Franka Hand's own connection (port 1338)."""
    gripper_speed_m_s: float = 0.1
    """Speed of the gripper's fingers towards each other [m/s], 0.01..0.1."""
    gripper_force_n: float = 40.0
    """Force with which the gripper holds [N], 1..70."""
    connect_timeout_s: float = 5.0
    """Time in which something must answer at the address [s], 0.1..60."""
    warn_success_rate: float = 0.95
    """Share of commands received in time below which the status warns, stop_success_rate..1."""
    stop_success_rate: float = 0.90
    """The same below which control ends in order, 0..0.99; 0: only the robot judges, after 20 late ones in a row."""

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.ip):
            raise ValueError(f"ip must be an address or host name such as 172.16.0.2, got {self.ip!r}")
        for name, choices in (("realtime", _REALTIME), ("wrench", _WRENCHES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        self._require_thresholds("torque_nm", (MAX_STOP_TORQUE_NM,) * 7)
        self._require_thresholds("wrench", (MAX_STOP_FORCE_N,) * 3 + (MAX_STOP_MOMENT_NM,) * 3)
        bounds = {
            "gripper_speed_m_s": (0.01, 0.1),
            "gripper_force_n": (1.0, 70.0),
            "connect_timeout_s": (0.1, 60.0),
            "stop_success_rate": (0.0, 0.99),
            "warn_success_rate": (self.stop_success_rate, 1.0),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low:g}..{high:g}, got {getattr(self, name)}")

    def _require_thresholds(self, kind: str, highest: tuple[float, ...]) -> None:
        contact, stop = getattr(self, f"contact_{kind}"), getattr(self, f"stop_{kind}")
        for name, values in ((f"contact_{kind}", contact), (f"stop_{kind}", stop)):
            if len(values) != len(highest) or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} needs {len(highest)} finite numbers, got {values}")
        for low, high, limit in zip(contact, stop, highest, strict=True):
            if not _MIN_THRESHOLD <= low < high <= limit:
                raise ValueError(
                    f"expected {_MIN_THRESHOLD:g} <= contact_{kind} < stop_{kind} <= {limit:g}, got {low} and {high}: "
                    "a higher threshold would switch off the robot's own reflex"
                )

    @property
    def motor_name(self) -> str:
        """Returns the name of this robot's motor process: the same each time, since a latch is kept by name."""
        return "fr3-" + re.sub(r"[^a-z0-9]+", "-", self.ip.lower())


def setting_names() -> tuple[str, ...]:
    """Returns the names of all settings, as `robot_config.<name>=<value>` takes them."""
    return tuple(entry.name for entry in fields(FrankaConfig))
