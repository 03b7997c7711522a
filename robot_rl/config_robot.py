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
