"""What commands about a real robot can be told: one dataclass a command, one sentence a field."""

from __future__ import annotations

from dataclasses import dataclass

from robot_rl.options import Config, option


@dataclass
class BenchFrankaConfig(Config):
    """Measure the FR3 driver with all safety layers on, against a server that speaks the robot's own protocol."""

    seconds: float = option(60.0, "Length of the motion.", unit="s", low=1.0)
    ip: str | None = option(None, "Address of a simulated robot that runs already; by default one is started here.")
    seed: int = option(0, "Seed of the random targets.", low=0)


@dataclass
class BenchRosConfig(Config):
    """Measure commands and pictures over ROS topics, and the FR3 driver."""

    commands: int = option(2000, "Commands of each path whose time is taken.", low=10)
    seconds: float = option(60.0, "Length of the measurements of camera and FR3 driver.", unit="s", low=1.0)
    franka: bool = option(True, "Whether the FR3 driver is measured as well (see `bench franka`).")
    realtime: bool = option(True, "Whether the motor process takes its measures against late ticks.")
